package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/samsa-io/samsa/pkg/stream"
)

const (
	// MaxBlockBytes bounds the raw size of a block; larger ones are refused.
	MaxBlockBytes = 16 << 20
	// targetBlockBytes is where blocks are cut, at the next batch's border: what
	// a reader of one record fetches at most, unless one batch is larger.
	targetBlockBytes = 256 << 10
)

// BlockRef says where a block stands in its segment and what is in it.
type BlockRef struct {
	Offset         uint64
	Stored         uint32 // bytes in the object
	Raw            uint32 // bytes when decompressed
	Codec          Codec
	Checksum       uint32
	First          stream.SeqNum
	Count          uint32
	FirstTimestamp uint64
	LastTimestamp  uint64
}

// Next is the position after the block.
func (r BlockRef) Next() stream.SeqNum { return r.First + stream.SeqNum(r.Count) }

// blockFields is what a block's checksum covers before its stored bytes.
const blockFields = 16 + 8 + 4 + 4 + 1

// blockChecksum binds the stored bytes to their stream and place in it, so that
// a block read from a wrong offset or for a wrong stream is refused as well.
func blockChecksum(fields *[blockFields]byte, id stream.ID, ref *BlockRef, stored []byte) uint32 {
	copy(fields[:], id[:])
	binary.LittleEndian.PutUint64(fields[16:], uint64(ref.First))
	binary.LittleEndian.PutUint32(fields[24:], ref.Count)
	binary.LittleEndian.PutUint32(fields[28:], ref.Raw)
	fields[32] = byte(ref.Codec)
	return crc32.Update(checksum(fields[:]), castagnoli, stored)
}

// appendBatch writes a batch's part of a block. previous is the IDMillis of the
// batch before it in the block, or 0.
func appendBatch(dst []byte, b *Batch, previous uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Timestamps)))
	dst = binary.AppendUvarint(dst, b.IDMillis-previous)
	last := b.Timestamps[0]
	dst = appendDelta(dst, b.IDMillis, last)
	for _, timestamp := range b.Timestamps[1:] {
		if timestamp < last {
			panic(fmt.Sprintf("segment: stream %s: time falls in the batch at seq_num %d", b.Stream, b.First))
		}
		dst = binary.AppendUvarint(dst, timestamp-last)
		last = timestamp
	}
	return appendString(dst, b.Payload)
}

// batchView is a batch inside a block.
type batchView struct {
	first          stream.SeqNum
	count          uint32
	idMillis       uint64
	firstTimestamp uint64
	lastTimestamp  uint64
	deltas         []byte // count−1 varints: each timestamp after the first, less its predecessor
	payload        []byte
}

// next reads the batch that follows v at the front of b; ok is false if it is
// malformed. The batch before the first is a zero one with a block's First.
func (v batchView) next(b []byte) (n batchView, rest []byte, ok bool) {
	r := reader{b: b, what: "block"}
	n = batchView{first: v.first + stream.SeqNum(v.count), count: uint32(r.count(1))}
	n.idMillis = r.sum(v.idMillis)
	n.firstTimestamp = r.delta(n.idMillis)
	if r.err != nil || n.count == 0 || n.firstTimestamp < v.lastTimestamp {
		return n, nil, false
	}
	size, ok := n.addDeltas(r.b)
	if !ok {
		return n, nil, false
	}
	n.deltas = r.take(size)
	start, end := 0, skipField(r.b, 0)
	if end < 0 {
		return n, nil, false
	}
	n.payload, start = field(r.b, start)
	return n, r.b[start:], true
}

// addDeltas finds the last timestamp and the length of the deltas before it.
func (v *batchView) addDeltas(b []byte) (size int, ok bool) {
	v.lastTimestamp = v.firstTimestamp
	for range v.count - 1 {
		delta, n := delta(b[size:])
		if n <= 0 || v.lastTimestamp+delta < v.lastTimestamp {
			return 0, false
		}
		v.lastTimestamp += delta
		size += n
	}
	return size, true
}

