package ownership

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Whoever seals a log offers its other shards to the writers that rank first for
// them now, rather than have each be missed by somebody first. An offer says that
// the log is sealed, so that its owner, registered for a while yet, counts as gone.

const (
	offerQueue    = 16 // logs; offers of more are dropped, and the writers' own looks have to do
	offerParallel = 8  // shards at once
	offerTries    = 3  // for each shard
	offerPause    = 200 * time.Millisecond
)

// Sealed notes that a log has ended: its owner's shards need new ones.
func (m *Manager) Sealed(log stream.Incarnation) {
	m.log.Info("sealed a log", zap.Stringer("incarnation", log))
	m.noteSealed(log)
	select {
	case m.offers <- log:
	default:
	}
}

// Offered notes what another writer says: that a log is sealed.
func (m *Manager) Offered(log stream.Incarnation) { m.noteSealed(log) }

// noteSealed no longer reckons with a log's owner, also where it is being waited for.
func (m *Manager) noteSealed(log stream.Incarnation) {
	m.mu.Lock()
	m.sealed[log.String()] = true
	for w := range m.waits {
		if w.owner == log {
			w.giveUp()
		}
	}
	m.moves.forgive()
	m.mu.Unlock()
	m.wake()
}

// wait is a question to an owner that has not been answered yet.
type wait struct {
	owner  stream.Incarnation
	giveUp context.CancelFunc
}

// whileWaiting registers a question, to be given up when the owner's log is sealed.
func (m *Manager) whileWaiting(owner stream.Incarnation, giveUp context.CancelFunc) (done func()) {
	w := &wait{owner, giveUp}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waits[w] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waits, w)
	}
}

func (m *Manager) isSealed(log stream.Incarnation) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sealed[log.String()]
}

// offerAll offers the shards of the logs that were sealed, until ctx ends.
func (m *Manager) offerAll(ctx context.Context) {
	for {
		select {
		case log := <-m.offers:
			m.offer(ctx, log)
		case <-ctx.Done():
			return
		}
	}
}

func (m *Manager) offer(ctx context.Context, log stream.Incarnation) {
	var group sync.WaitGroup
	places := make(chan struct{}, offerParallel)
	for _, id := range m.shardsOf(log) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			m.offerShard(ctx, id, log)
		})
	}
	group.Wait()
}

// shardsOf is the shards that the log's writer may have owned, but for those that
// this writer has or will take itself.
func (m *Manager) shardsOf(log stream.Incarnation) (shards []stream.Shard) {
	live := m.live()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range stream.Shard(m.cfg.Shards) {
		head, known := m.heads[id]
		if !known && !m.first(id, live) || known && head.Owner == log && !m.first(id, live) {
			shards = append(shards, id)
		}
	}
	return shards
}

// offerShard asks the best-ranked of the others to take a shard, and again after a
// pause. If nobody does, whoever misses the shard will ask.
func (m *Manager) offerShard(ctx context.Context, id stream.Shard, log stream.Incarnation) {
	request := &clusterv1.TakeShardRequest{Shard: uint32(id), Planned: true, UnreachableIncarnation: log[:]}
	pause := offerPause
	for try := 1; ; try++ {
		err := m.giveTo(ctx, m.others(), request)
		if err == nil || ctx.Err() != nil {
			return
		}
		if try == offerTries {
			m.log.Info("nobody has taken a shard of a sealed log yet", zap.Uint32("shard", uint32(id)), zap.Error(err))
			return
		}
		if clock.Sleep(ctx, pause) != nil {
			return
		}
		pause *= 2
	}
}

// giveTo makes a request to take a shard of the best-ranked of the others, then of
// the next.
func (m *Manager) giveTo(ctx context.Context, others []discovery.Member, request *clusterv1.TakeShardRequest) error {
	err := ctx.Err()
	for _, other := range discovery.Rank(stream.Shard(request.GetShard()), others) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		conn, dialErr := m.dial.Conn(other.Address)
		if err = dialErr; err != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, m.cfg.PlannedTimeout)
		_, err = clusterv1.NewWriterServiceClient(conn).TakeShard(asking, request)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}
