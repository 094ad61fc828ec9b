package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/samsa-io/samsa/pkg/stream"
)

// ChunkID numbers a chunk object. No two objects ever have the same one.
type ChunkID uint64

// Chunks is what a chunk object says of its content: the records of many streams
// that stood in slots of a log, or in chunk objects that it replaces. A chunk is
// one block of it.
type Chunks struct {
	ID ChunkID
	// Log and its slots [From, To) are what was compacted; zero if the object only
	// replaces others.
	Log      stream.Incarnation
	From, To stream.Slot
	// Sources are the objects whose chunks are in this one too, ascending.
	Sources []ChunkID
	Runs    []ChunkRun // by stream, then by position
}

// ChunkRun is consecutive records of one stream. A stream has several runs in an
// object if its records between them stand elsewhere.
type ChunkRun struct {
	Stream stream.ID
	Blocks []BlockRef // consecutive
}

// First is the position of the run's first record.
func (r *ChunkRun) First() stream.SeqNum { return r.Blocks[0].First }

// Next is the position after the run.
func (r *ChunkRun) Next() stream.SeqNum { return r.Blocks[len(r.Blocks)-1].Next() }

// header is how a chunk object's trailer names it.
func (c *Chunks) header() Header { return Header{Log: c.Log, Slot: stream.Slot(c.ID)} }

const (
	// MinChunkBytes is the least that a chunk may be cut at.
	MinChunkBytes = 16 << 10
	// MaxChunkBytes is the most that a chunk may be cut at.
	MaxChunkBytes = 4 << 20

	minChunkRun = 16 + 1 + 1 + minBlock
)

// ChunkWriter makes a chunk object in memory out of blocks that were read.
type ChunkWriter struct {
	chunks     Chunks
	target     int
	out        []byte
	compressor *compressor
	fields     [blockFields]byte

	ref      BlockRef // of the block being made
	raw      []byte   // its bytes; empty: there is none
	idMillis uint64   // of the last batch in it
}

// NewChunkWriter begins an object; of about, all but Runs is taken. Blocks are
// cut before they exceed target bytes, at the border of a batch.
func NewChunkWriter(about Chunks, target int) *ChunkWriter {
	w := &ChunkWriter{chunks: about, target: min(max(target, 1), MaxChunkBytes), compressor: compressors.Get().(*compressor)}
	w.chunks.Runs = nil
	w.out = appendPrefix(nil, KindChunks)
	return w
}

// Add appends the batches of a block that stand in [from, next). Streams come in
// ascending order and a stream's records in theirs; a gap begins a new run. It
// panics on what no reader would accept.
func (w *ChunkWriter) Add(b *Block, from, next stream.SeqNum) {
	for batch, rest := b.start(), b.batches; len(rest) > 0; {
		batch, rest, _ = batch.next(rest)
		if batch.first >= from && batch.first+stream.SeqNum(batch.count) <= next {
			w.add(b.id, &batch)
		}
	}
}

func (w *ChunkWriter) add(id stream.ID, batch *batchView) {
	size := len(batch.payload) + len(batch.deltas)
	switch {
	case !w.follows(id, batch.first):
		w.begin(id, batch)
	case len(w.raw)+size > w.target:
		w.flush()
		w.startBlock(batch)
	}
	w.raw = binary.AppendUvarint(w.raw, uint64(batch.count))
	w.raw = binary.AppendUvarint(w.raw, batch.idMillis-w.idMillis)
	w.raw = appendDelta(w.raw, batch.idMillis, batch.firstTimestamp)
	w.raw = append(w.raw, batch.deltas...)
	w.raw = appendString(w.raw, batch.payload)
	w.idMillis = batch.idMillis
	w.ref.Count += batch.count
	w.ref.LastTimestamp = batch.lastTimestamp
}

// follows tells whether the position continues the run being made.
func (w *ChunkWriter) follows(id stream.ID, first stream.SeqNum) bool {
	return len(w.raw) > 0 && w.current().Stream == id && w.ref.Next() == first
}

func (w *ChunkWriter) current() *ChunkRun { return &w.chunks.Runs[len(w.chunks.Runs)-1] }

func (w *ChunkWriter) begin(id stream.ID, batch *batchView) {
	w.flush()
	if len(w.chunks.Runs) > 0 {
		last := w.current()
		if c := bytes.Compare(last.Stream[:], id[:]); c > 0 || c == 0 && last.Next() > batch.first {
			panic(fmt.Sprintf("segment: chunk of stream %s at seq_num %d comes after stream %s up to %d",
				id, batch.first, last.Stream, last.Next()))
		}
	}
	w.chunks.Runs = append(w.chunks.Runs, ChunkRun{Stream: id})
	w.startBlock(batch)
}

func (w *ChunkWriter) startBlock(batch *batchView) {
	w.raw = append(w.raw[:0], Version)
	w.idMillis = 0
	w.ref = BlockRef{First: batch.first, FirstTimestamp: batch.firstTimestamp}
}

// flush ends the block being made.
func (w *ChunkWriter) flush() {
	if len(w.raw) == 0 {
		return
	}
	run, stored := w.current(), w.raw
	w.ref.Offset, w.ref.Raw, w.ref.Codec = uint64(len(w.out)), uint32(len(w.raw)), CodecNone
	if small := w.compressor.compress(w.raw); small != nil {
		stored, w.ref.Codec = small, CodecZstd
	}
	w.ref.Stored = uint32(len(stored))
	w.ref.Checksum = blockChecksum(&w.fields, run.Stream, &w.ref, stored)
	w.out = append(w.out, stored...)
	run.Blocks = append(run.Blocks, w.ref)
	w.raw = w.raw[:0]
}

