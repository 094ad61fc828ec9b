package sim

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/compactor/survey"
	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// rest ends all faults and checks what is left: the streams live (I13), nothing is
// lost (I4, I5, I8), the index is what a rebuild gives (I9), nothing is left over
// (I14).
func (s *Sim) rest() {
	s.calm = true
	for _, c := range s.compactors {
		c.die()
	}
	s.run(3 * time.Second) // what was on its way lands, who was paused resumes
	if s.stats.Restores > 0 {
		s.compact() // which finds that out, and rebuilds the index
	}
	silent := func(n *writer) bool { return !n.dead && n.unanswered > 0 }
	ok := s.runUntil(5*time.Second, func() bool { return !slices.ContainsFunc(s.writers, silent) })
	s.mustf(ok, "I13: a writer that lives leaves appends without an answer")
	s.hearAll()
	for _, n := range s.writers {
		n.die()
	}
	s.recover()
	s.catchUp()
	s.addWriter().takeAll() // its chain entries end the parts of the one before
	s.mustf(s.runUntil(10*time.Second, func() bool { return s.owner(0) != nil && s.owner(1) != nil && s.owner(2) != nil }), "I13: a shard finds no owner")
	old := s.someReader()
	s.readAll(old) // so that it knows places that compaction is going to change
	s.compact()
	s.checkIndex()
	s.checkLeftovers()
	s.readAll(old)
	s.rebuildIndex()
	fresh := s.addReader()
	s.readAll(fresh)
	s.checkOrder()
}

// hearAll shows that followers get what was announced in vain, although nothing more
// comes: beacons tell them. Whose shard has no owner is not asked for.
func (s *Sim) hearAll() {
	lacks := func(f *follower) bool {
		return f.next < f.life.tail && s.owner(f.life.name.Shard(simShards)) != nil
	}
	ok := s.runUntil(10*time.Second, func() bool { return !slices.ContainsFunc(s.followers, lacks) })
	for _, f := range s.followers {
		s.mustf(ok || !lacks(f), "I13: a follower of %s stands at %d, the tail is %d, and its owner lives; %v", f.life.name.Stream, f.next, f.life.tail, s.failedReads)
	}
}

// recover shows that one writer takes everything, and that every stream accepts
// appends, also while the writer begins another log.
func (s *Sim) recover() {
	n := s.addWriter()
	n.takeAll()
	s.mustf(s.runUntil(10*time.Second, func() bool { return len(n.owns) == simShards }), "I13: a lone writer does not come to own every shard within 10 s")
	left := 0
	accepted := func() bool { return left == 0 }
	s.appendEverywhere(n, &left)
	s.mustf(s.runUntil(5*time.Second, accepted), "I13: appends are not acknowledged within 5 s")
	rolls := s.stats.Rolls
	s.roll(n)
	s.appendEverywhere(n, &left)
	for _, p := range s.producers {
		p.attempt++
		p.finished, p.to, p.session, p.failed = true, n, &shardlog.Session{}, math.MaxInt
		p.sent = p.acked
	}
	finished := func() bool {
		for _, p := range s.producers {
			p.pump()
		}
		return accepted() && !slices.ContainsFunc(s.producers, func(p *producer) bool { return p.acked < len(p.batches) })
	}
	s.mustf(s.runUntil(5*time.Second, finished), "I13: appends are not acknowledged within 5 s while a writer rolls")
	s.mustf(s.stats.Rolls == rolls+1 && s.runUntil(5*time.Second, func() bool { return !n.core.Rolling() }), "I13: a lone writer does not come to roll within 5 s")
}

func (s *Sim) appendEverywhere(n *writer, left *int) {
	for _, name := range s.streams {
		*left++
		id, a := s.batch(name)
		a.Tag = func(r shardlog.Reply) {
			s.mustf(r.Err == nil, "I13: a stream takes no append: %v", r.Err)
			s.model.acknowledged(id, r.Ack)
			*left--
		}
		n.handle(a)
	}
}

