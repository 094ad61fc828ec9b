package segment

import (
	"cmp"
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

// plan is a segment's order.
type plan struct {
	sections []Section
	order    []place // of the batches
}

// place sorts batches without touching them: by part, by stream (as two numbers,
// which compare faster than bytes), and as they arrived.
type place struct {
	part
	index     uint32
	high, low uint64
}

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

func (p place) compare(q place) int {
	switch {
	case p.part != q.part:
		return p.part.compare(q.part)
	case p.high != q.high:
		return cmp.Compare(p.high, q.high)
	case p.low != q.low:
		return cmp.Compare(p.low, q.low)
	}
	return cmp.Compare(p.index, q.index)
}

func (p place) sameStream(q place) bool {
	return p.part == q.part && p.high == q.high && p.low == q.low
}

func sortBatches(batches []Batch) []place {
	order := make([]place, len(batches))
	for i := range batches {
		b := &batches[i]
		order[i] = place{
			part: part{b.Shard, b.Epoch}, index: uint32(i),
			high: bigEndian(b.Stream[:8]), low: bigEndian(b.Stream[8:]),
		}
	}
	slices.SortFunc(order, place.compare)
	return order
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
	p := &plan{order: sortBatches(s.Batches)}
	entries := make([]Entry, len(s.Entries))
	for i, e := range s.Entries {
		entries[i] = e.stored()
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.part().compare(b.part()) })

	b := newPlanner(s.Batches, p.order)
	order := p.order
	for _, part := range parts(order, entries) {
		section := Section{Shard: part.shard, Epoch: part.epoch}
		n := countWhile(entries, func(e Entry) bool { return e.part() == part })
		if n > 0 {
			section.Entries, entries = entries[:n:n], entries[n:]
		}
		n = countWhile(order, func(o place) bool { return o.part == part })
		section.Streams, order = b.summaries(order[:n]), order[n:]
		p.sections = append(p.sections, section)
	}
	return p
}

func (e *Entry) part() part { return part{e.Shard, e.Epoch} }

// parts lists those of the batches and of the entries, in order.
func parts(order []place, entries []Entry) []part {
	var all []part
	for i, o := range order {
		if i == 0 || order[i-1].part != o.part {
			all = append(all, o.part)
		}
	}
	for i := range entries {
		all = append(all, entries[i].part())
	}
	slices.SortFunc(all, part.compare)
	return slices.Compact(all)
}

func countWhile[T any](list []T, holds func(T) bool) int {
	for i, v := range list {
		if !holds(v) {
			return i
		}
	}
	return len(list)
}

func newPlanner(batches []Batch, order []place) *planner {
	streams, producers, bytes := 0, 0, 0
	for i, o := range order {
		if i == 0 || !o.sameStream(order[i-1]) {
			streams++
		}
		b := &batches[o.index]
		bytes += len(b.Payload)
		if b.ProducerID != "" {
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
		n := countWhile(order, order[0].sameStream)
		p.streams = append(p.streams, p.summary(order[:n]))
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
func (p *planner) summary(order []place) Summary {
	first := &p.batches[order[0].index]
	sum := Summary{Stream: first.Stream, First: first.First}
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
	return sum
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