// Empty tells that nothing was added.
func (w *ChunkWriter) Empty() bool { return len(w.chunks.Runs) == 0 }

// Finish gives the object and what its footer says. The writer ends with it.
func (w *ChunkWriter) Finish() ([]byte, *Chunks) {
	w.flush()
	compressors.Put(w.compressor)
	w.compressor = nil
	footer := len(w.out)
	return appendTrailer(appendChunksFooter(w.out, &w.chunks), footer, w.chunks.header(), KindChunks), &w.chunks
}

func appendChunksFooter(dst []byte, c *Chunks) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.From))
	dst = binary.AppendUvarint(dst, uint64(c.To-c.From))
	dst = binary.AppendUvarint(dst, uint64(len(c.Sources)))
	var previous ChunkID
	for _, id := range c.Sources {
		dst = binary.AppendUvarint(dst, uint64(id-previous))
		previous = id
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Runs)))
	var last uint64
	for i := range c.Runs {
		dst, last = appendChunkRun(dst, &c.Runs[i], last)
	}
	return dst
}

// appendChunkRun writes a run; last is the last timestamp of the one before.
func appendChunkRun(dst []byte, r *ChunkRun, last uint64) ([]byte, uint64) {
	dst = append(dst, r.Stream[:]...)
	dst = binary.AppendUvarint(dst, uint64(r.First()))
	dst = binary.AppendUvarint(dst, uint64(len(r.Blocks)))
	for i := range r.Blocks {
		dst = appendBlockRef(dst, &r.Blocks[i], last)
		last = r.Blocks[i].LastTimestamp
	}
	return dst, last
}

// DecodeChunks reads the footer from the end of a chunk object. If suffix doesn't
// hold all of it, the error is a *NeedMore.
func DecodeChunks(suffix []byte) (*Chunks, error) {
	t, err := decodeTrailer(suffix)
	if err != nil {
		return nil, err
	}
	if t.Kind != KindChunks {
		return nil, &KindError{Want: KindChunks, Got: t.Kind}
	}
	if t.Window != 0 {
		return nil, corruptf("chunk object: reserved bytes are set")
	}
	footer, err := t.footerOf(suffix)
	if err != nil {
		return nil, err
	}
	return decodeChunksFooter(t.Header, footer)
}

func decodeChunksFooter(h Header, b []byte) (*Chunks, error) {
	r := &footerReader{reader: reader{b: b, what: "chunk object's footer"}, sums: sums{offset: prefixSize}}
	c := &Chunks{ID: ChunkID(h.Slot), Log: h.Log, From: stream.Slot(r.uvarint())}
	c.To = stream.Slot(r.sum(uint64(c.From)))
	c.Sources = items[ChunkID](r.count(1))
	var previous uint64
	for i := range c.Sources {
		at := r.sum(previous)
		if i > 0 && at == previous {
			r.failf("sources out of order")
		}
		c.Sources[i], previous = ChunkID(at), at
	}
	c.Runs = items[ChunkRun](r.count(minChunkRun))
	var last uint64
	for i := range c.Runs {
		last = r.chunkRun(&c.Runs[i], last)
		if r.err != nil {
			return nil, r.err
		}
		if i > 0 && !c.Runs[i-1].before(&c.Runs[i]) {
			r.failf("runs out of order")
		}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return c, nil
}

// before tells that another run may stand after r.
func (r *ChunkRun) before(other *ChunkRun) bool {
	c := bytes.Compare(r.Stream[:], other.Stream[:])
	return c < 0 || c == 0 && r.Next() < other.First()
}

func (r *footerReader) chunkRun(run *ChunkRun, last uint64) uint64 {
	run.Stream = r.id()
	next := stream.SeqNum(r.uvarint())
	run.Blocks = items[BlockRef](r.count(minBlock))
	if len(run.Blocks) == 0 {
		r.failf("a run without chunks")
		return last
	}
	for i := range run.Blocks {
		if next > stream.MaxSeqNum {
			r.failf("stream %s: seq_num %d exceeds 48 bits", run.Stream, next)
			return last
		}
		run.Blocks[i] = r.blockRef(next, last)
		next, last = run.Blocks[i].Next(), run.Blocks[i].LastTimestamp
	}
	if next > stream.MaxSeqNum {
		r.failf("stream %s: seq_num %d exceeds 48 bits", run.Stream, next)
	}
	return last
}

// VerifyChunks checks every byte of a whole chunk object, the records included.
// each, which may be nil, gets every block in order.
func VerifyChunks(object []byte, each func(*Block)) (*Chunks, error) {
	c, err := DecodeChunks(object)
	if err != nil {
		return nil, err
	}
	t, err := decodeTrailer(object)
	if err != nil {
		return nil, err
	}
	if err := t.checkWhole(object); err != nil {
		return nil, err
	}
	end := uint64(len(object) - TrailerSize - int(t.FooterSize))
	at := uint64(prefixSize)
	for i := range c.Runs {
		for _, ref := range c.Runs[i].Blocks {
			if at = ref.Offset + uint64(ref.Stored); at > end {
				return nil, corruptf("chunk object: a block ends at byte %d, in the footer", at)
			}
			block, err := DecodeBlock(c.Runs[i].Stream, ref, object[ref.Offset:at])
			if err != nil {
				return nil, err
			}
			if each != nil {
				each(block)
			}
		}
	}
	if at != end {
		return nil, corruptf("chunk object: its blocks end at byte %d, its footer begins at %d", at, end)
	}
	return c, nil
}
