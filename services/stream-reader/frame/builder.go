package frame

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Builder serializes records into a frame.
type Builder struct {
	salt  stream.Salt
	frame Frame
	most  int
	full  bool
}

// NewBuilder makes a builder for a stream's records, of at most so many bytes unless
// the first one has more. buffer, if not nil, is used and may be grown; it must not
// be touched while the frame lives.
func NewBuilder(salt stream.Salt, buffer []byte, most int) *Builder {
	b := &Builder{salt: salt, most: most}
	b.frame.buffer = append(buffer[:0], make([]byte, headerRoom)...)
	return b
}

// Add offers a record to the budget and adds it if it is taken. False: the frame
// is full, and the record belongs into the next one, or the budget is used up.
func (b *Builder) Add(r *stream.Record, budget *Budget) bool {
	size := recordSize(r)
	wire := 1 + protowire.SizeBytes(size)
	if b.full = b.frame.Count > 0 && b.frame.Size()+wire > b.most; b.full {
		return false
	}
	metered := uint64(r.MeteredBytes())
	switch budget.Offer(r.Timestamp, metered, uint64(wire)) {
	case Stop:
		return false
	case Take:
		b.frame.note(r.SeqNum, r.IDMillis, r.Timestamp, metered)
		b.frame.buffer = slices.Grow(b.frame.buffer, wire)
		b.frame.buffer = appendRecord(b.frame.buffer, r, b.salt, size)
	}
	return true
}

// Full tells that the last record did not fit into this frame.
func (b *Builder) Full() bool { return b.full }

// Empty tells that no record was added.
func (b *Builder) Empty() bool { return b.frame.Count == 0 }

// Finish returns the frame, nil if it is empty. The builder is used up.
func (b *Builder) Finish() *Frame {
	if b.Empty() {
		return nil
	}
	b.frame.seal()
	return &b.frame
}

// Buffer is the memory that the builder uses, to be used again once the frame is
// no longer needed.
func (b *Builder) Buffer() []byte { return b.frame.buffer }

// Encode serializes the records of a block from position from on, which must be
// below its end, into frames of at most so many bytes, or of one larger record.
func Encode(block *segment.Block, from stream.SeqNum, most int) []*Frame {
	var frames []*Frame
	budget := NewBudget(NoLimits())
	left := sizeHint(block)
	begin := func() *Builder {
		return NewBuilder(block.Stream().Salt(), make([]byte, 0, headerRoom+min(left, most)), most)
	}
	b := begin()
	for r := range block.From(from) {
		if !b.Add(&r, budget) {
			frames = append(frames, b.Finish())
			left = max(left-b.frame.Size(), 0)
			b = begin()
			b.Add(&r, budget)
		}
	}
	return append(frames, b.Finish())
}

// sizeHint guesses the serialized size of a block: ids and numbers come on top.
func sizeHint(block *segment.Block) int { return block.Size() + 56*block.Len() }
