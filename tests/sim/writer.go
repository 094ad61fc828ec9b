package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/shardlog/shardio"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/announce"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

const (
	simShards = 3
	simWindow = 3
)

// writer is one run of a stream-writer.
type writer struct {
	*process
	s      *Sim
	logs   []stream.Incarnation // that it ever wrote
	core   *shardlog.Node
	recent *recent.Records
	news   *announce.Announcer
	tick   time.Time
	owns   map[stream.Shard]stream.Epoch
	// unanswered appends. Who lives answers.
	unanswered int
}

func (s *Sim) addWriter() *writer {
	id := stream.Incarnation(s.randomID())
	n := &writer{
		process: s.newProcess(fmt.Sprint("w", len(s.writers))), s: s, logs: []stream.Incarnation{id},
		recent: recent.New(2000, 3000), owns: map[stream.Shard]stream.Epoch{},
	}
	n.core = shardlog.NewNode(shardlog.Config{
		Incarnation: id, Instance: n.name, Address: "sim", Shards: simShards,
		Window: simWindow, BatchBytes: 200, StandardLinger: 5 * time.Millisecond, RetryDelay: 10 * time.Millisecond, StateSlots: 4,
	})
	n.news = announce.New(announce.Config{Instance: n.name, InlineBytes: 60, Queue: 4}, publisher{n})
	n.news.Began(id)
	go n.news.Run(n.ctx)
	s.writers = append(s.writers, n)
	return n
}

// handle gives the writer an event and carries out what it wants done.
func (n *writer) handle(e shardlog.Event) {
	if a, ok := e.(*shardlog.Append); ok {
		n.unanswered++
		then := a.Tag.(func(shardlog.Reply))
		a.Tag = func(r shardlog.Reply) {
			n.unanswered--
			then(r)
		}
	}
	n.deliver(func() {
		for _, a := range append([]shardlog.Action(nil), n.core.Step(time.Now(), e)...) {
			n.act(a)
		}
		n.arm()
	})
}

func (n *writer) arm() {
	at, ok := n.core.Deadline()
	if !ok || at.Equal(n.tick) {
		return
	}
	n.tick = at
	n.s.after(max(time.Until(at), 0), "tick "+n.name, func() {
		if n.tick.Equal(at) {
			n.tick = time.Time{}
		}
		n.handle(shardlog.Tick{})
	})
}

func (n *writer) act(a shardlog.Action) {
	switch a := a.(type) {
	case shardlog.Put:
		body := a.Body()
		n.s.laws.issuing(n.logs, a.Key, body)
		n.s.store.put(a.Key, body, func(err error) {
			n.handle(shardlog.PutDone{Op: a.Op, Outcome: shardio.Outcome(err, shardlog.Created), Err: err})
		})
	case shardlog.Get:
		which := objstore.Whole
		if a.Suffix > 0 {
			which = objstore.Suffix(a.Suffix)
		}
		n.s.store.get(a.Key, which, func(o objstore.Object, err error) {
			n.handle(shardlog.GetDone{Op: a.Op, Outcome: shardio.Outcome(err, shardlog.Found), Body: o.Body, Err: err})
		})
	case shardlog.Head:
		n.s.store.head(a.Key, func(_ objstore.Info, err error) {
			n.handle(shardlog.HeadDone{Op: a.Op, Outcome: shardio.Outcome(err, shardlog.Found), Err: err})
		})
	case shardlog.Lookup:
		n.s.lookup(n, a)
	case shardlog.AskOwner:
		n.s.askOwner(n, a)
	case shardlog.Reply:
		if then, ok := a.Tag.(func(shardlog.Reply)); ok {
			then(a)
		}
	default:
		n.learn(a)
	}
}

// learn passes on what a writer's observers are told.
func (n *writer) learn(a shardlog.Action) {
	switch a := a.(type) {
	case shardlog.Durable:
		n.s.laws.durable(a.Segment.Log, a.Slot)
		n.recent.Durable(n.ctx, a.Segment.Log, a)
		n.news.Durable(n.ctx, a.Segment.Log, a)
	case shardlog.Owned:
		n.owns[a.Entry.Shard] = a.Entry.Epoch
		n.recent.Owned(a)
		n.news.Owned(a)
	case shardlog.Lost:
		delete(n.owns, a.Shard)
		n.news.Lost(a.Shard)
	case shardlog.SealedLog:
		if other := n.s.writer(a.Log); other != nil {
			n.s.offer(other)
		}
	case shardlog.Began:
		n.logs = append(n.logs, a.Log)
		n.news.Began(a.Log)
		n.s.stats.Rolls++
	case shardlog.Died:
		n.news.Ended(a.Log, a.Err)
		if a.Retired {
			n.s.stats.Retired++
		}
		if !n.core.Alive() {
			n.die()
		}
	}
}

