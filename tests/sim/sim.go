package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Sim is the whole system, and its clients.
type Sim struct {
	*World
	store    *store
	laws     *laws
	database *database
	model    *model
	rows     map[stream.Name]shardlog.CatalogStream // the catalog

	writers    []*writer
	readers    []*reader
	compactors []*compactor

	streams   []stream.Name // that live on
	tenants   []stream.Name // that are deleted and made anew
	producers []*producer
	senders   []*sender
	unaries   []*unary
	commanded map[stream.Name]stream.SeqNum // the highest trim that a command asked for
	followers []*follower

	lastBatch                   uint64
	readersMade, compactorsMade int
	alone                       bool // every compactor does everything
	over                        bool
	failedReads                 map[string]int
}

// Result is what a simulation came to.
type Result struct {
	Stats       Stats
	Hash        uint64 // of everything that happened
	FailedReads map[string]int
	Broken      string // the rule; empty: none
	Lately      string // what happened before it was broken
}

// Simulate runs the system for some rounds of what clients and the nemesis do, then
// lets it rest and checks everything. trace, which may be nil, is told what happens.
func Simulate(t *testing.T, seed uint64, rounds int, trace io.Writer) (result Result) {
	synctest.Test(t, func(*testing.T) {
		s := newSim(seed, trace)
		defer func() {
			s.over = true
			s.stop()
			if broken := recover(); broken != nil {
				f, ok := broken.(failure)
				if !ok {
					panic(broken)
				}
				result.Broken = fmt.Sprintf("after %s: %s", time.Since(s.begun), f.message)
				result.Lately = s.lately()
			}
			result.Stats, result.Hash, result.FailedReads = s.stats, s.hash, s.failedReads
		}()
		s.play(rounds)
	})
	return result
}

func newSim(seed uint64, trace io.Writer) *Sim {
	w := newWorld(seed, trace)
	s := &Sim{
		World: w, rows: map[stream.Name]shardlog.CatalogStream{}, failedReads: map[string]int{}, commanded: map[stream.Name]stream.SeqNum{},
		model: &model{w: w, lives: map[stream.ID]*life{}, bySalt: map[stream.Salt]*life{}},
	}
	s.laws = &laws{w: w, logs: map[string]*logHistory{}, chains: map[stream.Shard][]segment.ChainEntry{}}
	s.store = &store{w: w, mem: objstore.NewMem(), laws: s.laws}
	s.database = &database{w: w, store: s.store, index: chunkindex.NewMem(time.Now), removed: map[segment.ChunkID]bool{}}
	s.laws.store, s.laws.index = s.store, s.database
	for i := range 6 {
		name := stream.Name{Bucket: "bucket", Stream: fmt.Sprint("s", i)}
		s.streams = append(s.streams, name)
		s.create(name, stream.ID{1})
		if i < 4 {
			s.producers = append(s.producers, &producer{s: s, name: name, id: fmt.Sprint("p", i)})
			s.senders = append(s.senders, &sender{s: s, name: name})
			s.unaries = append(s.unaries, &unary{s: s, name: name, id: fmt.Sprint("u", i)})
		}
	}
	for i := range 3 {
		name := stream.Name{Bucket: "tenants", Stream: fmt.Sprint("t", i)}
		s.tenants = append(s.tenants, name)
		s.create(name, stream.ID{2})
	}
	return s
}

func (s *Sim) randomID() (id stream.ID) {
	binary.BigEndian.PutUint64(id[:], s.rng.Uint64())
	binary.BigEndian.PutUint64(id[8:], s.rng.Uint64())
	return id
}

// play is a life of the system.
func (s *Sim) play(rounds int) {
	s.replaceDead()
	for i, name := range s.streams[:3] {
		f := &follower{s: s, life: s.model.lives[s.rows[name].ID]}
		s.followers = append(s.followers, f)
		s.after(time.Duration(i)*time.Millisecond, "follow "+name.Stream, f.open)
	}
	restored := s.restoration(rounds)
	for i := range rounds {
		restored(i)
		s.round()
		s.run(time.Duration(1+s.rng.IntN(30))*time.Millisecond + 13*time.Nanosecond)
	}
	s.rest()
}

// restoration puts the index back to an earlier time, in every fourth simulation: it
// is told each round.
func (s *Sim) restoration(rounds int) func(round int) {
	if s.rng.IntN(4) > 0 {
		return func(int) {}
	}
	backup, restore := s.rng.IntN(rounds), s.rng.IntN(rounds)
	return func(round int) {
		if round == backup {
			s.database.backup = s.database.index.Backup()
		}
		if round == restore {
			s.database.restore()
		}
	}
}

