package read

import (
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// encoder turns blocks into frames of what the budget allows.
type encoder struct {
	service *Service
	salt    stream.Salt
	budget  *frame.Budget
	pos     stream.SeqNum // of the next record
	most    int           // bytes of a frame
	pooled  bool          // frames are recycled once they are sent
	dense   bool          // what is emitted ends at a gap, where records were trimmed meanwhile
	begun   bool          // something was emitted, or will be
	builder *frame.Builder
	// The budget refused a record, at pos; the millisecond of its seq_id.
	stopped       bool
	stoppedMillis uint64
}

func (s *Service) newEncoder(id stream.ID, budget *frame.Budget, pos stream.SeqNum) *encoder {
	return &encoder{service: s, salt: id.Salt(), budget: budget, pos: pos, most: frame.MaxBytes}
}

// mark is where an encoder stands between two frames.
type mark struct {
	pos           stream.SeqNum
	stopped       bool
	stoppedMillis uint64
	budget        frame.Budget
}

func (e *encoder) mark() mark { return mark{e.pos, e.stopped, e.stoppedMillis, *e.budget} }

// rewind has the encoder go on from m. It has stopped between two frames.
func (e *encoder) rewind(m mark) {
	e.pos, e.stopped, e.stoppedMillis, *e.budget = m.pos, m.stopped, m.stoppedMillis, m.budget
}

// add serializes a stretch and emits the frames that become full. Positions before it
// were trimmed meanwhile: they are passed over, by no frame, or end it if it is dense.
func (e *encoder) add(s stretch, emit func(*frame.Frame) error) error {
	if s.from > e.pos {
		if err := e.flush(emit); err != nil {
			return err
		}
		if e.stopped = e.dense && e.begun; e.stopped {
			return nil
		}
		e.pos = s.from
	}
	for _, block := range s.blocks {
		for r := range block.From(e.pos) {
			if err := e.record(&r, emit); err != nil || e.stopped {
				return err
			}
		}
		e.pos = max(e.pos, block.Ref().Next())
	}
	return nil
}

func (e *encoder) record(r *stream.Record, emit func(*frame.Frame) error) error {
	for {
		if e.builder == nil {
			e.builder = frame.NewBuilder(e.salt, e.memory(), e.most)
		}
		switch {
		case e.builder.Add(r, e.budget):
			e.pos = r.SeqNum + 1
			e.begun = e.begun || !e.builder.Empty()
			return nil
		case !e.builder.Full():
			e.pos, e.stopped, e.stoppedMillis = r.SeqNum, true, r.IDMillis
			return nil
		}
		if err := e.flush(emit); err != nil {
			return err
		}
	}
}

func (e *encoder) memory() []byte {
	if e.pooled {
		return e.service.buffer()
	}
	return nil
}

// flush emits what has been gathered.
func (e *encoder) flush(emit func(*frame.Frame) error) error {
	if e.builder == nil {
		return nil
	}
	builder := e.builder
	e.builder = nil
	if builder.Empty() {
		if e.pooled {
			e.service.recycle(builder.Buffer())
		}
		return nil
	}
	return emit(builder.Finish())
}

// done tells that no further record can be emitted.
func (e *encoder) done() bool { return e.stopped || e.budget.Exhausted() }