// catchUp shows that every follower gets to the tail.
func (s *Sim) catchUp() {
	behind := func(f *follower) bool { return f.next < f.life.tail }
	ok := s.runUntil(15*time.Second, func() bool { return !slices.ContainsFunc(s.followers, behind) })
	for _, f := range s.followers {
		s.mustf(ok || !behind(f), "I13: a follower of %s stands at %d and does not get to %d; %v", f.life.name.Stream, f.next, f.life.tail, s.failedReads)
	}
}

// compact lets one compactor come to the end of its work.
func (s *Sim) compact() {
	s.alone = true
	c := s.addCompactor()
	for range 5 { // a job, its objects dead, removed, forgotten
		s.run(max(simGrace, simAbandon) + 50*time.Millisecond)
		rounds := c.rounds
		s.mustf(s.runUntil(60*time.Second, func() bool { return c.rounds >= rounds+4 }), "I13: a compactor does not come to the end of its rounds")
		s.mustf(c.err == nil, "I13: a compactor fails: %v", c.err)
	}
	c.die()
	s.run(time.Second)
}

// rebuilt is an index made from the store alone.
func (s *Sim) rebuilt() chunkindex.Rebuilt {
	var objects []*segment.Chunks
	for _, info := range s.store.list(segment.ChunkPrefix, "") {
		about, err := segment.VerifyChunks(s.store.body(info.Key), nil)
		s.mustf(err == nil, "%s: %v", info.Key, err)
		objects = append(objects, about)
	}
	r := chunkindex.Rebuild(objects, s.limits())
	r.Gone = s.gone()
	return r
}

// rebuildIndex is what an operator does who has lost it.
func (s *Sim) rebuildIndex() {
	s.database.index = chunkindex.NewMem(time.Now)
	p := s.newProcess("rebuild")
	done := false
	go func() {
		report, err := survey.New(client{s.store, p}, simShards, 4).Rebuild(p.ctx, connection{s.database, p}, s.names(p), "it was lost")
		s.post("rebuild ends", func() {
			s.mustf(err == nil && report.Done, "I13: the index cannot be rebuilt: %v", err)
			s.mustf(len(report.Damage) == 0, "I8: a rebuild finds damage: %v", report.Damage)
			done = true
		})
	}()
	s.mustf(s.runUntil(60*time.Second, func() bool { return done }), "I13: a rebuild does not end")
	p.die()
}

// limits is what the index has heard of streams, which a rebuild keeps.
func (s *Sim) limits() map[stream.ID]chunkindex.Limit {
	var ids []stream.ID
	for _, l := range s.model.order {
		ids = append(ids, l.id)
	}
	limits, err := s.database.index.Limits(context.Background(), ids)
	s.mustf(err == nil, "%v", err)
	return limits
}

// gone is the logs with a gone mark, and where they end.
func (s *Sim) gone() map[stream.Incarnation]stream.Slot {
	out := map[stream.Incarnation]stream.Slot{}
	for _, info := range s.store.list(segment.LogPrefix, "") {
		if !strings.HasSuffix(info.Key, "/gone") {
			continue
		}
		log, err := logID(info.Key)
		s.mustf(err == nil, "%s: %v", info.Key, err)
		end, sealed := s.laws.log(log.String()).end()
		s.mustf(sealed, "I8: %s stands for a log that is not sealed", info.Key)
		out[log] = end
	}
	return out
}

// checkIndex wants the index that grew to be what a rebuild gives.
func (s *Sim) checkIndex() {
	ctx := context.Background()
	rebuilt := s.rebuilt()
	var have []chunkindex.Chunk
	for _, l := range s.model.order {
		chunks, err := s.database.index.Find(ctx, l.id, 0, math.MaxInt)
		s.mustf(err == nil, "%v", err)
		have = append(have, chunks...)
	}
	s.mustf(len(have) == len(rebuilt.Chunks), "I9: the index has %d chunks, a rebuild gives %d", len(have), len(rebuilt.Chunks))
	known := map[chunkindex.Chunk]bool{}
	for _, c := range have {
		known[c] = true
	}
	for _, c := range rebuilt.Chunks {
		s.mustf(known[c], "I9: chunk [%d, %d) of stream %s in object %d is not in the index", c.First, c.Next(), c.Stream, c.Object)
	}
	for _, o := range rebuilt.Objects {
		rows := s.database.objects(o.ID)
		s.mustf(len(rows) == 1 || o.LiveBytes == 0, "I9: object %d has no row", o.ID)
		if len(rows) == 1 {
			s.mustf(rows[0].State == o.State && rows[0].Bytes == o.Bytes && rows[0].LiveBytes == o.LiveBytes, "I9: object %d is %+v, a rebuild gives %+v", o.ID, rows[0], o)
		}
	}
}

