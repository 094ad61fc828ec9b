package worker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/services/compactor/internal/worker"
)

type rounds struct {
	compacted, collected, reconciled, rebuilt int

	behind func(rebuilt int) bool
}

var errFails = errors.New("fails")

func (r *rounds) Compact(context.Context) error {
	r.compacted++
	if r.behind != nil && r.behind(r.rebuilt) {
		return &chunkindex.BehindError{Reason: "restored"}
	}
	return nil
}

func (r *rounds) Reconcile(context.Context) error { r.reconciled++; return nil }

func (r *rounds) Rebuild(context.Context) error { r.rebuilt++; return nil }
func (r *rounds) Collect(context.Context) error { r.collected++; return errFails }

func TestWorker_TakesTurnsAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rounds{}
		var reports []error
		w := worker.New(r, time.Second, 5*time.Second, func(err error) { reports = append(reports, err) }, zap.NewNop())
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		w.Run(ctx)
		require.Equal(t, rounds{compacted: 11, collected: 2, reconciled: 3}, *r)
		require.Len(t, reports, 13)
		require.Contains(t, reports, errFails)
	})
}

func TestWorker_RebuildsAnIndexThatIsBehind(t *testing.T) {
	for name, c := range map[string]struct {
		behind func(int) bool
		want   int
	}{
		"once":                      {func(rebuilt int) bool { return rebuilt == 0 }, 1},
		"less and less, if in vain": {func(int) bool { return true }, 8}, // after 0, 10, 30, 70, … s
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rounds{behind: c.behind}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
				defer cancel()
				worker.New(r, time.Second, time.Hour, func(error) {}, zap.NewNop()).Run(ctx)
				require.Equal(t, c.want, r.rebuilt)
			})
		})
	}
}
