package logindex

import (
	"sort"
	"sync"
	"unsafe"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Block says where consecutive records of one stream stand: in a slot of a log, or
// in a chunk object.
type Block struct {
	Log  stream.Incarnation // zero: Slot is the id of a chunk object
	Slot stream.Slot
	segment.BlockRef
}

// ChunkBlock is a block of a chunk object.
func ChunkBlock(id segment.ChunkID, ref segment.BlockRef) Block {
	return Block{Slot: stream.Slot(id), BlockRef: ref}
}

// Key is the object's that the block stands in.
func (b Block) Key() string {
	if b.Log.IsZero() {
		return segment.ChunkKey(segment.ChunkID(b.Slot))
	}
	return segment.SlotKey(b.Log, b.Slot)
}

// Span is what an Index knows of one stream.
type Span struct {
	First stream.SeqNum // the oldest record it covers
	End   stream.SeqNum // the one after the newest
	// Earlier tells, of a lookup by timestamp, that records below First may answer
	// it too.
	Earlier bool
	Blocks  []Block // consecutive; the first one holds the record looked for
}

// Index holds, for each stream, where its newest blocks stand. The parts of a
// shard may lie in several logs: after a takeover the recovered part is in the
// predecessor's. It is safe for concurrent use.
//
// A stream costs about 90 bytes and a block 56. Beyond the budget the oldest
// slots are forgotten, in the order in which they were added.
type Index struct {
	maxBytes int64

	mu      sync.RWMutex
	bytes   int64
	streams map[stream.ID]*entry
	slots   []slot // in order of arrival
	// base is the number of slots[0]; numbers wrap around, which is harmless
	// because far fewer slots than 2^32 are held at once.
	base uint32
}

// entry is one stream. Its blocks are consecutive: a gap drops what is below.
type entry struct {
	id     stream.ID
	blocks []block
}

// block is a Block without padding and with its log and slot by number.
type block struct {
	first          uint64
	firstTimestamp uint64
	lastTimestamp  uint64
	slot           uint32
	offset         uint32
	stored         uint32
	rawAndCodec    uint32
	checksum       uint32
	count          uint32
}

// slot is an object and the streams that have blocks in it.
type slot struct {
	log     stream.Incarnation
	slot    stream.Slot
	streams []*entry
}

const (
	blockBytes  = int64(unsafe.Sizeof(block{}))
	entryBytes  = int64(unsafe.Sizeof(entry{})) + 40 // and its place in the map
	slotBytes   = int64(unsafe.Sizeof(slot{}))
	memberBytes = int64(unsafe.Sizeof((*entry)(nil)))

	// rawBits leaves the codec the upper bits; a block's raw bytes stay far
	// below 256 MiB because a segment's do.
	rawBits = 28
)

// NewIndex makes an Index that holds at most about maxBytes.
func NewIndex(maxBytes int64) *Index {
	return &Index{maxBytes: maxBytes, streams: map[stream.ID]*entry{}}
}

// AddSection adds what a footer says of one shard. Only durable slots may be
// added, those of one shard in the order of its records; adding a slot twice does
// no harm.
func (x *Index) AddSection(log stream.Incarnation, at stream.Slot, section segment.Section) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range section.Streams {
		x.add(section.Streams[i].Stream, log, at, section.Streams[i].Blocks)
	}
	x.shrink()
}

// Add adds consecutive blocks of one stream that share a slot.
func (x *Index) Add(id stream.ID, log stream.Incarnation, at stream.Slot, blocks []segment.BlockRef) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.add(id, log, at, blocks)
	x.shrink()
}

func (x *Index) add(id stream.ID, log stream.Incarnation, at stream.Slot, refs []segment.BlockRef) {
	if len(refs) == 0 {
		return
	}
	e := x.streams[id]
	if e == nil {
		e = &entry{id: id}
		x.streams[id] = e
		x.bytes += entryBytes
	}
	number := x.slotNumber(log, at)
	before, added := cap(e.blocks), false
	for _, ref := range refs {
		added = e.append(number, ref) || added
	}
	x.bytes += int64(cap(e.blocks)-before) * blockBytes
	if added {
		members := &x.slots[number-x.base].streams
		*members = append(*members, e)
		x.bytes += memberBytes
	}
}

// slotNumber finds the number of a slot; sections of one slot follow each other.
func (x *Index) slotNumber(log stream.Incarnation, at stream.Slot) uint32 {
	if n := len(x.slots); n > 0 && x.slots[n-1].log == log && x.slots[n-1].slot == at {
		return x.base + uint32(n-1)
	}
	x.slots = append(x.slots, slot{log: log, slot: at})
	x.bytes += slotBytes
	return x.base + uint32(len(x.slots)-1)
}

// append reports whether the block was new. Blocks after a gap replace those
// before it: what is held stays consecutive.
func (e *entry) append(number uint32, ref segment.BlockRef) bool {
	first := uint64(ref.First)
	if n := len(e.blocks); n > 0 {
		end := e.blocks[n-1].end()
		if first+uint64(ref.Count) <= end {
			return false
		}
		if first != end {
			e.blocks = e.blocks[:0]
		}
	}
	b := pack(ref)
	b.slot = number
	e.blocks = append(e.blocks, b)
	return true
}

