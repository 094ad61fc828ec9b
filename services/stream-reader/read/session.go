package read

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Output is one response of a session; the zero Output is a heartbeat.
type Output struct {
	Frame  *frame.Frame
	Tail   *live.Tail   // the session has caught up
	NextID stream.SeqID // without a Frame: where reading goes on
}

// Session delivers records, then follows the tail until a limit is met. emit is
// called by one goroutine at a time; the frame it gets is valid until it returns. It
// returns after how long it wants the next one; heartbeats come meanwhile.
// Errors: as Read, and what emit returns.
func (s *Service) Session(ctx context.Context, req Request, emit func(Output) (time.Duration, error)) error {
	if err := s.admit(); err != nil {
		return err
	}
	defer s.leave()
	c, err := s.begin(ctx, &req, firstAsk(req.Limits))
	if err != nil {
		return err
	}
	budget := frame.NewBudget(req.Limits)
	session := &session{
		service: s, request: &req, cursor: c, budget: budget, out: emit,
		encoder: s.newEncoder(c.id, budget, c.pos),
	}
	session.encoder.most, session.encoder.pooled = s.config.FrameBytes, true
	defer session.startHeartbeat()()
	return session.run(ctx)
}

type session struct {
	service *Service
	request *Request
	cursor  *cursor
	encoder *encoder
	budget  *frame.Budget
	out     func(Output) (time.Duration, error)
	beat    *time.Timer
	beatAt  time.Time     // when beat fires
	pause   time.Duration // before the next frame
	told    bool          // that it has caught up
	careful bool          // it stalled, or was paused: little is fetched ahead of it

	delivered atomic.Uint64 // the position, for others to see
}

func (s *session) startHeartbeat() (stop func()) {
	s.beat = time.NewTimer(time.Hour)
	s.beat.Stop()
	s.delayBeat()
	return func() { s.beat.Stop() }
}

func (s *session) delayBeat() {
	if s.request.Heartbeats {
		s.beat.Reset(s.service.config.Heartbeat)
		s.beatAt = time.Now().Add(s.service.config.Heartbeat)
	}
}

func (s *session) emit(o Output) error {
	s.delayBeat()
	pause, err := s.out(o)
	s.pause = max(s.pause, pause)
	return err
}

