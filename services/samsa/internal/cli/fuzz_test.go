package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
)

// FuzzParseRecord reads any line as a record, and what it reads can be shown.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"body":"x","headers":[["a","b"]],"timestamp":3}`))
	f.Add([]byte(`{"body_base64":"AA=="}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := parseRecord(line, client.AppendRecord{})
		if err != nil {
			return
		}
		require.NotEmpty(t, appendJSON(nil, client.Record{Headers: record.Headers, Body: record.Body}))
	})
}