// checkLeftovers wants nothing to be kept that nobody needs: slots of collected
// logs, objects of the given-up jobs. Puts that came late may have left some.
func (s *Sim) checkLeftovers() {
	var orphans, bytes int64
	for _, info := range s.store.list(segment.ChunkPrefix, "") {
		id, ok := segment.ParseChunkKey(info.Key)
		s.mustf(ok, "unknown object %s", info.Key)
		if len(s.database.objects(id)) == 0 {
			orphans++
			bytes += info.Size
		}
	}
	for id := range s.database.status().Last + 1 {
		for _, o := range s.database.objects(id) {
			s.mustf(o.State == chunkindex.StateLive && o.LiveBytes > 0, "I14: object %d is left over, %s with %d live bytes", o.ID, o.State, o.LiveBytes)
		}
	}
	states := map[stream.Shard]int{}
	for _, info := range s.store.list(segment.StatesPrefix, "") {
		ref, ok := segment.ParseStateKey(info.Key)
		s.mustf(ok, "unknown object %s", info.Key)
		states[ref.Shard]++
		s.mustf(states[ref.Shard] <= mostStates, "I14: more than %d states of shard %d are kept", mostStates, ref.Shard)
	}
	late := int64(s.stats.LatePuts + s.stats.Doubled)
	s.mustf(orphans <= late, "I14: %d orphans of %d bytes, though %d puts came late", orphans, bytes, late)
	owners := map[stream.Incarnation]bool{}
	for _, chain := range s.laws.chains {
		owners[chain[len(chain)-1].Owner] = true
	}
	logs, err := s.database.index.Logs(context.Background())
	s.mustf(err == nil, "%v", err)
	for _, l := range logs {
		s.mustf(!l.Drained() || owners[l.Log] || l.Gone, "I14: log %s is not collected", l.Log)
	}
}

// mostStates may be kept of a shard: three that nobody looks at twice or the one that
// its head names, two that footers name, and those beside them that none does.
const mostStates = 8

// readAll has a reader read every stream from its trim point to its tail.
func (s *Sim) readAll(r *reader) {
	for _, l := range s.model.order {
		if !l.deleting {
			s.readWhole(r, l)
		}
	}
}

func (s *Sim) readWhole(r *reader, l *life) {
	var answers []answer
	go func() {
		a := r.read(read.Request{Name: l.name, Limits: frame.NoLimits(), Start: live.Start{Kind: live.AtSeqNum, Value: uint64(l.trim)}})
		r.w.post("whole "+l.name.Stream, func() { answers = append(answers, a) })
	}()
	s.mustf(s.runUntil(30*time.Second, func() bool { return len(answers) > 0 }), "I13: a read does not end")
	a := answers[0]
	s.mustf(a.err == nil, "I8: stream %s [%d, %d) cannot be read: %v", l.name.Stream, l.trim, l.tail, a.err)
	s.checkRun(l, l.trim, a.records, "the last read")
	next := l.trim
	if n := len(a.records); n > 0 {
		next = a.records[n-1].at + 1
	}
	next = max(next, min(a.result.Next, l.trimAsked)) // a trim may be in effect that got no answer
	s.mustf(next >= max(l.tail, stream.SeqNum(len(l.records))) || next >= l.tail && l.trimAsked >= l.tail, "I5: stream %s ends at %d, its tail is %d, %d was seen", l.name.Stream, next, l.tail, len(l.records))
}

// checkOrder wants a producer's batches to stand in the order of their numbers.
func (s *Sim) checkOrder() {
	for _, p := range s.producers {
		for i := 1; i < len(p.acks); i++ {
			s.mustf(p.acks[i].Count == 0 || p.acks[i].First > p.acks[i-1].First, "I11: a producer's batches are out of order")
		}
	}
}
