package segment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/samsa-io/samsa/pkg/stream"
)

// ProducerWindow is how many of a producer's last batches are remembered, in
// footers as in states.
const ProducerWindow = 5

// ProducerBatch is what is remembered of a producer's batch, so that a second
// copy of it gets the first one's answer.
type ProducerBatch struct {
	ID             string
	Seq            uint64 // the producer's own count of records before the batch
	First          stream.SeqNum
	Count          uint32
	IDMillis       uint64
	FirstTimestamp uint64
	LastTimestamp  uint64
}

// Batch is records that were appended to a stream in one go.
type Batch struct {
	Shard       stream.Shard
	Epoch       stream.Epoch
	Stream      stream.ID
	First       stream.SeqNum
	IDMillis    uint64   // the millisecond of all its seq_ids
	Timestamps  []uint64 // one per record, never falling
	Payload     []byte   // its records, each as AppendRecord wrote it
	ProducerID  string   // "": none
	ProducerSeq uint64
	Fence       *string       // the stream's fencing token after the batch, if it changed it
	Trim        stream.SeqNum // the stream's trim point after the batch; 0: it did not move it
}

func (b *Batch) count() uint32 { return uint32(len(b.Timestamps)) }

// next is the position after the batch.
func (b *Batch) next() stream.SeqNum { return b.First + stream.SeqNum(len(b.Timestamps)) }

func (b *Batch) lastTimestamp() uint64 { return b.Timestamps[len(b.Timestamps)-1] }

func (b *Batch) producer() ProducerBatch {
	return ProducerBatch{
		ID: b.ProducerID, Seq: b.ProducerSeq, First: b.First, Count: b.count(), IDMillis: b.IDMillis,
		FirstTimestamp: b.Timestamps[0], LastTimestamp: b.lastTimestamp(),
	}
}

// Segment is what one slot holds. It must not change once Sections or Encode was
// called, and it does not serve two goroutines at once.
type Segment struct {
	Header
	Batches []Batch // in order of arrival; a stream's are consecutive
	Entries []Entry // in order of arrival
	States  []StateRef

	plan *plan
}

// Section is what a segment holds of one part of a shard's chain.
type Section struct {
	Shard   stream.Shard
	Epoch   stream.Epoch
	Entries []Entry   // in order of arrival
	Streams []Summary // by stream
}

// Summary is what a segment holds of one stream.
type Summary struct {
	Stream         stream.ID
	First          stream.SeqNum
	Count          uint32
	FirstTimestamp uint64
	LastTimestamp  uint64
	IDMillis       uint64          // the last batch's
	Fence          *string         // at the end of the segment, if changed in it
	Trim           stream.SeqNum   // at the end of the segment; 0: not moved in it
	Producers      []ProducerBatch // in order; of each producer the last ProducerWindow
	Blocks         []BlockRef      // consecutive
}

// Next is the position after the segment's records.
func (s *Summary) Next() stream.SeqNum { return s.First + stream.SeqNum(s.Count) }

// Sections is what the segment's footer holds, by shard and epoch. Of the
// blocks, only Encode fills in Offset, Stored, Raw, Codec and Checksum; it does
// so in place and writes nothing else.
func (s *Segment) Sections() []Section { return s.planned().sections }

func (s *Segment) planned() *plan {
	if s.plan == nil {
		s.plan = newPlan(s)
	}
	return s.plan
}

// plan is a segment's order. Section i holds the content of group i.
type plan struct {
	sections []Section
	groups   []group
}

// part is one owner's part of a shard's chain.
type part struct {
	shard stream.Shard
	epoch stream.Epoch
}

func (p part) compare(q part) int {
	if c := cmp.Compare(p.shard, q.shard); c != 0 {
		return c
	}
	return cmp.Compare(p.epoch, q.epoch)
}

// group is what a segment has of one part.
type group struct {
	part
	count   int     // of batches
	batches []place // by stream
	entries []Entry // in order of arrival
}

// place sorts batches without touching them: by stream (as two numbers, which
// compare faster than bytes), then as they arrived.
type place struct {
	high, low uint64
	index     uint32
}

func (p place) compare(q place) int {
	switch {
	case p.high != q.high:
		return cmp.Compare(p.high, q.high)
	case p.low != q.low:
		return cmp.Compare(p.low, q.low)
	}
	return cmp.Compare(p.index, q.index)
}

func (p place) sameStream(q place) bool { return p.high == q.high && p.low == q.low }

// grouper deals batches and entries out by part first: sorting many small groups
// is several times faster than sorting 20,000 batches at once.
type grouper struct {
	groups []group
	index  map[part]uint32
}

func (g *grouper) of(p part) uint32 {
	i, ok := g.index[p]
	if !ok {
		i = uint32(len(g.groups))
		g.index[p] = i
		g.groups = append(g.groups, group{part: p})
	}
	return i
}

func groupsOf(s *Segment) []group {
	g := &grouper{index: make(map[part]uint32)}
	g.dealBatches(s.Batches)
	for _, e := range s.Entries {
		to := &g.groups[g.of(e.part())]
		to.entries = append(to.entries, e.stored())
	}
	for i := range g.groups {
		slices.SortFunc(g.groups[i].batches, place.compare)
	}
	slices.SortFunc(g.groups, func(a, b group) int { return a.compare(b.part) })
	return g.groups
}

