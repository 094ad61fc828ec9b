package naming

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// gated answers questions one by one, when the test lets it.
type gated struct {
	gate  chan struct{}
	mu    sync.Mutex
	sizes []int
	err   error
}

func (g *gated) EnsureStreams(_ context.Context, wanted []catalog.Wanted) ([]catalog.Ensured, error) {
	<-g.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sizes = append(g.sizes, len(wanted))
	out := make([]catalog.Ensured, len(wanted))
	for i, w := range wanted {
		out[i].Stream.ID = stream.ID([]byte(fmt.Sprintf("%-16s", w.Name.Stream)))
	}
	return out, g.err
}

func TestFind_GathersWhatComesWhileQuestionsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &gated{gate: make(chan struct{})}
		c := New(rows)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { c.Run(ctx) })
		const lookups = workers + batchLimit + 100
		for i := range lookups {
			all.Go(func() {
				name := fmt.Sprint(i)
				got, err := c.Find(ctx, stream.Name{Bucket: "b", Stream: name}, shardlog.ForAppend)
				if err != nil || got.ID != stream.ID([]byte(fmt.Sprintf("%-16s", name))) {
					t.Errorf("%s: %v %v", name, got, err)
				}
			})
			if i < workers {
				synctest.Wait() // the first ones are asked alone, at once
			}
		}
		synctest.Wait()
		for range workers + 2 {
			rows.gate <- struct{}{} // one by one: else lookups and places come at once, in any order
			synctest.Wait()
		}
		require.Equal(t, []int{1, 1, batchLimit, 100}, rows.sizes)
		cancel()
		all.Wait()
		_, err := c.Find(t.Context(), stream.Name{}, shardlog.ForAppend)
		require.ErrorIs(t, err, ErrStopped)
	})
}

func TestFind_FailsWithTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &gated{gate: make(chan struct{}), err: errors.New("away")}
		close(rows.gate)
		c := New(rows)
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { c.Run(ctx) })
		_, err := c.Find(ctx, stream.Name{}, shardlog.ForRead)
		require.ErrorIs(t, err, rows.err)
		cancel()
		run.Wait()
	})
}
