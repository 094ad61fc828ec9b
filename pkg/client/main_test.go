package client_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fastRetry keeps tests short.
func fastRetry() client.Retry {
	return client.Retry{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, GiveUpAfter: 10 * time.Second}
}

type fixture struct {
	server *clienttest.Server
	client *client.Client
	stream *client.Stream
}

// newFixture starts a server that has the stream "logs/web".
func newFixture(t testing.TB, opts ...client.Option) fixture {
	t.Helper()
	server, err := clienttest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	c, err := client.New(server.Address(), append([]client.Option{client.WithRetry(fastRetry())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	_, err = c.CreateBucket(t.Context(), "logs", client.BucketConfig{})
	require.NoError(t, err)
	_, err = c.Bucket("logs").CreateStream(t.Context(), "web", client.StreamConfig{})
	require.NoError(t, err)
	return fixture{server, c, c.Bucket("logs").Stream("web")}
}

func record(i int) client.AppendRecord {
	return client.AppendRecord{Body: fmt.Appendf(nil, "record-%d", i)}
}

// batchOf is a batch of count records, numbered from first.
func batchOf(first, count int) client.AppendInput {
	var input client.AppendInput
	for i := range count {
		input.Records = append(input.Records, record(first+i))
	}
	return input
}

// requireStored demands that the stream holds record(0) to record(count-1).
func (f fixture) requireStored(t testing.TB, count int) {
	t.Helper()
	session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
	defer session.Close()
	n := 0
	for r, err := range session.Records() {
		require.NoError(t, err)
		require.Equal(t, uint64(n), r.SeqNum)
		require.Equal(t, string(record(n).Body), string(r.Body))
		n++
	}
	require.Equal(t, count, n)
}

func (f fixture) append(t testing.TB, records ...client.AppendRecord) client.Ack {
	t.Helper()
	ack, err := f.stream.Append(t.Context(), client.AppendInput{Records: records})
	require.NoError(t, err)
	return ack
}
