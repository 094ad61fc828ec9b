package segment

import (
	"bytes"
	"fmt"
)

// Encode makes the object. The same segment always gives the same bytes.
func (s *Segment) Encode() []byte {
	p := s.planned()
	e := blockEncoder{batches: s.Batches, compressor: compressors.Get().(*compressor)}
	defer compressors.Put(e.compressor)
	e.out = appendPrefix(make([]byte, 0, s.estimate()), KindSegment)
	for i := range p.sections {
		e.order = p.groups[i].batches
		for j := range p.sections[i].Streams {
			e.stream(&p.sections[i].Streams[j])
		}
	}
	footer := len(e.out)
	return fitted(appendTrailer(appendFooter(e.out, s.States, p.sections), footer, s.Header, KindSegment))
}

// fitted is object in memory of about its size. Room is made for what is not
// compressed, and writers keep objects for long, counting their lengths.
func fitted(object []byte) []byte {
	if cap(object) > len(object)+len(object)/4 {
		return bytes.Clone(object)
	}
	return object
}

// estimate is about how long the object gets.
func (s *Segment) estimate() int {
	n := 1<<10 + 128*len(s.Entries) + 16*len(s.States)
	for i := range s.Batches {
		b := &s.Batches[i]
		n += len(b.Payload) + len(b.Timestamps) + 72
	}
	return n
}

// blockEncoder writes the blocks of a segment.
type blockEncoder struct {
	batches    []Batch
	order      []place // of the group's batches not yet written
	compressor *compressor
	fields     [blockFields]byte
	out        []byte
}

func (e *blockEncoder) stream(s *Summary) {
	for i := range s.Blocks {
		ref := &s.Blocks[i]
		start := len(e.out)
		e.raw(ref)
		ref.Offset, ref.Codec = uint64(start), CodecNone
		ref.Raw = uint32(len(e.out) - start)
		if small := e.compressor.compress(e.out[start:]); small != nil {
			e.out = append(e.out[:start], small...)
			ref.Codec = CodecZstd
		}
		ref.Stored = uint32(len(e.out) - start)
		ref.Checksum = blockChecksum(&e.fields, s.Stream, ref, e.out[start:])
	}
}

// raw writes a block's batches, uncompressed.
func (e *blockEncoder) raw(ref *BlockRef) {
	start := len(e.out)
	e.out = append(e.out, Version)
	var previous uint64
	for left := ref.Count; left > 0; e.order = e.order[1:] {
		b := &e.batches[e.order[0].index]
		e.out = appendBatch(e.out, b, previous)
		previous = b.IDMillis
		left -= b.count()
	}
	if size := len(e.out) - start; size > MaxBlockBytes {
		panic(fmt.Sprintf("segment: a batch of %d bytes exceeds %d", size, MaxBlockBytes))
	}
}
