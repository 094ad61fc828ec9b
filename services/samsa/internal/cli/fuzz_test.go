package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
)

// FuzzParseRecord reads any line as a record. What it takes is one JSON value, and
// what it makes of it comes back the same when it is printed and read again.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"body":"x","headers":[{"name":"a","value_base64":"/w=="}],"timestamp":3}`))
	f.Add([]byte(`{"body":"\ud834\udd1e"}`))
	f.Add([]byte(`{"body_base64":"AA=="}`))
	f.Add([]byte(`{"seq_num":[{}]}]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := parseRecord(line, client.AppendRecord{})
		if err != nil {
			require.ErrorIs(t, err, errLine)
			return
		}
		require.True(t, json.Valid(line))
		printed := appendJSON(nil, client.Record{Headers: record.Headers, Body: record.Body})
		again, err := parseRecord(bytes.TrimSuffix(printed, []byte("\n")), client.AppendRecord{})
		require.NoError(t, err)
		require.Equal(t, string(record.Body), string(again.Body))
		require.Len(t, again.Headers, len(record.Headers))
		for i, h := range record.Headers {
			require.Equal(t, string(h.Name), string(again.Headers[i].Name))
			require.Equal(t, string(h.Value), string(again.Headers[i].Value))
		}
	})
}