func pack(ref segment.BlockRef) block {
	return block{
		first:          uint64(ref.First),
		firstTimestamp: ref.FirstTimestamp,
		lastTimestamp:  ref.LastTimestamp,
		offset:         uint32(ref.Offset),
		stored:         ref.Stored,
		rawAndCodec:    ref.Raw | uint32(ref.Codec)<<rawBits,
		checksum:       ref.Checksum,
		count:          ref.Count,
	}
}

func (b *block) unpack() segment.BlockRef {
	return segment.BlockRef{
		Offset:         uint64(b.offset),
		Stored:         b.stored,
		Raw:            b.rawAndCodec & (1<<rawBits - 1),
		Codec:          segment.Codec(b.rawAndCodec >> rawBits),
		Checksum:       b.checksum,
		First:          stream.SeqNum(b.first),
		Count:          b.count,
		FirstTimestamp: b.firstTimestamp,
		LastTimestamp:  b.lastTimestamp,
	}
}

func (b *block) end() uint64 { return b.first + uint64(b.count) }

func (x *Index) shrink() {
	for x.bytes > x.maxBytes && len(x.slots) > 0 {
		x.dropOldestSlot()
	}
}

func (x *Index) dropOldestSlot() {
	oldest := x.slots[0]
	for _, e := range oldest.streams {
		n := 0
		for n < len(e.blocks) && e.blocks[n].slot == x.base {
			n++
		}
		x.dropBlocks(e, n)
	}
	x.bytes -= slotBytes + int64(len(oldest.streams))*memberBytes
	x.slots[0] = slot{}
	x.slots = x.slots[1:]
	x.base++
}

func (x *Index) dropBlocks(e *entry, n int) {
	e.blocks = e.blocks[n:]
	x.bytes -= int64(n) * blockBytes
	if len(e.blocks) == 0 {
		x.forget(e)
	}
}

func (x *Index) forget(e *entry) {
	if x.streams[e.id] != e {
		return // forgotten before
	}
	delete(x.streams, e.id)
	x.bytes -= entryBytes + int64(cap(e.blocks))*blockBytes
	e.blocks = nil
}

// Trim forgets blocks wholly below to.
func (x *Index) Trim(id stream.ID, to stream.SeqNum) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.streams[id]; e != nil {
		n := sort.Search(len(e.blocks), func(i int) bool { return e.blocks[i].end() > uint64(to) })
		x.dropBlocks(e, n)
	}
}

// Forget drops a stream.
func (x *Index) Forget(id stream.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.streams[id]; e != nil {
		x.forget(e)
	}
}

// Lookup finds the blocks from the one that holds record from on: at least one,
// and more until their stored bytes reach maxBytes. There are none if from is not
// covered; false says that nothing of the stream is.
func (x *Index) Lookup(id stream.ID, from stream.SeqNum, maxBytes uint64) (Span, bool) {
	return x.lookup(id, func(e *entry, span *Span) {
		if from >= span.First {
			x.collect(span, e.from(func(b *block) bool { return b.end() > uint64(from) }), maxBytes)
		}
	})
}

// LookupTimestamp is Lookup of the first record whose timestamp is at least t.
// That one lies in the first block returned, unless Earlier says that it may be
// older than what is covered.
func (x *Index) LookupTimestamp(id stream.ID, t uint64, maxBytes uint64) (Span, bool) {
	return x.lookup(id, func(e *entry, span *Span) {
		span.Earlier = e.blocks[0].firstTimestamp >= t
		x.collect(span, e.from(func(b *block) bool { return b.lastTimestamp >= t }), maxBytes)
	})
}

// Covered tells which records of a stream the index knows: those from first to
// before end.
func (x *Index) Covered(id stream.ID) (first, end stream.SeqNum, ok bool) {
	span, ok := x.lookup(id, func(*entry, *Span) {})
	return span.First, span.End, ok
}

func (x *Index) lookup(id stream.ID, fill func(*entry, *Span)) (Span, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e := x.streams[id]
	if e == nil {
		return Span{}, false
	}
	span := Span{First: stream.SeqNum(e.blocks[0].first), End: stream.SeqNum(e.blocks[len(e.blocks)-1].end())}
	fill(e, &span)
	return span, true
}

// from is the blocks from the first on that is reached.
func (e *entry) from(reached func(*block) bool) []block {
	return e.blocks[sort.Search(len(e.blocks), func(i int) bool { return reached(&e.blocks[i]) }):]
}

func (x *Index) collect(span *Span, blocks []block, maxBytes uint64) {
	var total uint64
	for i := range blocks {
		if i > 0 && total >= maxBytes {
			return
		}
		span.Blocks = append(span.Blocks, x.expand(&blocks[i]))
		total += uint64(blocks[i].stored)
	}
}

func (x *Index) expand(b *block) Block {
	at := &x.slots[b.slot-x.base]
	return Block{Log: at.log, Slot: at.slot, BlockRef: b.unpack()}
}

// Size tells how much the index holds.
func (x *Index) Size() (streams, slots int, bytes int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.streams), len(x.slots), x.bytes
}
