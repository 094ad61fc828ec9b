package shardroute

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	if e.search == nil && e.known {
		return ended(nil)
	}
	return r.beginSearch(shard, e.failed)
}

// startLook begins a search on behalf of those for whom the instance is too slow.
// There is nothing to do if it does not own the shard, or has just been found to
// keep it.
func (r *Router) startLook(shard stream.Shard, instance string) *search {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.shards[shard]
	failed := e.failed
	if e.search == nil && e.known {
		if !e.owner.is(instance) || time.Since(e.kept) < r.options.LookEvery {
			return ended(nil)
		}
		failed = e.owner
		r.suspects[failed.Address] = time.Now()
	}
	return r.beginSearch(shard, failed)
}

// beginSearch begins a search, or joins the one under way. Call with mu held.
func (r *Router) beginSearch(shard stream.Shard, failed Owner) *search {
	e := &r.shards[shard]
	switch {
	case e.search != nil:
		return e.search
	case r.closed:
		return ended(errRouterClosed)
	}
	s := &search{done: make(chan struct{})}
	e.search = s
	r.wg.Go(func() {
		s.err = r.find(r.ctx, shard, failed)
		r.mu.Lock()
		e.search = nil
		if e.known && failed.keeps(e.owner) {
			e.kept = time.Now()
		}
		r.mu.Unlock()
		close(s.done)
	})
	return s
}

// ended is a search that did not have to be begun.
func ended(err error) *search {
	s := &search{done: make(chan struct{}), err: err}
	close(s.done)
	return s
}

// find asks writers, best-ranked first, to take the shard, until one says who owns
// it.
func (r *Router) find(ctx context.Context, shard stream.Shard, failed Owner) error {
	r.metrics.searches.Inc()
	last := errors.New("no stream-writer is registered")
	for _, m := range r.candidates(shard, failed) {
		owner, err := r.askToTake(ctx, shard, m, failed)
		if err == nil && r.learn(shard, owner) {
			r.logFound(shard, m, owner, failed)
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

// logFound says who was found; that an owner keeps its shard is no news.
func (r *Router) logFound(shard stream.Shard, asked discovery.Member, owner, failed Owner) {
	level := zap.InfoLevel
	if failed.keeps(owner) {
		level = zap.DebugLevel
	}
	r.options.Log.Log(level, "a writer was asked to take a shard", zap.Uint32("shard", uint32(shard)),
		zap.String("asked", asked.Instance), zap.String("owner", owner.Instance), zap.Uint64("epoch", uint64(owner.Epoch)))
}

// candidates are the members to ask: by rank, then those that did not answer
// lately, the one that was silent last at the end. They may be back, or alone.
func (r *Router) candidates(shard stream.Shard, failed Owner) []discovery.Member {
	ranked := discovery.Rank(shard, r.members.Snapshot())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgive()
	silent := func(m discovery.Member) int64 {
		at, suspected := r.suspects[m.Address]
		switch {
		case m.Address == failed.Address:
			return math.MaxInt64
		case suspected:
			return at.UnixNano()
		}
		return 0
	}
	slices.SortStableFunc(ranked, func(a, b discovery.Member) int { return cmp.Compare(silent(a), silent(b)) })
	return ranked
}

// suspect takes note that nobody answers at an address.
func (r *Router) suspect(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspects[address] = time.Now()
}

// clear takes note that somebody answers at an address.
func (r *Router) clear(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.suspects, address)
}

// forgive drops the suspicions that are old. Call with mu held.
func (r *Router) forgive() {
	maps.DeleteFunc(r.suspects, func(_ string, at time.Time) bool { return time.Since(at) > r.options.SuspectFor })
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
	request := &clusterv1.TakeShardRequest{Shard: uint32(shard), KnownEpoch: uint64(failed.Epoch)}
	if !failed.guessed() {
		request.UnreachableIncarnation = failed.Incarnation[:]
	}
	answer, err := clusterv1.NewWriterServiceClient(conn).TakeShard(ctx, request)
	named := answer.GetOwner()
	switch {
	case err == nil:
		r.clear(m.Address)
	case isTransport(err), status.Code(err) == codes.DeadlineExceeded:
		conn.ResetConnectBackoff()
		r.suspect(m.Address)
	default:
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