// rest lets the pause that emit was asked for pass.
func (s *session) rest(ctx context.Context, emit func(Output) error) error {
	if s.pause <= 0 {
		return nil
	}
	over := time.NewTimer(s.pause)
	defer over.Stop()
	for s.pause = 0; ; {
		var err error
		select {
		case <-over.C:
			return nil
		case <-s.beat.C:
			err = emit(Output{})
		case <-s.service.stopping:
			err = ErrStopping
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// reserve takes the memory for catching up, with heartbeats while it waits. They may
// take long, so it does not stand in line meanwhile.
func (s *session) reserve(ctx context.Context) error {
	if !s.request.Heartbeats {
		return s.service.reserve(ctx, slowBytes)
	}
	for until := time.Now().Add(s.service.config.CatchUpWait); ; {
		wait := min(time.Until(until), time.Until(s.beatAt))
		if ok, err := s.service.acquire(ctx, slowBytes, wait); ok || err != nil {
			return err
		}
		if !time.Now().Before(until) {
			return s.service.overloaded()
		}
		if err := s.emit(Output{}); err != nil {
			return err
		}
	}
}

// errDone ends a session in peace.
var errDone = errors.New("done")

func (s *session) run(ctx context.Context) error {
	err := s.phases(ctx)
	if errors.Is(err, errDone) {
		return nil
	}
	return stoppingOr(err)
}

// stoppingOr tells the client that the reader stops rather than how.
func stoppingOr(err error) error {
	if errors.Is(err, live.ErrClosed) {
		return ErrStopping
	}
	return err
}

func (s *session) phases(ctx context.Context) error {
	if s.budget.Exhausted() {
		return s.tellPosition(ctx)
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	if err := s.tellCaughtUp(s.cursor.tail); err != nil {
		return err
	}
	sub := s.service.hub.Attach(s.cursor.name, s.cursor.shard, s.cursor.id, s.encoder.pos)
	defer sub.Close()
	s.delivered.Store(uint64(s.encoder.pos))
	defer s.service.live.follows(s, sub)()
	s.service.metrics.caughtUp.Inc()
	defer s.service.metrics.caughtUp.Dec()
	return s.follow(ctx, sub)
}

// tellPosition answers a session that wants nothing.
func (s *session) tellPosition(ctx context.Context) error {
	id, err := s.cursor.peek(ctx, s.encoder)
	if err != nil {
		return err
	}
	if s.encoder.pos == s.cursor.tail.Next {
		return s.tellCaughtUp(s.cursor.tail)
	}
	return s.emit(Output{NextID: id})
}

// tellCaughtUp signals that the position is the tail, once, and ends the session
// if nothing can follow.
func (s *session) tellCaughtUp(tail live.Tail) error {
	if s.told || s.encoder.pos != tail.Next {
		return nil
	}
	s.told = true
	if err := s.emit(Output{Tail: &tail, NextID: tailID(tail, s.cursor.id)}); err != nil {
		return err
	}
	return s.endIfMet(tail.LastTimestamp)
}

func (s *session) endIfMet(lastTimestamp uint64) error {
	if s.encoder.done() || s.budget.Unreachable(lastTimestamp) {
		return errDone
	}
	return nil
}

// follow delivers what the stream's follower brings.
func (s *session) follow(ctx context.Context, sub *live.Subscription) error {
	wait := time.NewTimer(time.Hour)
	defer wait.Stop()
	wait.Stop()
	if s.request.Wait > 0 {
		wait.Reset(s.request.Wait)
	}
	for {
		if err := s.rest(ctx, s.emit); err != nil {
			return err
		}
		view := sub.View(s.encoder.pos)
		moved, err := s.step(ctx, &view)
		if err != nil {
			return err
		}
		if moved {
			if s.request.Wait > 0 {
				wait.Reset(s.request.Wait)
			}
			if err := s.interrupted(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-view.Wait:
		case <-wait.C:
			return errDone
		case <-s.beat.C:
			err = s.emit(Output{})
		case <-s.service.stopping:
			err = ErrStopping
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) interrupted(ctx context.Context) error {
	select {
	case <-s.service.stopping:
		return ErrStopping
	default:
		return ctx.Err()
	}
}

// step does what a view asks for; it tells whether that moved the position.
func (s *session) step(ctx context.Context, view *live.View) (moved bool, err error) {
	switch {
	case len(view.Frames) > 0:
		return true, s.deliver(ctx, view.Frames)
	case view.Err != nil:
		return false, view.Err
	case view.Behind:
		s.service.metrics.behind.Inc()
		s.told = false
		s.cursor.rewind(s.encoder.pos, view.Tail)
		return true, s.catchUp(ctx)
	case view.Caught:
		return false, s.tellCaughtUp(view.Tail)
	}
	return false, nil
}

// deliver sends frames of the ring, in one piece if they are small. Nothing is
// copied unless a limit or the position cuts a frame.
func (s *session) deliver(ctx context.Context, frames []*frame.Frame) error {
	last := frames[len(frames)-1]
	cut := frame.Join(frames).Cut(s.encoder.pos, s.budget)
	if cut != nil {
		s.service.metrics.recordsLive.Add(float64(cut.Count))
		s.service.metrics.bytesLive.Add(float64(cut.Size()))
		begun := time.Now()
		if err := s.emit(Output{Frame: cut}); err != nil {
			return err
		}
		s.recordDelivery(ctx, frames, begun)
	}
	s.encoder.pos = last.Next
	s.delivered.Store(uint64(last.Next))
	return s.endIfMet(last.LastTimestamp)
}

// catchUp delivers from blocks until the tail that the cursor knows. A client that
// stalls, or is to be sent nothing for as long, loses what was made ready for it, and
// has it made again when it goes on.
func (s *session) catchUp(ctx context.Context) error {
	s.service.metrics.lag.Observe(float64(s.cursor.tail.Next - s.encoder.pos))
	for s.cursor.pos < s.cursor.tail.Next {
		if err := s.rest(ctx, s.emit); err != nil {
			return err
		}
		switch err := s.pipe(ctx); {
		case errors.Is(err, errStalled), errors.Is(err, errPaused):
			s.careful = true
			s.cursor.rewind(s.encoder.pos, s.cursor.tail)
		case err != nil:
			return err
		}
		if s.encoder.done() {
			return errDone
		}
	}
	return nil
}