func (g *grouper) dealBatches(batches []Batch) {
	into := make([]uint32, len(batches))
	for i := range batches {
		into[i] = g.of(part{batches[i].Shard, batches[i].Epoch})
		g.groups[into[i]].count++
	}
	places := make([]place, len(batches))
	for i := range g.groups {
		to := &g.groups[i]
		to.batches, places = places[:0:to.count], places[to.count:]
	}
	for i := range batches {
		to, id := &g.groups[into[i]], &batches[i].Stream
		to.batches = append(to.batches, place{
			high: binary.BigEndian.Uint64(id[:8]), low: binary.BigEndian.Uint64(id[8:]), index: uint32(i),
		})
	}
}

// planner builds a plan. Everything of a kind stands in one array, of which
// sections and summaries hold slices: 20,000 streams cost a handful of
// allocations.
type planner struct {
	batches   []Batch
	streams   []Summary
	blocks    []BlockRef
	producers []ProducerBatch
}

func newPlan(s *Segment) *plan {
	p := &plan{groups: groupsOf(s)}
	b := newPlanner(s.Batches, p.groups)
	p.sections = items[Section](len(p.groups))
	for i, g := range p.groups {
		p.sections[i] = Section{Shard: g.shard, Epoch: g.epoch, Entries: g.entries, Streams: b.summaries(g.batches)}
	}
	return p
}

func (e *Entry) part() part { return part{e.Shard, e.Epoch} }

func newPlanner(batches []Batch, groups []group) *planner {
	streams, producers, bytes := 0, 0, 0
	for i := range groups {
		order := groups[i].batches
		for j := range order {
			if j == 0 || !order[j].sameStream(order[j-1]) {
				streams++
			}
		}
	}
	for i := range batches {
		bytes += len(batches[i].Payload)
		if batches[i].ProducerID != "" {
			producers++
		}
	}
	return &planner{
		batches:   batches,
		streams:   make([]Summary, 0, streams),
		blocks:    make([]BlockRef, 0, streams+2*bytes/targetBlockBytes),
		producers: make([]ProducerBatch, 0, producers),
	}
}

// summaries takes the batches of one part.
func (p *planner) summaries(order []place) []Summary {
	start := len(p.streams)
	for len(order) > 0 {
		n := 1
		for n < len(order) && order[n].sameStream(order[0]) {
			n++
		}
		p.summary(order[:n])
		order = order[n:]
	}
	return tail(p.streams, start)
}

// tail is what was appended to list since it had that length; nil if nothing.
func tail[T any](list []T, start int) []T {
	if start == len(list) {
		return nil
	}
	return list[start:len(list):len(list)]
}

// summary takes the batches of one stream.
func (p *planner) summary(order []place) {
	first := &p.batches[order[0].index]
	p.streams = append(p.streams, Summary{Stream: first.Stream, First: first.First})
	sum := &p.streams[len(p.streams)-1]
	blocks, producers := len(p.blocks), len(p.producers)
	size := 0
	for _, o := range order {
		b := &p.batches[o.index]
		sum.add(b)
		if size += len(b.Payload); size > targetBlockBytes || len(p.blocks) == blocks {
			p.blocks = append(p.blocks, BlockRef{First: b.First, FirstTimestamp: b.Timestamps[0]})
			size = len(b.Payload)
		}
		p.blocks[len(p.blocks)-1].add(b)
		if b.ProducerID != "" {
			p.producers = append(p.producers, b.producer())
		}
	}
	p.producers = append(p.producers[:producers], lastOfEach(p.producers[producers:])...)
	sum.Blocks, sum.Producers = tail(p.blocks, blocks), tail(p.producers, producers)
}

func (s *Summary) add(b *Batch) {
	s.check(b)
	if s.Count == 0 {
		s.FirstTimestamp = b.Timestamps[0]
	}
	s.Count += b.count()
	s.LastTimestamp = b.lastTimestamp()
	s.IDMillis = b.IDMillis
	if b.Fence != nil {
		s.Fence = b.Fence
	}
	if b.Trim != 0 {
		s.Trim = b.Trim
	}
}

// check stops a writer that would put what no reader accepts: better than to
// acknowledge records that are lost.
func (s *Summary) check(b *Batch) {
	switch {
	case len(b.Timestamps) == 0:
		panic(fmt.Sprintf("segment: stream %s: a batch without records", b.Stream))
	case b.First != s.Next() || b.next() > stream.MaxSeqNum:
		panic(fmt.Sprintf("segment: stream %s: a batch at seq_num %d follows %d", b.Stream, b.First, s.Next()))
	case b.IDMillis < s.IDMillis || b.Timestamps[0] < s.LastTimestamp:
		panic(fmt.Sprintf("segment: stream %s: time falls in the batch at seq_num %d", b.Stream, b.First))
	}
}

func (r *BlockRef) add(b *Batch) {
	r.Count += b.count()
	r.LastTimestamp = b.lastTimestamp()
}

// lastOfEach keeps, in place and in order, the last ProducerWindow batches of
// each producer: nobody asks for older ones.
func lastOfEach(batches []ProducerBatch) []ProducerBatch {
	if len(batches) <= ProducerWindow {
		return batches
	}
	seen := make(map[string]int)
	kept := len(batches)
	for i := len(batches) - 1; i >= 0; i-- {
		if seen[batches[i].ID]++; seen[batches[i].ID] <= ProducerWindow {
			kept--
			batches[kept] = batches[i]
		}
	}
	return batches[kept:]
}
