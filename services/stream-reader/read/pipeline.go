package read

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// What catching up holds of Config.CatchUpBytes: blocks and frames on their way.
// Everybody may go slowly, and faster while there is enough for all.
const (
	slowBytes  = 2 << 20
	fastBytes  = 12 << 20 // on top
	slowWindow = 512 << 10
	fastWindow = 4 << 20
	// carefulWindows is how many windows of a frame's size a client that has stalled
	// or paused is to take before more is fetched ahead of it again.
	carefulWindows = 8
)

// errStalled ends a pipeline whose client took nothing for Config.Stall. What was
// being sent has been taken by now.
var errStalled = errors.New("the client has stalled")

// errPaused ends a pipeline whose session is to send nothing for longer than
// Config.Stall.
var errPaused = errors.New("the session pauses")

// pipeline is catching up under way: fetching, serializing and sending overlap; at
// most two frames wait for a slow client. If it takes nothing for Config.Stall the
// pipeline ends while the client is still waited for: all goes back but the frame
// that is being sent, so that those who do read on have the memory.
type pipeline struct {
	session *session
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	blocks  chan stretch
	frames  chan madeFrame
	// An error is written before the channel that its reader waits for is closed.
	fetchErr  error
	encodeErr error

	sent   mark        // as of the last frame that the client took
	stall  *time.Timer // runs while a response is sent
	ending sync.Once
}

// madeFrame is a frame and where the encoder stood when it was made.
type madeFrame struct {
	*frame.Frame
	after mark
}

// pipe delivers until the tail that the cursor knows, or until the client stalls or the
// session pauses. Then the encoder stands where the client does.
func (s *session) pipe(ctx context.Context) error {
	if err := s.reserve(ctx); err != nil {
		return err
	}
	p := &pipeline{
		session: s, sent: s.encoder.mark(),
		blocks: make(chan stretch, 1), frames: make(chan madeFrame, 1),
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.stall = time.AfterFunc(time.Hour, p.end)
	p.stall.Stop()
	p.running.Go(p.fetch)
	p.running.Go(p.encode)
	err := p.send()
	p.end()
	if errors.Is(err, errStalled) || errors.Is(err, errPaused) {
		s.encoder.rewind(p.sent)
	}
	return err
}

// end stops the pipeline and gives back what it holds.
func (p *pipeline) end() {
	p.ending.Do(func() {
		p.cancel()
		p.running.Wait()
		for range p.blocks { // dropped
		}
		for f := range p.frames {
			p.session.service.recycle(f.Release())
		}
		p.session.cursor.plan = nil // the owner may have sent bytes with it
		p.session.service.memory.Release(slowBytes)
	})
}

func (p *pipeline) fetch() {
	defer close(p.blocks)
	service := p.session.service
	window, fast, after := uint64(slowWindow), false, 0
	if p.session.careful {
		window, after = uint64(service.config.FrameBytes), carefulWindows
	}
	defer func() {
		if fast {
			service.memory.Release(fastBytes)
		}
	}()
	for n := 0; ; n++ {
		s, err := p.session.cursor.window(p.ctx, window)
		if err != nil {
			p.fetchErr = err
			return
		}
		select {
		case p.blocks <- s:
		case <-p.ctx.Done():
			p.fetchErr = p.ctx.Err()
			return
		}
		if s.blocks == nil {
			return
		}
		if n < after {
			continue
		}
		window = max(window, slowWindow)
		if fast = fast || service.memory.TryAcquire(fastBytes); fast {
			window = min(2*window, fastWindow)
		}
	}
}

func (p *pipeline) encode() {
	defer close(p.frames)
	encoder := p.session.encoder
	for s := range p.blocks {
		if p.encodeErr = encoder.add(s, p.made); p.encodeErr != nil {
			return
		}
		if p.encodeErr = encoder.flush(p.made); p.encodeErr != nil || encoder.done() {
			return
		}
	}
	p.encodeErr = p.fetchErr
}

func (p *pipeline) made(f *frame.Frame) error {
	select {
	case p.frames <- madeFrame{f, p.session.encoder.mark()}:
		return nil
	case <-p.ctx.Done():
		p.session.service.recycle(f.Release())
		return p.ctx.Err()
	}
}

// send emits the frames, and heartbeats while there are none.
func (p *pipeline) send() error {
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				return p.encodeErr
			}
			if err := p.deliver(f); err != nil {
				return err
			}
			if p.session.pause > p.session.service.config.Stall {
				return errPaused
			}
			if err := p.session.rest(p.ctx, p.emit); err != nil {
				return err
			}
		case <-p.session.beat.C:
			if err := p.emit(Output{}); err != nil {
				return err
			}
		case <-p.session.service.stopping:
			return ErrStopping
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

func (p *pipeline) deliver(f madeFrame) error {
	service := p.session.service
	service.metrics.recordsCatch.Add(float64(f.Count))
	service.metrics.bytesCatch.Add(float64(f.Size()))
	err := p.emit(Output{Frame: f.Frame})
	if err == nil || errors.Is(err, errStalled) {
		p.sent = f.after
		service.recycle(f.Release())
	}
	return err
}

// emit sends a response, and waits for the client as long as it takes. If that is
// too long the pipeline has ended by then.
func (p *pipeline) emit(o Output) error {
	p.stall.Reset(p.session.service.config.Stall)
	err := p.session.emit(o)
	if inTime := p.stall.Stop(); inTime || err != nil {
		return err
	}
	p.session.service.metrics.stalled.Inc()
	return errStalled
}
