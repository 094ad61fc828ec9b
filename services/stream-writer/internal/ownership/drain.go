package ownership

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Leaving and being drained are two things. A writer that leaves hurries, and takes
// nothing more whoever asks. One that is drained (moves.go, kind away) gives its
// shards away a few at a time, takes what nobody else can take, and may be asked to
// take part again.

// SetDrained begins or undoes that.
func (m *Manager) SetDrained(drained bool) {
	m.mu.Lock()
	m.drained = drained
	m.moves.forgive()
	m.mu.Unlock()
	m.log.Info("is told whether to give its shards away", zap.Bool("drained", drained))
	m.wake()
}

// Standing is what a writer says of itself.
type Standing struct {
	Log     stream.Incarnation
	Drained bool
	// Owned is by shard. What is being given away is this writer's until it is known
	// that somebody has it.
	Owned []segment.ChainEntry
}

// Standing tells how this writer stands.
func (m *Manager) Standing() Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Standing{Log: m.inc, Drained: m.drained}
	for id := range stream.Shard(m.cfg.Shards) {
		head, known := m.heads[id]
		kind, moving := m.moves.running[id]
		if _, owned := m.owned[id]; known && (owned || moving && kind == away) {
			s.Owned = append(s.Owned, head)
		}
	}
	return s
}

// takers are the other writers that are not drained.
func (m *Manager) takers() []discovery.Member {
	return slices.DeleteFunc(m.others(), func(d discovery.Member) bool { return d.Drained })
}

// Drain moves every shard that this writer owns to the writers that rank next for
// it, a few at a time, and takes nothing more. Without other writers, or past ctx,
// what is left is taken over later, which costs its clients a little more.
func (m *Manager) Drain(ctx context.Context) error {
	m.Leave()
	others := m.others()
	if len(others) == 0 {
		return nil
	}
	shards := m.ownedShards()
	m.log.Info("hands its shards over", zap.Int("shards", len(shards)), zap.Int("writers", len(others)))
	var group sync.WaitGroup
	places := make(chan struct{}, m.cfg.PlannedParallel*drainFactor)
	for _, id := range shards {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if err := m.giveAway(ctx, id, others); err != nil {
				m.log.Warn("could not hand a shard over", zap.Uint32("shard", uint32(id)), zap.Error(err))
			}
		})
	}
	group.Wait()
	if left := m.Shards(); left > 0 {
		return fmt.Errorf("%d of %d shards were not handed over", left, len(shards))
	}
	return nil
}

// drainFactor makes a writer that leaves hurry: it moves more shards at once than
// one that evens the load out.
const drainFactor = 4

// giveAway asks the best-ranked of the others to take a shard, which in turn asks
// this writer to hand it over; then the next.
func (m *Manager) giveAway(ctx context.Context, id stream.Shard, others []discovery.Member) error {
	return m.giveTo(ctx, others, &clusterv1.TakeShardRequest{Shard: uint32(id), Planned: true})
}

// others is the live writers but this one.
func (m *Manager) others() []discovery.Member {
	return slices.DeleteFunc(m.live(), func(d discovery.Member) bool { return d.Instance == m.cfg.Instance })
}

func (m *Manager) ownedShards() []stream.Shard {
	m.mu.Lock()
	defer m.mu.Unlock()
	shards := make([]stream.Shard, 0, len(m.owned))
	for id := range m.owned {
		shards = append(shards, id)
	}
	slices.Sort(shards)
	return shards
}
