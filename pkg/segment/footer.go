package segment

import (
	"bytes"
	"encoding/binary"

	"github.com/samsa-io/samsa/pkg/stream"
)

// FooterProbe is a good length for a first read of a segment's end: most footers
// are shorter.
const FooterProbe = 64 << 10

// Footer is what a segment says of its content.
type Footer struct {
	Header
	States   []StateRef
	Sections []Section
}

// The fewest bytes that items have.
const (
	minStateRef = 3
	minSection  = 4
	minEntry    = 1
	minSummary  = 16 + 3 + minBlock
	minBlock    = 4 + 4
	minProducer = 7
)

// What a summary has beyond its blocks.
const (
	summaryFence byte = 1 << iota
	summaryTrim
	summaryProducers
	summaryBlocks // several blocks
)

// sums is what the values in a footer are written relative to, from one stream
// to the next.
type sums struct {
	offset   uint64
	idMillis uint64
}

func appendFooter(dst []byte, states []StateRef, sections []Section) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(states)))
	for _, s := range states {
		dst = appendStateRef(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(sections)))
	var at sums
	for i := range sections {
		dst = at.appendSection(dst, &sections[i])
	}
	return dst
}

func (at *sums) appendSection(dst []byte, s *Section) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Shard))
	dst = binary.AppendUvarint(dst, uint64(s.Epoch))
	dst = binary.AppendUvarint(dst, uint64(len(s.Entries)))
	for i := range s.Entries {
		dst = appendEntry(dst, &s.Entries[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Streams)))
	for i := range s.Streams {
		dst = at.appendSummary(dst, &s.Streams[i])
	}
	return dst
}

func (s *Summary) flags() (f byte) {
	if s.Fence != nil {
		f |= summaryFence
	}
	if s.Trim != 0 {
		f |= summaryTrim
	}
	if len(s.Producers) > 0 {
		f |= summaryProducers
	}
	if len(s.Blocks) > 1 {
		f |= summaryBlocks
	}
	return f
}

func (at *sums) appendSummary(dst []byte, s *Summary) []byte {
	flags := s.flags()
	dst = append(dst, s.Stream[:]...)
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(s.First))
	dst = appendDelta(dst, at.idMillis, s.IDMillis)
	at.idMillis = s.IDMillis
	if flags&summaryBlocks != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.Blocks)))
	}
	last := s.IDMillis
	for i := range s.Blocks {
		dst = appendBlockRef(dst, &s.Blocks[i], last)
		last = s.Blocks[i].LastTimestamp
	}
	if flags&summaryFence != 0 {
		dst = appendString(dst, *s.Fence)
	}
	if flags&summaryTrim != 0 {
		dst = binary.AppendUvarint(dst, uint64(s.Trim))
	}
	if flags&summaryProducers != 0 {
		dst = appendProducers(dst, s)
	}
	return dst
}

func appendBlockRef(dst []byte, b *BlockRef, last uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.Stored)<<1|uint64(b.Codec))
	if b.Codec != CodecNone {
		dst = binary.AppendUvarint(dst, uint64(b.Raw))
	}
	dst = binary.AppendUvarint(dst, uint64(b.Count))
	dst = appendDelta(dst, last, b.FirstTimestamp)
	dst = binary.AppendUvarint(dst, b.LastTimestamp-b.FirstTimestamp)
	return binary.LittleEndian.AppendUint32(dst, b.Checksum)
}

func appendProducers(dst []byte, s *Summary) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.Producers)))
	previous := ProducerBatch{First: s.First, IDMillis: s.IDMillis, LastTimestamp: s.FirstTimestamp}
	for _, p := range s.Producers {
		if p.ID == previous.ID {
			dst = append(dst, 0)
		} else {
			dst = binary.AppendUvarint(dst, uint64(len(p.ID)))
			dst = append(dst, p.ID...)
		}
		dst = appendProducerBatch(dst, p, previous)
		previous = p
	}
	return dst
}

