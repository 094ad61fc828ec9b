package shardroute

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/stream"
)

// search is one round of asking writers to take a shard, shared by all who need
// its owner.
type search struct {
	done chan struct{} // closed when it has ended; err is set before
	err  error
}

var errRouterClosed = errors.New("the router is closed")

// startSearch begins a search for the shard's owner, or joins the one under way.
// If an owner has been found by now, there is nothing to do.
func (r *Router) startSearch(shard stream.Shard) *search {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.shards[shard]
	if e.search != nil {
		return e.search
	}
	s := &search{done: make(chan struct{})}
	if e.known || r.closed {
		if r.closed {
			s.err = errRouterClosed
		}
		close(s.done)
		return s
	}
	e.search = s
	failed := e.failed
	r.wg.Go(func() {
		s.err = r.find(r.ctx, shard, failed)
		r.mu.Lock()
		e.search = nil
		r.mu.Unlock()
		close(s.done)
	})
	return s
}

// find asks writers, best-ranked first, to take the shard, until one says who owns
// it.
func (r *Router) find(ctx context.Context, shard stream.Shard, failed Owner) error {
	r.metrics.searches.Inc()
	last := errors.New("no stream-writer is registered")
	for _, m := range candidates(shard, r.members.Snapshot(), failed) {
		owner, err := r.askToTake(ctx, shard, m, failed)
		if err == nil && r.learn(shard, owner) {
			r.options.Log.Info("a writer was asked to take a shard", zap.Uint32("shard", uint32(shard)),
				zap.String("asked", m.Instance), zap.String("owner", owner.Instance), zap.Uint64("epoch", uint64(owner.Epoch)))
			return nil
		}
		if err == nil {
			err = fmt.Errorf("writer %s knows an old owner only", m.Instance)
		}
		if last = err; ctx.Err() != nil {
			return last
		}
	}
	return last
}

// candidates are the members to ask: by rank, but one at the address that failed
// comes last. It may be back, or alone.
func candidates(shard stream.Shard, members []discovery.Member, failed Owner) []discovery.Member {
	var ranked, again []discovery.Member
	for _, m := range discovery.Rank(shard, members) {
		if m.Address == failed.Address {
			again = append(again, m)
		} else {
			ranked = append(ranked, m)
		}
	}
	return append(ranked, again...)
}

// askToTake asks one writer to take the shard. What it answers, also in refusing,
// is who owns it.
func (r *Router) askToTake(ctx context.Context, shard stream.Shard, m discovery.Member, failed Owner) (Owner, error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.TakeTimeout)
	defer cancel()
	conn, err := r.dial.Conn(m.Address)
	if err != nil {
		return Owner{}, fmt.Errorf("connect to writer %s at %s: %w", m.Instance, m.Address, err)
	}
	request := &clusterv1.TakeShardRequest{Shard: uint32(shard)}
	if !failed.guessed() {
		request.UnreachableIncarnation = failed.Incarnation[:]
	}
	answer, err := clusterv1.NewWriterServiceClient(conn).TakeShard(ctx, request)
	named := answer.GetOwner()
	if err != nil {
		if isTransport(err) {
			conn.ResetConnectBackoff()
		}
		named = notOwnerDetail(err).GetOwner()
	}
	owner, ok := ownerOf(named)
	switch {
	case ok:
		return owner, nil
	case err == nil:
		err = errors.New("it names no owner")
	}
	return Owner{}, fmt.Errorf("writer %s at %s did not take shard %d: %w", m.Instance, m.Address, shard, err)
}
