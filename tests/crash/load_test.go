package crash

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"
)

// producer appends numbered lines to a stream, a few at a time, each of them once,
// whatever happens to the programs.
type producer struct {
	stream *client.Stream
	acked  atomic.Int64 // lines
	err    error        // why it ended, if it was not told to
}

const linesAtOnce = 3

func line(n int) []byte { return fmt.Appendf(nil, "line %d of a stream that survives", n) }

func (p *producer) run(ctx context.Context) {
	for ctx.Err() == nil {
		first := int(p.acked.Load())
		var input client.AppendInput
		for i := range linesAtOnce {
			input.Records = append(input.Records, client.AppendRecord{Body: line(first + i)})
		}
		ack, err := p.stream.Append(ctx, input, client.AsProducer(client.ProducerSeq{ID: "p", Seq: uint64(first)}))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.err = err
			return
		case ack.StartSeqNum != uint64(first) && (!ack.Recovered || ack.Placed):
			p.err = fmt.Errorf("lines from %d on were put at %d", first, ack.StartSeqNum)
			return
		}
		p.acked.Store(int64(first + linesAtOnce))
		_ = clock.Sleep(ctx, 150*time.Millisecond)
	}
}

// load is all producers.
type load struct{ producers []*producer }

func startLoad(t *testing.T, c *client.Client, streams int) *load {
	_, err := c.CreateBucket(t.Context(), "crash", client.BucketConfig{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	l := &load{}
	for i := range streams {
		name := fmt.Sprintf("stream-%d", i)
		_, err := c.Bucket("crash").CreateStream(t.Context(), name, client.StreamConfig{})
		require.NoError(t, err)
		p := &producer{stream: c.Bucket("crash").Stream(name)}
		l.producers = append(l.producers, p)
		group.Go(func() { p.run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		group.Wait()
		for _, p := range l.producers {
			require.NoError(t, p.err)
		}
	})
	return l
}

// requireProgress waits until every stream has taken more appends.
func (l *load) requireProgress(t *testing.T) {
	t.Helper()
	for _, p := range l.producers {
		before := p.acked.Load()
		require.Eventually(t, func() bool { return p.acked.Load() > before }, patience, 10*time.Millisecond,
			"%s takes no appends", p.stream.Name())
	}
}

// requireIntact reads every stream: line n is record n, and what was acknowledged is
// there.
func (l *load) requireIntact(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, p := range l.producers {
		acked, at := p.acked.Load(), 0
		session := p.stream.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
		for record, err := range session.Records() {
			require.NoError(t, err)
			if record.SeqNum != uint64(at) || string(record.Body) != string(line(at)) {
				t.Fatalf("%s: record %d is %q where %q is due", p.stream.Name(), record.SeqNum, record.Body, line(at))
			}
			at++
		}
		session.Close()
		require.GreaterOrEqual(t, at, int(acked), "%s: acknowledged lines are missing", p.stream.Name())
	}
}
