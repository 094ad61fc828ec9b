package read

import (
	"context"
	"time"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Result is what one read delivers.
type Result struct {
	Frame  *frame.Frame  // nil: nothing
	NextID stream.SeqID  // where to read on, if there is no Frame
	Next   stream.SeqNum // where to read on
	Tail   *live.Tail    // if the read came to the tail
	TailID stream.SeqID  // of Tail
}

// Read delivers up to one response of records, following the tail for up to
// req.Wait if there are fewer than wanted. Where records were trimmed while it went on,
// it delivers those before the gap.
// Errors: those of live.Owner, *PastTailError, *ForeignIDError, *OverloadError,
// ErrStopping, those of live.Blocks and ctx's.
func (s *Service) Read(ctx context.Context, req Request) (Result, error) {
	if err := s.admit(); err != nil {
		return Result{}, err
	}
	defer s.leave()
	until := time.Now().Add(req.Wait)
	memory := share{service: s}
	defer memory.release()
	if err := memory.resize(ctx, slowBytes); err != nil {
		return Result{}, err
	}
	c, err := s.begin(ctx, &req, firstAsk(req.Limits))
	if err != nil {
		return Result{}, err
	}
	req.Limits.Wire = frame.MaxBytes
	r := &unary{service: s, memory: &memory, cursor: c, encoder: s.newEncoder(c.id, frame.NewBudget(req.Limits), c.pos), tail: c.tail}
	r.encoder.dense = true
	if err := r.catchUp(ctx); err != nil {
		return Result{}, err
	}
	if req.Wait > 0 && !r.done() {
		if err := r.follow(ctx, until); err != nil {
			return Result{}, err
		}
	}
	return r.result(ctx)
}

// firstAsk is how many bytes of blocks to ask for at first.
func firstAsk(limits frame.Limits) uint64 {
	if limits.Count == 0 || limits.Bytes == 0 {
		return 1 // a block, for the id of its records
	}
	return min(limits.Bytes, slowWindow)
}

// unary is a read under way. While it works with blocks it has slowBytes of the
// memory for catching up, while it waits for records only what it has gathered.
type unary struct {
	service *Service
	memory  *share
	cursor  *cursor
	encoder *encoder
	tail    live.Tail // proved, or announced, after the request arrived

	frames   []*frame.Frame
	gathered int64 // bytes that frames hold
}

func (r *unary) done() bool {
	return r.encoder.done() || r.encoder.budget.Unreachable(r.tail.LastTimestamp)
}

func (r *unary) gather(f *frame.Frame) {
	r.frames = append(r.frames, f)
	r.gathered += f.Memory()
}

func (r *unary) collect(f *frame.Frame) error {
	r.gather(f)
	return nil
}

func (r *unary) catchUp(ctx context.Context) error {
	if err := r.memory.resize(ctx, slowBytes); err != nil {
		return err
	}
	for !r.encoder.done() {
		s, err := r.cursor.window(ctx, slowWindow)
		if err != nil {
			return err
		}
		if err := r.encoder.add(s, r.collect); err != nil {
			return err
		}
		if s.blocks == nil {
			break
		}
	}
	r.tail = r.cursor.tail
	return r.encoder.flush(r.collect)
}

// settle gives back what waiting does not need: it keeps what was gathered, and as
// much again for joining it.
func (r *unary) settle(ctx context.Context) error {
	r.cursor.plan = nil // the owner may have sent bytes with it
	return r.memory.resize(ctx, min(2*r.gathered, slowBytes))
}

// follow waits for records, which frames of the ring bring.
func (r *unary) follow(ctx context.Context, until time.Time) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	sub := r.service.hub.Attach(r.cursor.name, r.cursor.shard, r.cursor.id, r.encoder.pos)
	defer sub.Close()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for !r.done() {
		view := sub.View(r.encoder.pos)
		if view.Caught {
			r.tail = view.Tail
		}
		switch {
		case view.Err != nil:
			return stoppingOr(view.Err)
		case view.Behind:
			r.cursor.rewind(r.encoder.pos, view.Tail)
			if err := r.catchUp(ctx); err != nil {
				return err
			}
			if err := r.settle(ctx); err != nil {
				return err
			}
			continue
		case len(view.Frames) > 0:
			r.take(view.Frames)
			if err := r.settle(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.service.stopping:
			return nil // what there is so far is a good answer
		case <-timer.C:
			return nil
		case <-view.Wait:
		}
	}
	return nil
}

func (r *unary) take(frames []*frame.Frame) {
	for _, f := range frames {
		r.tail = live.Tail{Next: f.Next, LastTimestamp: f.LastTimestamp, LastIDMillis: f.LastIDMillis}
		cut := f.Cut(r.encoder.pos, r.encoder.budget)
		if cut != nil {
			r.gather(cut)
			r.encoder.pos = cut.Next
		}
		if r.encoder.done() {
			return
		}
		r.encoder.pos = f.Next
	}
}

func (r *unary) result(ctx context.Context) (Result, error) {
	var out Result
	if len(r.frames) > 0 {
		out.Frame = frame.Join(r.frames)
		r.service.metrics.recordsCatch.Add(float64(out.Frame.Count))
		r.service.metrics.bytesCatch.Add(float64(out.Frame.Size()))
	} else if r.encoder.pos < r.tail.Next {
		if err := r.peek(ctx, &out); err != nil {
			return Result{}, err
		}
	}
	if out.Next = r.encoder.pos; out.Next == r.tail.Next {
		out.Tail, out.TailID = &r.tail, tailID(r.tail, r.cursor.id)
		out.NextID = out.TailID
	}
	return out, nil
}

// peek finds where reading stopped, if nothing was read.
func (r *unary) peek(ctx context.Context, out *Result) (err error) {
	if err := r.memory.resize(ctx, slowBytes); err != nil {
		return err
	}
	r.cursor.rewind(r.encoder.pos, r.tail)
	out.NextID, err = r.cursor.peek(ctx, r.encoder)
	r.tail = r.cursor.tail
	return err
}

// peek finds the record where reading stopped before its first one: it moves the
// encoder there, or to the tail, and returns the id.
func (c *cursor) peek(ctx context.Context, e *encoder) (stream.SeqID, error) {
	if e.stopped && e.stoppedMillis > 0 {
		return stream.NewSeqID(e.stoppedMillis, e.pos, c.id.Salt()), nil
	}
	for {
		s, err := c.window(ctx, 1)
		if err != nil {
			return stream.SeqID{}, err
		}
		e.pos = max(e.pos, s.from)
		for _, block := range s.blocks {
			for record := range block.From(e.pos) {
				if !e.budget.Early(record.Timestamp) {
					e.pos = record.SeqNum
					return stream.NewSeqID(record.IDMillis, record.SeqNum, c.id.Salt()), nil
				}
			}
		}
		if s.blocks == nil {
			e.pos = c.tail.Next
			return c.nextID(), nil
		}
	}
}

// rewind makes the cursor go on from pos, up to a tail that it may not know.
func (c *cursor) rewind(pos stream.SeqNum, tail live.Tail) {
	c.hear(tail)
	c.pos, c.plan = pos, nil
}
