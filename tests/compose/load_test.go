//go:build compose

package compose

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
)

const loadStreams = 6

// load appends to several streams, one batch after another, and follows one of
// them, until it is stopped. Its client retries as the library does by default; a
// call that fails in spite of that counts as failed.
type load struct {
	streams  []*client.Stream
	acked    []atomic.Int64 // records of each stream
	slowest  atomic.Int64   // nanoseconds of the slowest append since the last look
	failures failures
	stop     context.CancelFunc
	done     sync.WaitGroup
	followed atomic.Int64
}

type failures struct {
	mu  sync.Mutex
	all []string
}

func (f *failures) add(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, fmt.Sprintf("%s %s: %v", time.Now().Format(time.TimeOnly), what, err))
}

// take gives the failures since the last time.
func (f *failures) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.all)
	f.all = nil
	return all
}

func startLoad(t *testing.T, c *client.Client, bucket string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{acked: make([]atomic.Int64, loadStreams), stop: cancel}
	for i := range loadStreams {
		l.streams = append(l.streams, c.Bucket(bucket).Stream(fmt.Sprintf("load-%d", i)))
		_, err := l.streams[i].Append(t.Context(), input(i, 0))
		require.NoError(t, err)
		l.acked[i].Store(1)
		l.done.Go(func() { l.write(ctx, i) })
	}
	l.done.Go(func() { l.follow(ctx) })
	t.Cleanup(func() { cancel(); l.done.Wait() })
	return l
}

func input(stream int, n int64) client.AppendInput {
	return client.AppendInput{Records: []client.AppendRecord{{Body: fmt.Appendf(nil, "%d/%d", stream, n)}}}
}

// write appends under a producer id, so that the library may send again. It takes its
// time: each record is an object, and all of them are read back.
func (l *load) write(ctx context.Context, i int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		n := l.acked[i].Load()
		begun := time.Now()
		_, err := l.streams[i].Append(context.WithoutCancel(ctx), input(i, n),
			client.AsProducer(client.ProducerSeq{ID: "load", Seq: uint64(n - 1)}))
		if err != nil {
			l.failures.add("append", err)
			return
		}
		l.acked[i].Add(1)
		l.slowest.Store(max(l.slowest.Load(), int64(time.Since(begun))))
	}
}

// follow is a live session that must never end, miss or repeat.
func (l *load) follow(ctx context.Context) {
	session := l.streams[0].ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)})
	defer session.Close()
	for record, err := range session.Records() {
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.failures.add("live session", err)
			return
		case string(record.Body) != fmt.Sprintf("0/%d", record.SeqNum):
			l.failures.add("live session", fmt.Errorf("record %d is %q", record.SeqNum, record.Body))
			return
		}
		l.followed.Store(int64(record.SeqNum) + 1)
	}
}

// requireUnharmed requires that no call failed since the last look, that appends
// go on, and that the follower comes to see them.
func (l *load) requireUnharmed(t *testing.T, after string) {
	t.Helper()
	before := l.acked[0].Load()
	require.Eventually(t, func() bool {
		return len(l.failuresSoFar()) > 0 || l.acked[0].Load() >= before+20 && l.followed.Load() > before
	}, time.Minute, 20*time.Millisecond, "appends or live reads stand still after %s", after)
	require.Empty(t, l.failures.take(), after)
	t.Logf("%s: no failed call; slowest append %v", after, time.Duration(l.slowest.Swap(0)).Round(time.Millisecond))
}

func (l *load) failuresSoFar() []string {
	l.failures.mu.Lock()
	defer l.failures.mu.Unlock()
	return slices.Clone(l.failures.all)
}

// finish stops the load and reads everything back: each stream holds exactly what
// was acknowledged, in order, and no record twice.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	l.done.Wait()
	require.Empty(t, l.failures.take())
	for i := range l.streams {
		l.done.Go(func() {
			if err := l.readBack(t, i); err != nil {
				l.failures.add("read", err)
			}
		})
	}
	l.done.Wait()
	require.Empty(t, l.failures.take())
}

func (l *load) readBack(t *testing.T, i int) error {
	var n int64
	s := l.streams[i]
	for record, err := range s.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail()).Records() {
		if err != nil {
			return err
		}
		if record.SeqNum != uint64(n) || string(record.Body) != fmt.Sprintf("%d/%d", i, n) {
			return fmt.Errorf("record %d of %s is %q with seq_num %d", n, s.Name(), record.Body, record.SeqNum)
		}
		n++
	}
	if acked := l.acked[i].Load(); acked != n {
		return fmt.Errorf("%s: %d records acknowledged, %d there", s.Name(), acked, n)
	}
	t.Logf("%s: %d records acknowledged, %d there, in order", s.Name(), n, n)
	return nil
}

// startStrict appends to a stream and looks at its tail, again and again, with calls
// that are never made a second time; finish requires that all of them succeeded.
func startStrict(t *testing.T, s stack) (finish func()) {
	t.Helper()
	stream := s.client(t, client.WithRetry(client.Retry{Policy: client.RetryNone})).Bucket(bucket).Stream("strict")
	ctx, cancel := context.WithCancel(context.Background())
	var calls int
	var failed failures
	var done sync.WaitGroup
	done.Go(func() {
		for ; ctx.Err() == nil; calls += 2 {
			if _, err := stream.Append(t.Context(), input(0, 0)); err != nil {
				failed.add("append", err)
			}
			if _, err := stream.CheckTail(t.Context()); err != nil {
				failed.add("tail", err)
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return func() {
		t.Helper()
		cancel()
		done.Wait()
		require.Empty(t, failed.take())
		t.Logf("%d appends and tails that are never tried again succeeded", calls)
	}
}
