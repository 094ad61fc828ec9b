package read

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/internal/frame"
)

// encoder turns blocks into frames of what the budget allows.
type encoder struct {
	service *Service
	salt    stream.Salt
	budget  *frame.Budget
	pos     stream.SeqNum // of the next record
	pooled  bool          // frames are recycled once they are sent
	builder *frame.Builder
	// The budget refused a record, at pos; the millisecond of its seq_id.
	stopped       bool
	stoppedMillis uint64
}

func (s *Service) newEncoder(id stream.ID, budget *frame.Budget, pos stream.SeqNum) *encoder {
	return &encoder{service: s, salt: id.Salt(), budget: budget, pos: pos}
}

// add serializes a block and emits the frames that become full.
func (e *encoder) add(block *segment.Block, emit func(*frame.Frame) error) error {
	for r := range block.From(e.pos) {
		if err := e.record(&r, emit); err != nil || e.stopped {
			return err
		}
	}
	e.pos = max(e.pos, block.Ref().Next())
	return nil
}

func (e *encoder) record(r *stream.Record, emit func(*frame.Frame) error) error {
	for {
		if e.builder == nil {
			e.builder = frame.NewBuilder(e.salt, e.memory())
		}
		switch {
		case e.builder.Add(r, e.budget):
			e.pos = r.SeqNum + 1
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

// skipTo passes over positions below pos that were trimmed meanwhile.
func (e *encoder) skipTo(pos stream.SeqNum) { e.pos = max(e.pos, pos) }
