package compaction

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// standingState is a state object that was listed.
type standingState struct {
	segment.StateRef
	modified time.Time
}

// collectStates deletes the states that no takeover can need any more. All shards'
// are listed at once: most have few.
func (c *Compactor) collectStates(ctx context.Context) error {
	heads, err := c.index.Heads(ctx)
	if err != nil {
		return err
	}
	var failed []error
	var of []standingState // one shard's, by epoch and slot
	flush := func() error {
		if len(of) == 0 || !c.options.Mine(uint32(of[0].Shard)) {
			return nil
		}
		failed = append(failed, c.collectStatesOf(ctx, of, heads[of[0].Shard]))
		return ctx.Err()
	}
	for info, err := range c.store.List(ctx, segment.StatesPrefix, "") {
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		ref, ok := segment.ParseStateKey(info.Key)
		if !ok {
			continue // nobody's
		}
		if len(of) > 0 && of[0].Shard != ref.Shard {
			if err := flush(); err != nil {
				return err
			}
			of = of[:0]
		}
		of = append(of, standingState{ref, info.Modified})
	}
	return errors.Join(append(failed, flush())...)
}

// fewStates of a shard are left without a look at what needs them.
const fewStates = 3

func (c *Compactor) collectStatesOf(ctx context.Context, states []standingState, below stream.Epoch) error {
	if len(states) <= fewStates {
		return nil
	}
	// Read after the list, so no state that was listed is of a later epoch.
	head, ok, err := c.chains.head(ctx, states[0].Shard, below)
	if err != nil || !ok {
		return err
	}
	floor, err := c.stateFloor(ctx, &head, states[len(states)-1].StateRef)
	if isMissing(err) {
		return nil // the chain has moved on, and the log is gone
	}
	if err != nil {
		return err
	}
	before := c.options.Now().Add(-c.options.Grace)
	dead := slices.DeleteFunc(slices.Clone(states), func(s standingState) bool {
		named := head.State != nil && s.StateRef == *head.State
		return floor == nil || !s.Before(*floor) || named || s.modified.After(before)
	})
	if len(dead) == 0 {
		return nil
	}
	err = each(ctx, c, dead, func(ctx context.Context, s standingState) error { return c.store.Delete(ctx, s.Key()) })
	if err != nil {
		return err
	}
	c.metrics.states.Add(float64(len(dead)))
	c.log.Debug("collected states", zap.Uint32("shard", uint32(head.Shard)), zap.Int("states", len(dead)))
	return nil
}

// stateFloor is the oldest state that a takeover from the head may begin with, but
// for the one that the head names; nil: there is none. doc.go has the reasons.
func (c *Compactor) stateFloor(ctx context.Context, head *segment.ChainEntry, newest segment.StateRef) (*segment.StateRef, error) {
	floor := &newest
	for range 2 {
		if floor.Epoch != head.Epoch {
			return head.State, nil
		}
		named, err := c.stateNamedBelow(ctx, head, floor.Slot)
		if err != nil {
			return nil, err
		}
		if named == nil {
			return head.State, nil
		}
		floor = named
	}
	return floor, nil
}

// stateNamedBelow is the state of the head's part that the footer below a slot
// names; nil: none.
func (c *Compactor) stateNamedBelow(ctx context.Context, head *segment.ChainEntry, slot stream.Slot) (*segment.StateRef, error) {
	if slot <= head.FirstSlot {
		return nil, nil
	}
	footer, err := c.footer(ctx, head.Owner, slot-1)
	if err != nil {
		return nil, err
	}
	for _, ref := range footer.States {
		if ref.Shard == head.Shard && ref.Epoch == head.Epoch {
			return &ref, nil
		}
	}
	return nil, nil
}