// lookup asks the catalog; the answer may be old when it arrives.
func (s *Sim) lookup(n *writer, l shardlog.Lookup) {
	s.stats.Lookups++
	answer := shardlog.LookupDone{Op: l.Op, Stream: s.rows[l.Name]}
	if answer.Stream.ID == (stream.ID{}) {
		answer.Err = shardlog.ErrDeleting
	}
	s.after(s.lag(), "lookup "+n.name, func() { n.handle(answer) })
}

// askOwner reaches the owner, or seems not to although it lives.
func (s *Sim) askOwner(n *writer, a shardlog.AskOwner) {
	owner := s.writer(a.Entry.Owner)
	answered := false
	done := func(answer shardlog.OwnerAnswer, end stream.Slot) {
		if answered {
			return
		}
		answered = true
		n.handle(shardlog.AskDone{Op: a.Op, Answer: answer, End: end})
	}
	switch {
	case owner == nil || owner.dead || owner.paused || s.chance(12, &s.stats.LostMessages):
		s.after(s.lag(), "owner gone "+n.name, func() { done(shardlog.OwnerGone, 0) })
	case !s.calm && s.rng.IntN(100) < 12:
		s.after(s.lag(), "owner keeps "+n.name, func() { done(shardlog.OwnerKeeps, 0) })
	default:
		s.after(400*time.Millisecond, "no hand-over "+owner.name, func() { done(shardlog.OwnerGone, 0) })
		s.after(s.lag(), "hand over "+owner.name, func() {
			owner.handle(shardlog.HandOver{
				Tag: func(r shardlog.Reply) {
					s.after(s.lag(), "handed over "+owner.name, func() {
						if r.Err != nil {
							done(shardlog.OwnerGone, 0)
							return
						}
						done(shardlog.OwnerHandedOver, r.End)
					})
				},
				Shard: a.Entry.Shard, Epoch: a.Entry.Epoch, Incarnation: a.Entry.Owner,
			})
		})
	}
}

func (s *Sim) writer(id stream.Incarnation) *writer {
	for _, n := range s.writers {
		if slices.Contains(n.logs, id) {
			return n
		}
	}
	return nil
}

// owner is whoever believes to own a shard, the newest of them first; nil: nobody.
func (s *Sim) owner(shard stream.Shard) (found *writer) {
	for _, n := range s.writers {
		epoch, owns := n.owns[shard]
		if owns && !n.dead && (found == nil || epoch > found.owns[shard]) {
			found = n
		}
	}
	return found
}

// roll has a writer begin another log, if it can.
func (s *Sim) roll(n *writer) { n.handle(shardlog.Roll{Incarnation: stream.Incarnation(s.randomID())}) }

// adopt has a writer take each shard whose owner does not answer, as whoever needs
// it asks for.
func (s *Sim) adopt() {
	for shard := range stream.Shard(simShards) {
		if owner := s.owner(shard); (owner == nil || owner.paused) && s.rng.IntN(4) == 0 {
			s.someWriter().handle(shardlog.Take{Shard: shard})
		}
	}
}

func (n *writer) takeAll() {
	for shard := range stream.Shard(simShards) {
		n.handle(shardlog.Take{Shard: shard})
	}
}

// offer has another writer take the shards of one that is gone, or seems to be,
// unless somebody has them already.
func (s *Sim) offer(gone *writer) {
	for shard := range stream.Shard(simShards) {
		if _, owned := gone.owns[shard]; !owned {
			continue
		}
		s.after(s.lag(), "offer "+gone.name, func() {
			if owner := s.owner(shard); owner == nil || owner == gone {
				s.someWriter().handle(shardlog.Take{Shard: shard})
			}
		})
	}
}

// publisher is a writer's end of the message bus.
type publisher struct{ n *writer }

func (p publisher) PublishAppend(_ context.Context, m *clusterv1.AppendNotification) {
	p.n.s.post("publish "+p.n.name, func() { p.n.deliver(func() { p.n.s.broadcast(m, nil) }) })
}

func (p publisher) PublishBeacon(_ context.Context, m *clusterv1.Beacon) {
	p.n.s.post("beacon "+p.n.name, func() { p.n.deliver(func() { p.n.s.broadcast(nil, m) }) })
}