func delta(b []byte) (v uint64, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// Block is a run of consecutive records of one stream, decoded and found sound.
// It can be read by many goroutines at once.
type Block struct {
	id      stream.ID
	ref     BlockRef
	batches []byte // all of the raw bytes but the version
	headers int    // the most that one of its records has
	fields  [blockFields]byte
}

// DecodeBlockIn is DecodeBlock of a block in the whole of its object.
func DecodeBlockIn(id stream.ID, ref BlockRef, object []byte) (*Block, error) {
	from := min(ref.Offset, uint64(len(object)))
	to := min(ref.Offset+uint64(ref.Stored), uint64(len(object)))
	return DecodeBlock(id, ref, object[from:to])
}

// DecodeBlock checks a block's stored bytes, all lengths in it included, so that
// reading it cannot fail. The block aliases stored unless it was compressed.
func DecodeBlock(id stream.ID, ref BlockRef, stored []byte) (*Block, error) {
	if uint64(len(stored)) != uint64(ref.Stored) {
		return nil, corruptf("block: %d stored bytes, %d declared", len(stored), ref.Stored)
	}
	b := &Block{id: id, ref: ref}
	if blockChecksum(&b.fields, id, &ref, stored) != ref.Checksum {
		return nil, corruptf("block of stream %s at seq_num %d: wrong checksum", id, ref.First)
	}
	raw, err := ref.raw(stored)
	if err != nil {
		return nil, err
	}
	if raw[0] != Version {
		return nil, &VersionError{What: "a block", Version: raw[0]}
	}
	b.batches = raw[1:]
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

func (r BlockRef) raw(stored []byte) ([]byte, error) {
	switch {
	case r.Raw == 0 || r.Raw > MaxBlockBytes:
		return nil, corruptf("block: raw size of %d bytes, want 1 to %d", r.Raw, MaxBlockBytes)
	case r.Codec == CodecZstd:
		return decompress(stored, r.Raw)
	case r.Codec != CodecNone:
		return nil, corruptf("block: codec %d", r.Codec)
	case r.Raw != r.Stored:
		return nil, corruptf("block: raw size %d differs from the %d bytes stored uncompressed", r.Raw, r.Stored)
	}
	return stored, nil
}

func (b *Block) check() error {
	if b.ref.First > stream.MaxSeqNum || b.ref.Next() > stream.MaxSeqNum {
		return corruptf("block: seq_num %d and %d records exceed 48 bits", b.ref.First, b.ref.Count)
	}
	batch, rest := b.start(), b.batches
	var firstTimestamp uint64
	for len(rest) > 0 {
		var ok bool
		if batch, rest, ok = batch.next(rest); !ok {
			return corruptf("block of stream %s: malformed batch at seq_num %d", b.id, batch.first)
		}
		headers, ok := checkRecords(batch.payload, batch.count)
		if !ok {
			return corruptf("block of stream %s: malformed record in the batch at seq_num %d", b.id, batch.first)
		}
		if batch.first == b.ref.First {
			firstTimestamp = batch.firstTimestamp
		}
		b.headers = max(b.headers, headers)
	}
	switch {
	case batch.first+stream.SeqNum(batch.count) != b.ref.Next() || b.ref.Count == 0:
		return corruptf("block of stream %s at seq_num %d: does not hold the %d records declared", b.id, b.ref.First, b.ref.Count)
	case firstTimestamp != b.ref.FirstTimestamp || batch.lastTimestamp != b.ref.LastTimestamp:
		return corruptf("block of stream %s at seq_num %d: other timestamps than declared", b.id, b.ref.First)
	}
	return nil
}

func (b *Block) start() batchView { return batchView{first: b.ref.First} }

// Len is the number of records.
func (b *Block) Len() int { return int(b.ref.Count) }

// Stream is whose records they are.
func (b *Block) Stream() stream.ID { return b.id }

// Ref is what the block was decoded from.
func (b *Block) Ref() BlockRef { return b.ref }

// Size is the memory that the block's bytes take.
func (b *Block) Size() int { return len(b.batches) }

// All yields every record. Names, values and bodies alias the block and stay
// valid; the slice of headers is used again for the next record.
func (b *Block) All() iter.Seq[stream.Record] { return b.From(b.ref.First) }

// From yields the records from position seq on, as All does.
func (b *Block) From(seq stream.SeqNum) iter.Seq[stream.Record] {
	return func(yield func(stream.Record) bool) {
		headers := items[stream.Header](b.headers)
		for batch, rest := b.start(), b.batches; len(rest) > 0; {
			batch, rest, _ = batch.next(rest)
			if seq < batch.first+stream.SeqNum(batch.count) && !batch.yield(seq, headers, yield) {
				return
			}
		}
	}
}

func (v *batchView) yield(from stream.SeqNum, headers []stream.Header, yield func(stream.Record) bool) bool {
	record := stream.Record{SeqNum: v.first, IDMillis: v.idMillis, Timestamp: v.firstTimestamp}
	deltas, at := v.deltas, 0
	for left := v.count; ; left-- {
		if record.SeqNum < from {
			at = skipRecord(v.payload, at)
		} else {
			at = fill(&record, headers, v.payload, at)
			if !yield(record) {
				return false
			}
		}
		if left == 1 {
			return true
		}
		later, size := delta(deltas)
		deltas = deltas[size:]
		record.Timestamp += later
		record.SeqNum++
	}
}

// AtOrAfter is the position of the first record whose timestamp is at least
// that, or the position after the block if there is none.
func (b *Block) AtOrAfter(timestamp uint64) stream.SeqNum {
	for batch, rest := b.start(), b.batches; len(rest) > 0; {
		batch, rest, _ = batch.next(rest)
		if timestamp <= batch.lastTimestamp {
			return batch.atOrAfter(timestamp)
		}
	}
	return b.ref.Next()
}

func (v *batchView) atOrAfter(timestamp uint64) stream.SeqNum {
	seq, deltas := v.first, v.deltas
	for at := v.firstTimestamp; at < timestamp; seq++ {
		later, size := delta(deltas)
		deltas = deltas[size:]
		at += later
	}
	return seq
}
