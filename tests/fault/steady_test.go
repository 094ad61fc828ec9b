package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"
)

// steady uses known streams without a pause and without a second attempt: it
// appends, reads the newest and the oldest records, asks for tails and follows.
type steady struct {
	streams []*steadyStream
	stop    context.CancelFunc
	group   sync.WaitGroup
}

type steadyStream struct {
	stream *client.Stream
	lines  atomic.Int64 // acknowledged
	seen   atomic.Int64 // by the follower
	calls  atomic.Int64

	mu     sync.Mutex
	errors []error
}

// steadyCall is how long any call may take while a dependency is out: far longer
// than it does take, since the machine may be busy.
const steadyCall = 15 * time.Second

func line(n int) []byte { return fmt.Appendf(nil, "line %d", n) }

// startSteady makes streams and uses them until the test ends.
func startSteady(t *testing.T, c *client.Client, bucket string, streams int) *steady {
	_, err := c.CreateBucket(t.Context(), bucket, client.BucketConfig{})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	s := &steady{stop: stop}
	for i := range streams {
		name := fmt.Sprintf("stream-%d", i)
		_, err := c.Bucket(bucket).CreateStream(t.Context(), name, client.StreamConfig{StorageClass: client.StorageClassExpress})
		require.NoError(t, err)
		one := &steadyStream{stream: c.Bucket(bucket).Stream(name)}
		one.append(ctx) // now it is known
		s.streams = append(s.streams, one)
	}
	for _, one := range s.streams {
		s.group.Go(func() { one.use(ctx) })
		s.group.Go(func() { one.follow(ctx) })
	}
	t.Cleanup(s.end)
	return s
}

func (s *steady) end() {
	s.stop()
	s.group.Wait()
}

// requireNoError tells that nothing has failed so far, and how much was done.
func (s *steady) requireNoError(t *testing.T, during string) {
	t.Helper()
	calls := int64(0)
	for _, one := range s.streams {
		one.mu.Lock()
		failed := errors.Join(one.errors...)
		one.mu.Unlock()
		require.NoError(t, failed, "%s: %s", one.stream.Name(), during)
		calls += one.calls.Load()
	}
	t.Logf("%s: %d calls so far, no error", during, calls)
}

// requireProgress waits until every stream was appended to and every follower has
// seen more.
func (s *steady) requireProgress(t *testing.T) {
	t.Helper()
	for _, one := range s.streams {
		lines, seen := one.lines.Load(), one.seen.Load()
		require.Eventually(t, func() bool { return one.lines.Load() > lines && one.seen.Load() > seen }, recovery, 10*time.Millisecond,
			"%s: %d lines, %d seen", one.stream.Name(), lines, seen)
	}
}

func (one *steadyStream) use(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		switch n % 4 {
		case 0, 2:
			one.append(ctx)
		case 1:
			one.read(ctx, uint64(max(one.lines.Load()-3, 0)))
		case 3:
			one.checkTail(ctx)
		}
		if n%40 == 1 {
			one.read(ctx, 0)
		}
		_ = clock.Sleep(ctx, 10*time.Millisecond)
	}
}

// do makes a call and keeps its error.
func (one *steadyStream) do(ctx context.Context, what string, f func(context.Context) error) {
	call, cancel := context.WithTimeout(ctx, steadyCall)
	defer cancel()
	begun := time.Now()
	err := f(call)
	if ctx.Err() != nil {
		return
	}
	one.calls.Add(1)
	if err != nil {
		one.mu.Lock()
		defer one.mu.Unlock()
		one.errors = append(one.errors, fmt.Errorf("%s, after %s: %w", what, time.Since(begun).Round(time.Millisecond), err))
	}
}

func (one *steadyStream) append(ctx context.Context) {
	n := one.lines.Load()
	one.do(ctx, "append", func(ctx context.Context) error {
		ack, err := one.stream.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: line(int(n))}}})
		if err == nil && ack.StartSeqNum != uint64(n) {
			err = fmt.Errorf("line %d was put at %d", n, ack.StartSeqNum)
		}
		if err == nil {
			one.lines.Store(n + 1)
		}
		return err
	})
}

func (one *steadyStream) read(ctx context.Context, from uint64) {
	one.do(ctx, "read", func(ctx context.Context) error {
		result, err := one.stream.Read(ctx, client.Read{Start: client.FromSeqNum(from), Count: new(uint64(10))})
		if err == nil && (len(result.Records) == 0 || string(result.Records[0].Body) != string(line(int(from)))) {
			err = fmt.Errorf("line %d was not where it should be", from)
		}
		return err
	})
}

func (one *steadyStream) checkTail(ctx context.Context) {
	n := uint64(one.lines.Load())
	one.do(ctx, "check tail", func(ctx context.Context) error {
		tail, err := one.stream.CheckTail(ctx)
		if err == nil && tail.SeqNum != n {
			err = fmt.Errorf("the tail is %d where %d was due", tail.SeqNum, n)
		}
		return err
	})
}

// follow reads live; it makes no second attempt either.
func (one *steadyStream) follow(ctx context.Context) {
	session := one.stream.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)})
	defer session.Close()
	for {
		batch, err := session.Next()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			one.mu.Lock()
			defer one.mu.Unlock()
			one.errors = append(one.errors, fmt.Errorf("live read: %w", err))
			return
		}
		for _, r := range batch.Records {
			if due := one.seen.Load(); r.SeqNum != uint64(due) || string(r.Body) != string(line(int(due))) {
				one.mu.Lock()
				one.errors = append(one.errors, fmt.Errorf("saw record %d where %d was due", r.SeqNum, due))
				one.mu.Unlock()
			}
			one.seen.Add(1)
		}
	}
}
