package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// lookedInto are backends that only count how often an owner is looked into.
type lookedInto struct {
	Backends
	begun time.Time
	taken bool
	takes time.Duration

	mu   sync.Mutex
	seen []time.Duration // since begun
}

func (b *lookedInto) times() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

func (b *lookedInto) Replaced(ctx context.Context, _ stream.Name, _ Backend) bool {
	b.mu.Lock()
	b.seen = append(b.seen, time.Since(b.begun))
	b.mu.Unlock()
	select {
	case <-time.After(b.takes):
	case <-ctx.Done():
	}
	return b.taken
}

// inVigil runs a test in synthetic time, in which an owner is slow after a second.
func inVigil(t *testing.T, test func(t *testing.T, b *lookedInto, join func() (*caller, context.Context))) {
	synctest.Test(t, func(t *testing.T) {
		b := &lookedInto{begun: time.Now()}
		p := New(nil, b, Config{SlowAnswer: time.Second})
		defer p.Wait()
		x := &exchange{proxy: p, method: route.Method{Rule: route.Rule{Target: route.ShardOwner}}}
		test(t, b, func() (*caller, context.Context) {
			ctx, cancel := context.WithCancel(t.Context())
			return x.watch(cancel, Backend{Instance: "stream-writer-0", Shard: 3}), ctx
		})
		require.Empty(t, p.vigils.all)
	})
}

func TestVigil_LooksIntoASilentOwnerOnceForAll(t *testing.T) {
	inVigil(t, func(t *testing.T, b *lookedInto, join func() (*caller, context.Context)) {
		var calls []*caller
		for range 1000 {
			c, _ := join()
			c.asked()
			calls = append(calls, c)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(39*time.Second + 500*time.Millisecond)
		s := time.Second
		require.Equal(t, []time.Duration{1 * s, 3 * s, 7 * s, 15 * s, 23 * s, 31 * s, 39 * s}, b.times())
		for _, c := range calls {
			c.leave()
		}
		time.Sleep(time.Hour)
		require.Len(t, b.times(), 7, "nobody waits any more")
	})
}

func TestVigil_LeavesAnOwnerAloneThatAnswersAnybody(t *testing.T) {
	inVigil(t, func(t *testing.T, b *lookedInto, join func() (*caller, context.Context)) {
		waits, _ := join()
		waits.asked()
		for range 100 {
			c, _ := join()
			c.asked()
			time.Sleep(900 * time.Millisecond)
			c.answered()
			c.leave()
		}
		require.Empty(t, b.times())
		time.Sleep(1100 * time.Millisecond)
		require.Len(t, b.times(), 1, "it has fallen silent")
		waits.leave()
	})
}

func TestVigil_ExpectsNothingWhileNothingIsAsked(t *testing.T) {
	inVigil(t, func(t *testing.T, b *lookedInto, join func() (*caller, context.Context)) {
		session, _ := join()
		for range 3 {
			session.asked()
			session.asked()
			session.answered()
			session.answered()
			time.Sleep(time.Minute)
		}
		require.Empty(t, b.times())
		session.asked()
		time.Sleep(1100 * time.Millisecond)
		require.Len(t, b.times(), 1, "the silence begins with the question")
		session.leave()
	})
}

func TestVigil_EndsAllWhoWaitForAnOwnerThatWasReplaced(t *testing.T) {
	inVigil(t, func(t *testing.T, b *lookedInto, join func() (*caller, context.Context)) {
		b.taken, b.takes = true, 500*time.Millisecond
		early, earlyEnds := join()
		early.asked()
		idle, idleEnds := join()
		time.Sleep(1400 * time.Millisecond)
		late, lateEnds := join() // while the owner is looked into
		late.asked()
		<-earlyEnds.Done()
		<-lateEnds.Done()
		require.Equal(t, 1700*time.Millisecond, time.Since(b.begun))
		require.NoError(t, idleEnds.Err(), "it waits for nothing")

		for _, c := range []*caller{early, late} {
			err := c.explain(context.Canceled)
			require.Equal(t, codes.Unavailable, status.Code(err))
			require.ErrorContains(t, err, "fell silent")
			c.leave()
		}
		require.ErrorIs(t, idle.explain(context.Canceled), context.Canceled)
		idle.leave()
	})
}

func TestVigil_LetsAReplacedOwnerSpeakItsLastWords(t *testing.T) {
	inVigil(t, func(t *testing.T, b *lookedInto, join func() (*caller, context.Context)) {
		b.taken = true
		c, ends := join()
		c.asked()
		time.Sleep(1100 * time.Millisecond)
		require.Len(t, b.times(), 1)
		c.answered()
		time.Sleep(time.Minute)
		require.NoError(t, ends.Err())
		c.leave()
		c.leave()
	})
}

func TestVigil_IsKeptOverOwnersAlone(t *testing.T) {
	x := &exchange{method: route.Method{Rule: route.Rule{Target: route.StreamReader}}}
	c := x.watch(func() {}, Backend{})
	c.asked()
	c.answered()
	failed := errors.New("failed")
	require.ErrorIs(t, c.explain(failed), failed)
	c.leave()
}