// appendProducerBatch writes all of p but its ID.
func appendProducerBatch(dst []byte, p, previous ProducerBatch) []byte {
	dst = appendDelta(dst, previous.Seq+uint64(previous.Count), p.Seq)
	dst = appendDelta(dst, uint64(previous.First)+uint64(previous.Count), uint64(p.First))
	dst = binary.AppendUvarint(dst, uint64(p.Count))
	dst = appendDelta(dst, previous.IDMillis, p.IDMillis)
	dst = appendDelta(dst, previous.LastTimestamp, p.FirstTimestamp)
	return binary.AppendUvarint(dst, p.LastTimestamp-p.FirstTimestamp)
}

// DecodeFooter reads the footer from the end of a segment. If suffix doesn't
// hold all of it, the error is a *NeedMore; if the object is a seal, a
// *KindError.
func DecodeFooter(suffix []byte) (*Footer, error) {
	t, err := DecodeTrailer(suffix)
	if err != nil {
		return nil, err
	}
	if t.Kind != KindSegment {
		return nil, &KindError{Want: KindSegment, Got: t.Kind}
	}
	b, err := t.footerOf(suffix)
	if err != nil {
		return nil, err
	}
	return decodeFooter(t.Header, b)
}

func decodeFooter(h Header, b []byte) (*Footer, error) {
	r := &footerReader{reader: reader{b: b, what: "footer"}, sums: sums{offset: prefixSize}}
	f := &Footer{Header: h, States: items[StateRef](r.count(minStateRef))}
	for i := range f.States {
		f.States[i] = r.stateRef()
	}
	f.Sections = items[Section](r.count(minSection))
	for i := range f.Sections {
		f.Sections[i] = r.section()
		if i > 0 && f.Sections[i-1].part().compare(f.Sections[i].part()) >= 0 {
			r.failf("sections out of order")
		}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return f, nil
}

func (s *Section) part() part { return part{s.Shard, s.Epoch} }

// footerReader decodes footers. Block refs stand in a few arrays, of which
// summaries hold slices.
type footerReader struct {
	reader
	sums
	blocks []BlockRef
}

func (r *footerReader) section() Section {
	s := Section{Shard: stream.Shard(r.uint32()), Epoch: stream.Epoch(r.uvarint())}
	s.Entries = items[Entry](r.count(minEntry))
	for i := range s.Entries {
		s.Entries[i] = r.entry(s.Shard, s.Epoch)
	}
	s.Streams = items[Summary](r.count(minSummary))
	r.blocks = make([]BlockRef, 0, len(s.Streams))
	for i := range s.Streams {
		r.summary(&s.Streams[i])
		if i > 0 && bytes.Compare(s.Streams[i-1].Stream[:], s.Streams[i].Stream[:]) >= 0 {
			r.failf("streams out of order")
		}
		if r.err != nil {
			break
		}
	}
	return s
}

func (r *footerReader) summary(s *Summary) {
	s.Stream = r.id()
	flags := r.byte()
	s.First = stream.SeqNum(r.uvarint())
	r.idMillis = r.delta(r.idMillis)
	s.IDMillis = r.idMillis
	r.blockRefs(s, flags)
	if flags&summaryFence != 0 {
		fence := r.string()
		s.Fence = &fence
	}
	if flags&summaryTrim != 0 {
		s.Trim = stream.SeqNum(r.uvarint())
	}
	if flags&summaryProducers != 0 {
		r.producers(s)
	}
	if r.err == nil && s.flags() != flags {
		r.failf("flags %#x of stream %s", flags, s.Stream)
	}
}

// blockRefs takes the blocks and what the summary has from them.
func (r *footerReader) blockRefs(s *Summary, flags byte) {
	n := 1
	if flags&summaryBlocks != 0 {
		n = r.count(minBlock)
	}
	start := len(r.blocks)
	count, last := uint64(0), s.IDMillis
	for range n {
		b := r.blockRef(s.First+stream.SeqNum(count), last)
		count += uint64(b.Count)
		last = b.LastTimestamp
		r.blocks = append(r.blocks, b)
	}
	if n == 0 || s.First > stream.MaxSeqNum || count > uint64(stream.MaxSeqNum-s.First) || count>>32 != 0 {
		r.failf("stream %s: %d records at seq_num %d", s.Stream, count, s.First)
		return
	}
	s.Blocks = tail(r.blocks, start)
	s.Count = uint32(count)
	s.FirstTimestamp, s.LastTimestamp = s.Blocks[0].FirstTimestamp, last
}

func (r *footerReader) blockRef(first stream.SeqNum, last uint64) BlockRef {
	stored := r.uvarint()
	b := BlockRef{Offset: r.offset, Stored: uint32(stored >> 1), Codec: Codec(stored & 1), First: first}
	b.Raw = b.Stored
	if b.Codec != CodecNone {
		b.Raw = r.uint32()
	}
	if stored>>33 != 0 || b.Raw == 0 || b.Raw > MaxBlockBytes {
		r.failf("a block of %d bytes, %d stored", b.Raw, stored>>1)
	}
	b.Count = r.uint32()
	if b.Count == 0 {
		r.failf("a block without records")
	}
	b.FirstTimestamp = r.delta(last)
	b.LastTimestamp = r.sum(b.FirstTimestamp)
	b.Checksum = r.fixed32()
	r.offset += uint64(b.Stored)
	return b
}

func (r *footerReader) producers(s *Summary) {
	s.Producers = items[ProducerBatch](r.count(minProducer))
	previous := ProducerBatch{First: s.First, IDMillis: s.IDMillis, LastTimestamp: s.FirstTimestamp}
	for i := range s.Producers {
		id := r.string()
		if id == "" {
			id = previous.ID
		}
		s.Producers[i] = r.producerBatch(id, previous)
		previous = s.Producers[i]
		if id == "" {
			r.failf("a producer without id")
		}
	}
}

func (r *reader) producerBatch(id string, previous ProducerBatch) ProducerBatch {
	p := ProducerBatch{ID: id}
	p.Seq = r.delta(previous.Seq + uint64(previous.Count))
	p.First = stream.SeqNum(r.delta(uint64(previous.First) + uint64(previous.Count)))
	p.Count = r.uint32()
	p.IDMillis = r.delta(previous.IDMillis)
	p.FirstTimestamp = r.delta(previous.LastTimestamp)
	p.LastTimestamp = r.sum(p.FirstTimestamp)
	return p
}

// Verify checks every byte of a whole segment, the records included.
func Verify(object []byte) (*Footer, error) {
	f, err := DecodeFooter(object)
	if err != nil {
		return nil, err
	}
	t, err := DecodeTrailer(object)
	if err != nil {
		return nil, err
	}
	if err := t.checkWhole(object); err != nil {
		return nil, err
	}
	end := uint64(len(object) - TrailerSize - int(t.FooterSize))
	at := uint64(prefixSize)
	for _, section := range f.Sections {
		for i := range section.Streams {
			if at, err = verifyBlocks(&section.Streams[i], object[:end]); err != nil {
				return nil, err
			}
		}
	}
	if at != end {
		return nil, corruptf("segment: its blocks end at byte %d, its footer begins at %d", at, end)
	}
	return f, nil
}

// verifyBlocks gives the offset at which the stream's blocks end.
func verifyBlocks(s *Summary, blocks []byte) (end uint64, err error) {
	for _, ref := range s.Blocks {
		end = ref.Offset + uint64(ref.Stored)
		if end > uint64(len(blocks)) {
			return 0, corruptf("segment: a block ends at byte %d, in the footer", end)
		}
		if _, err := DecodeBlock(s.Stream, ref, blocks[ref.Offset:end]); err != nil {
			return 0, err
		}
	}
	return end, nil
}
