package ownership

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// a seat is one writer, with a view of the others that the test sets.
type seat struct {
	*Manager
	town *town

	mu      sync.Mutex
	seen    []discovery.Member
	changed chan struct{}
}

func (s *seat) Wait(context.Context) error { return nil }

func (s *seat) Snapshot() []discovery.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *seat) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *seat) see(members []discovery.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = members
	close(s.changed)
	s.changed = make(chan struct{})
}

// Take is what a log does: it asks the owner at the head of the chain, if there is
// one, and puts the next entry if that lets the shard go.
func (s *seat) Take(ctx context.Context, t shardlog.Take) (segment.ChainEntry, error) {
	id := t.Shard
	s.town.taking.Add(1)
	defer s.town.taking.Add(-1)
	time.Sleep(10 * time.Millisecond)
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	head, taken := s.town.heads[id]
	if taken {
		owner := s.town.seats[head.Instance]
		if owner == s || owner.Keeps(id) {
			return head, nil
		}
		owner.Lost(id)
	}
	head = segment.ChainEntry{Shard: id, Epoch: head.Epoch + 1, Owner: s.incarnation(), Instance: s.cfg.Instance}
	s.town.heads[id] = head
	s.town.moved[id]++
	s.Owned(shardlog.Owned{Entry: head})
	return head, ctx.Err()
}

func (s *seat) incarnation() stream.Incarnation {
	var log stream.Incarnation
	copy(log[:], s.cfg.Instance)
	return log
}

// town is writers and the chains of their shards.
type town struct {
	mu    sync.Mutex
	seats map[string]*seat
	names []string
	heads map[stream.Shard]segment.ChainEntry
	moved map[stream.Shard]int

	taking atomic.Int32 // how many takes are under way
}

func newTown(writers int, shards uint32) *town {
	c := &town{seats: map[string]*seat{}, heads: map[stream.Shard]segment.ChainEntry{}, moved: map[stream.Shard]int{}}
	for i := range writers {
		name := fmt.Sprintf("writer-%d", i)
		s := &seat{town: c, changed: make(chan struct{})}
		s.Manager = New(Config{
			Instance: name, Shards: shards, Parallel: 4, PlannedParallel: 2,
			PlannedTimeout: time.Second, Settle: 100 * time.Millisecond, Interval: time.Second,
		}, s, nil, zap.NewNop())
		s.Began(s.incarnation())
		c.seats[name], c.names = s, append(c.names, name)
	}
	return c
}

// members is those writers that keep says.
func (c *town) members(keep func(name string) bool) (members []discovery.Member) {
	for _, name := range c.names {
		if keep(name) {
			members = append(members, discovery.Member{
				Role: discovery.RoleStreamWriter, Instance: name, Incarnation: c.seats[name].incarnation().String(),
			})
		}
	}
	return members
}

// rest waits until nothing is being taken.
func (c *town) rest() {
	for synctest.Wait(); c.taking.Load() > 0; synctest.Wait() {
		time.Sleep(time.Millisecond)
	}
}

// moves is how often shards have moved, the most of one and of all.
func (c *town) moves() (most, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.moved {
		most, all = max(most, n), all+n
	}
	clear(c.moved)
	return most, all
}

// TestManagers_ShardsDoNotGoToAndFroWhileViewsDiffer: a writer takes only what it
// ranks first for among those it knows, and lets go only what it does not. So one that
// has taken a shard keeps it until it knows others.
func TestManagers_ShardsDoNotGoToAndFroWhileViewsDiffer(t *testing.T) {
	const shards = 32
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			c := newTown(3+rng.IntN(3), shards)
			ctx, cancel := context.WithCancel(t.Context())
			var loops sync.WaitGroup
			differ := func() {
				c.rest()                       // what was begun with the views before is not among the moves that follow
				for _, self := range c.names { // each may miss any of the others
					c.seats[self].see(c.members(func(name string) bool { return name == self || rng.IntN(2) == 0 }))
				}
			}
			differ() // who begins alone goes after everything, and is at it when it learns of the others
			for _, s := range c.seats {
				loops.Go(func() { s.Run(ctx, s) })
			}
			for range 5 {
				time.Sleep(time.Minute)
				most, _ := c.moves()
				require.LessOrEqual(t, most, 2, "taken while free, and moved once to who ranks first for it")
				time.Sleep(2 * time.Minute)
				_, all := c.moves()
				require.Zero(t, all, "moves go on though nothing changes")
				differ()
			}
			everybody := c.members(func(string) bool { return true })
			for _, s := range c.seats {
				s.see(everybody)
			}
			time.Sleep(time.Minute)
			cancel()
			loops.Wait()
			for id := range stream.Shard(shards) {
				require.Equal(t, discovery.Rank(id, everybody)[0].Instance, c.heads[id].Instance, "shard %d", id)
			}
		})
	}
}
