// Package worker runs a compactor: again and again, and when it is told that there
// is work.
package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/chunkindex"
)

// Rounds are what is run.
type Rounds interface {
	Compact(ctx context.Context) error
	Collect(ctx context.Context) error
	// Reconcile brings the catalog up to the store.
	Reconcile(ctx context.Context) error
	// Rebuild makes an index that was halted again from the store.
	Rebuild(ctx context.Context) error
}

// Report is told how each round went.
type Report func(error)

// Worker runs rounds until Run's ctx ends. Compacting and collecting take turns, so
// one's work is not undone by the other's memory.
type Worker struct {
	rounds           Rounds
	compact, collect time.Duration // between rounds
	report           Report
	log              *zap.Logger

	rebuilds int       // one after the other
	rested   time.Time // when the index may be rebuilt again
}

// How long an index is left alone after a rebuild, at first and at most.
const (
	leastRest = 10 * time.Second
	mostRest  = time.Hour
)

// New makes a Worker.
func New(rounds Rounds, compact, collect time.Duration, report Report, log *zap.Logger) *Worker {
	return &Worker{rounds: rounds, compact: compact, collect: collect, report: report, log: log}
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	compact, collect := time.NewTicker(w.compact), time.NewTicker(w.collect)
	defer compact.Stop()
	defer collect.Stop()
	w.round(ctx, "compact", w.rounds.Compact)
	w.reconcile(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-compact.C:
			w.round(ctx, "compact", w.rounds.Compact)
		case <-collect.C:
			w.round(ctx, "collect", w.rounds.Collect)
			w.reconcile(ctx)
		}
	}
}

func (w *Worker) round(ctx context.Context, name string, do func(context.Context) error) {
	err := do(ctx)
	if ctx.Err() != nil {
		return
	}
	w.report(err)
	var behind *chunkindex.BehindError
	switch {
	case err == nil:
		w.rebuilds = 0
	case errors.As(err, &behind):
		w.log.Error("the chunk index is not to be trusted; nothing is compacted or collected until it is rebuilt from the object store", zap.Error(err))
		w.rebuild(ctx)
	case errors.Is(err, chunkindex.ErrRebuilding):
		w.log.Info("the chunk index is being rebuilt; waiting for its end")
	default:
		w.log.Warn("not everything could be done; trying again", zap.String("round", name), zap.Error(err))
	}
}

// reconcile says nothing of the index, neither good nor bad.
func (w *Worker) reconcile(ctx context.Context) {
	err := w.rounds.Reconcile(ctx)
	if err == nil || ctx.Err() != nil || errors.Is(err, chunkindex.ErrRebuilding) {
		return
	}
	w.report(err)
	w.log.Warn("the catalog could not be compared with the object store; trying again", zap.Error(err))
}

// rebuild has the index made again. One that does not stay right is left alone for
// longer and longer: something else is wrong.
func (w *Worker) rebuild(ctx context.Context) {
	if now := time.Now(); now.Before(w.rested) {
		return
	}
	err := w.rounds.Rebuild(ctx)
	if ctx.Err() != nil {
		return
	}
	w.rested = time.Now().Add(min(leastRest<<min(w.rebuilds, 20), mostRest))
	w.rebuilds++
	if err != nil && !errors.Is(err, chunkindex.ErrRebuilding) {
		w.report(err)
		w.log.Error("the chunk index could not be rebuilt; trying again", zap.Error(err))
	}
}
