package bucket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// finishing is what is left to do once a row has changed.
type finishing struct {
	catalog Catalog
	owners  Owners
	timeout time.Duration
}

func (f finishing) tombstone(ctx context.Context, s catalog.Stream) error {
	return f.tell(ctx, s, f.owners.TombstoneStream)
}

func (f finishing) configure(ctx context.Context, s catalog.Stream) error {
	return f.tell(ctx, s, f.owners.ConfigureStream)
}

func (f finishing) tell(ctx context.Context, s catalog.Stream, call func(context.Context, catalog.Stream) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := call(ctx, s); err != nil {
		return &UnfinishedError{Stream: s, Err: err}
	}
	return nil
}

// all does whatever is left to do for a stream.
func (f finishing) all(ctx context.Context, s catalog.Stream) error {
	if s.State == catalog.StateDeleting {
		if err := f.tombstone(ctx, s); err != nil {
			return err
		}
		return f.catalog.RemoveStream(ctx, s)
	}
	if err := f.configure(ctx, s); err != nil {
		return err
	}
	return f.catalog.StreamApplied(ctx, s)
}

const (
	// streamsAtOnce is how many streams a finisher claims at a time.
	streamsAtOnce = 64
	// ownersAtOnce is how many calls to owners it has under way.
	ownersAtOnce = 8
)

// Finisher finishes deletions and reconfigurations whose call has failed
// half-way or whose process has died, and deletes streams that are to be deleted
// when they are empty. Any number of instances may run one.
type Finisher struct {
	catalog Catalog
	finish  finishing
	hold    catalog.Hold
	log     *zap.Logger
}

// Run works until ctx ends: at once and every so often.
func (f *Finisher) Run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := f.Round(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("not everything could be finished; trying again", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Round does what is due. What fails is due again after the hold.
func (f *Finisher) Round(ctx context.Context) error {
	return errors.Join(
		f.rounds(ctx, f.catalog.ClaimStreams, f.finish.all),
		f.rounds(ctx, f.catalog.ClaimEmptyable, f.finish.endIfEmpty),
	)
}

// rounds claims streams and deals with them until there are no more.
func (f *Finisher) rounds(
	ctx context.Context, claim func(context.Context, int, catalog.Hold) ([]catalog.Stream, error), deal func(context.Context, catalog.Stream) error,
) error {
	var failed []error
	for {
		streams, err := claim(ctx, streamsAtOnce, f.hold)
		if err != nil || len(streams) == 0 {
			return errors.Join(append(failed, err)...)
		}
		failed = append(failed, f.batch(ctx, streams, deal))
		if len(streams) < streamsAtOnce {
			return errors.Join(failed...)
		}
	}
}

func (f *Finisher) batch(ctx context.Context, streams []catalog.Stream, deal func(context.Context, catalog.Stream) error) error {
	var mu sync.Mutex
	var failed []error
	var work errgroup.Group
	work.SetLimit(ownersAtOnce)
	for _, s := range streams {
		work.Go(func() error {
			if err := deal(ctx, s); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
			return nil
		})
	}
	_ = work.Wait() // failures are collected: one must not end the others
	return first(failed)
}

// first is one of the errors, as an example, with their number: in an outage
// there may be many, and they are alike.
func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return &batchError{count: len(errs), example: errs[0]}
}

type batchError struct {
	count   int
	example error
}

func (e *batchError) Error() string {
	return fmt.Sprintf("%d streams are left to finish; one of them: %v", e.count, e.example)
}

func (e *batchError) Unwrap() error { return e.example }
