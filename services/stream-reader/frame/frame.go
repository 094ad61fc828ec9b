package frame

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/samsa-io/samsa/pkg/stream"
)

// MaxBytes is where a frame is cut: the records of one response. It leaves room
// for what stands around them within 1 MiB.
const MaxBytes = 1<<20 - 64

// headerRoom is the most that stands before the records: two tags of one byte,
// each with a length of up to five.
const headerRoom = 2 * (1 + 5)

// lengthTag is the tag of field 1 with a length, in each message that nests here.
const lengthTag = 1<<3 | byte(protowire.BytesType)

// Frame is consecutive records of a stream, serialized.
type Frame struct {
	First          stream.SeqNum
	Next           stream.SeqNum // after the last record
	Count          uint32        // of the records; some between First and Next may be left out
	FirstIDMillis  uint64
	LastIDMillis   uint64
	FirstTimestamp uint64
	LastTimestamp  uint64
	Metered        uint64
	Trace          *Trace // nil: it is not traced

	// buffer holds headerRoom bytes, then the records. The headers stand right
	// before the records, from session and batch on.
	buffer         []byte
	session, batch int
}

// Session is the bytes of ReadSessionResponse's field output.
func (f *Frame) Session() []byte { return f.buffer[f.session:] }

// Batch is the bytes of ReadResponse's field batch.
func (f *Frame) Batch() []byte { return f.buffer[f.batch:] }

// Records is the bytes of SequencedRecordBatch.
func (f *Frame) Records() []byte { return f.buffer[headerRoom:] }

// Size is the length of Records.
func (f *Frame) Size() int { return len(f.buffer) - headerRoom }

// Memory is what holding the frame costs.
func (f *Frame) Memory() int64 { return int64(cap(f.buffer)) + 160 }

// seal writes the headers.
func (f *Frame) seal() {
	f.batch = putHeader(f.buffer, headerRoom)
	f.session = putHeader(f.buffer, f.batch)
}

// putHeader writes a tag and the length of buffer[at:] so that they end at at.
func putHeader(buffer []byte, at int) int {
	var header [1 + 10]byte
	h := append(header[:0], lengthTag)
	h = protowire.AppendVarint(h, uint64(len(buffer)-at))
	start := at - len(h)
	copy(buffer[start:], h)
	return start
}

// Join makes one frame of several that follow each other.
func Join(frames []*Frame) *Frame {
	if len(frames) == 1 {
		return frames[0]
	}
	size := headerRoom
	for _, f := range frames {
		size += f.Size()
	}
	first, last := frames[0], frames[len(frames)-1]
	joined := *first
	joined.Next, joined.LastIDMillis, joined.LastTimestamp = last.Next, last.LastIDMillis, last.LastTimestamp
	joined.buffer = make([]byte, headerRoom, size)
	joined.Count, joined.Metered = 0, 0
	for _, f := range frames {
		joined.buffer = append(joined.buffer, f.Records()...)
		joined.Count += f.Count
		joined.Metered += f.Metered
	}
	joined.seal()
	return &joined
}

// Cut takes from f what the budget takes of the records from position from on. It
// is f itself if that is everything, and nil if it is nothing.
func (f *Frame) Cut(from stream.SeqNum, budget *Budget) *Frame {
	if from <= f.First && budget.offerAll(f) {
		return f
	}
	cut := &Frame{buffer: make([]byte, headerRoom, len(f.buffer))}
	for rest := f.Records(); len(rest) > 0; {
		var r record
		r, rest = parseRecord(rest)
		if r.seq < from {
			continue
		}
		switch budget.Offer(r.timestamp, r.metered, uint64(len(r.wire))) {
		case Stop:
			rest = nil
		case Take:
			cut.note(r.seq, r.idMillis, r.timestamp, r.metered)
			cut.buffer = append(cut.buffer, r.wire...)
		}
	}
	if cut.Count == 0 {
		return nil
	}
	cut.seal()
	return cut
}

// note keeps account of a record added.
func (f *Frame) note(seq stream.SeqNum, idMillis, timestamp, metered uint64) {
	if f.Count == 0 {
		f.First, f.FirstIDMillis, f.FirstTimestamp = seq, idMillis, timestamp
	}
	f.Count++
	f.Next = seq + 1
	f.LastIDMillis, f.LastTimestamp = idMillis, timestamp
	f.Metered += metered
}

// Release gives up the frame and returns its memory, for a Builder.
func (f *Frame) Release() []byte {
	buffer := f.buffer
	f.buffer = nil
	return buffer
}