// round lets the clients and the nemesis act once.
func (s *Sim) round() {
	for range 1 + s.rng.IntN(2) {
		s.append()
	}
	s.producers[s.rng.IntN(len(s.producers))].pump()
	s.producers[s.rng.IntN(len(s.producers))].pump()
	if s.rng.IntN(4) == 0 {
		s.senders[s.rng.IntN(len(s.senders))].send()
	}
	if s.rng.IntN(2) == 0 {
		s.unaries[s.rng.IntN(len(s.unaries))].send()
	}
	s.tenant()
	if s.rng.IntN(3) == 0 {
		s.read(s.someReader(), s.streams[s.rng.IntN(len(s.streams))])
	}
	if s.rng.IntN(8) == 0 {
		s.read(s.someReader(), s.tenants[s.rng.IntN(len(s.tenants))])
	}
	if s.rng.IntN(10) == 0 {
		name := s.streams[s.rng.IntN(len(s.streams))]
		s.trim(s.writerFor(name), s.model.lives[s.rows[name].ID])
	}
	s.nemesis()
	s.replaceDead()
	s.adopt()
}

// nemesis does harm.
func (s *Sim) nemesis() {
	n := s.someWriter()
	if s.rng.IntN(200) >= 20+s.heat {
		return
	}
	switch roll := s.rng.IntN(160); {
	case roll < 4:
		s.kill(n.process)
		s.offer(n)
	case roll < 8 && !n.paused:
		n.pause(s.nap())
	case roll < 18:
		n.handle(shardlog.Take{Shard: stream.Shard(s.rng.IntN(simShards)), Planned: s.rng.IntN(2) == 0})
	case roll < 44:
		name := s.streams[s.rng.IntN(len(s.streams))]
		s.inspect(s.writerFor(name), name)
	case roll < 47:
		s.kill(s.compactors[s.rng.IntN(len(s.compactors))].process)
	case roll < 49:
		if c := s.compactors[s.rng.IntN(len(s.compactors))]; !c.paused {
			c.pause(s.nap())
		}
	case roll < 50:
		r := s.readers[s.rng.IntN(len(s.readers))]
		s.stats.Kills++
		r.stop()
	case roll < 51:
		if r := s.readers[s.rng.IntN(len(s.readers))]; !r.paused {
			r.pause(s.nap())
		}
	case roll < 61:
		s.roll(n)
	}
}

func (s *Sim) nap() time.Duration {
	return time.Duration(s.rng.IntN([]int{200, 500, 2500}[s.rng.IntN(3)]))*time.Millisecond + 7*time.Nanosecond
}

func (s *Sim) kill(p *process) {
	s.stats.Kills++
	p.die()
}

// replaceDead keeps three writers, two readers and two compactors running.
func (s *Sim) replaceDead() {
	for alive(s.writers) < 3 {
		s.addWriter().takeAll()
	}
	s.readers = living(s.readers)
	for len(s.readers) < 2 {
		s.addReader()
	}
	s.compactors = living(s.compactors)
	for len(s.compactors) < 2 {
		s.addCompactor()
	}
}

type mortal interface{ isDead() bool }

func (p *process) isDead() bool { return p.dead }

func alive[T mortal](all []T) (n int) {
	for _, p := range all {
		if !p.isDead() {
			n++
		}
	}
	return n
}

func living[T mortal](all []T) (out []T) {
	for _, p := range all {
		if !p.isDead() {
			out = append(out, p)
		}
	}
	return out
}

// writerFor is whoever owns a stream, or somebody who may not.
func (s *Sim) writerFor(name stream.Name) *writer {
	if n := s.owner(name.Shard(simShards)); n != nil && s.rng.IntN(5) > 0 {
		return n
	}
	return s.someWriter()
}

// someWriter is one of the newest, not all of which live.
func (s *Sim) someWriter() *writer {
	return s.writers[len(s.writers)-1-s.rng.IntN(min(4, len(s.writers)))]
}

func (s *Sim) someReader() *reader { return s.readers[s.rng.IntN(len(s.readers))] }

// stop ends every process.
func (s *Sim) stop() {
	for _, f := range s.followers {
		f.attempt++
	}
	for _, r := range s.readers {
		r.stop()
	}
	for _, n := range s.writers {
		n.die()
	}
	for _, c := range s.compactors {
		c.die()
	}
}
