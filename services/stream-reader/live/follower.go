package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

const (
	// mergeBytes is how much of small frames a session takes at once.
	mergeBytes = 64 << 10
	// Of blocks waiting for a follower that is busy; beyond, it asks the owner.
	maxInbox      = 256
	maxInboxBytes = 1 << 20
)

// follower brings the records of one stream, in order and without a gap.
type follower struct {
	hub      *Hub
	feed     *feed
	name     stream.Name
	id       stream.ID
	sessions int // hub.mu
	ctx      context.Context
	cancel   context.CancelFunc
	wake     chan struct{} // holds one: there is something to do

	mu         sync.Mutex
	inbox      []*Append
	inboxBytes int
	why        reason // to ask the owner
	changed    chan struct{}
	err        error // it has ended
	ready      bool  // the owner has answered once
	ring       ring
	// tail ends the records delivered: all below tail.Next were, or are older than
	// what the ring ever held.
	tail Tail
}

func newFollower(h *Hub, feed *feed, name stream.Name, id stream.ID, pos stream.SeqNum) *follower {
	f := &follower{
		hub: h, feed: feed, name: name, id: id,
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
		why:  reasonStart,
		ring: ring{maxBytes: h.config.RingBytes, total: &h.rings.bytes},
		tail: Tail{Next: pos},
	}
	f.ctx, f.cancel = context.WithCancel(h.ctx)
	f.wake <- struct{}{}
	return f
}

// View is what a session sees from its position.
type View struct {
	Frames []*frame.Frame  // the first one holds the position
	Behind bool            // the position is no longer held: catch up
	Wait   <-chan struct{} // closed when there may be more; set if the others are not
	Caught bool            // the position is the tail
	Tail   Tail
	Err    error // *GoneError, *RefusedError, or ErrClosed
}

// View looks from a position on.
func (f *follower) View(pos stream.SeqNum) View {
	f.mu.Lock()
	defer f.mu.Unlock()
	if frames, ok := f.ring.from(pos, mergeBytes); ok {
		return View{Frames: frames, Tail: f.tail}
	}
	switch {
	case f.err != nil:
		return View{Err: f.err}
	case f.ready && pos < f.tail.Next:
		return View{Behind: true, Tail: f.tail}
	case pos > f.tail.Next:
		f.pokeLocked(reasonGap) // the session has heard of more
	}
	return View{Wait: f.changed, Caught: f.ready && pos == f.tail.Next, Tail: f.tail}
}

// Tail is how far the stream is known to go.
func (f *follower) Tail() Tail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tail
}

// offer hands over a block that was announced.
func (f *follower) offer(a *Append) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.inbox) >= maxInbox || len(f.inbox) > 0 && f.inboxBytes+len(a.Data) > maxInboxBytes {
		f.pokeLocked(reasonGap)
		return
	}
	f.inbox = append(f.inbox, a)
	f.inboxBytes += len(a.Data)
	f.signal()
}

// poke makes the follower ask the owner.
func (f *follower) poke(why reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pokeLocked(why)
}

func (f *follower) pokeLocked(why reason) {
	f.why = why
	f.signal()
}

func (f *follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run does what is offered and asked until the last session has gone.
func (f *follower) run() {
	defer f.end()
	recheck := time.NewTimer(f.recheckAfter())
	defer recheck.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	failures := 0
	for f.failed() == nil {
		select {
		case <-f.ctx.Done():
			return
		case <-recheck.C:
			f.poke(reasonRecheck)
			continue
		case <-retry.C:
			if failures > 0 {
				f.poke(reasonRetry)
			}
			continue
		case <-f.wake:
		}
		switch asked, err := f.work(); {
		case err != nil && f.ctx.Err() == nil:
			failures++
			retry.Reset(f.backoff(failures))
			f.hub.log.Debug("cannot follow a stream for now", zap.Stringer("stream_id", f.id), zap.Error(err))
		case asked:
			failures = 0
			recheck.Reset(f.recheckAfter())
		}
	}
}

// recheckAfter is spread so that the followers don't ask all at once.
func (f *follower) recheckAfter() time.Duration {
	d := f.hub.config.Recheck
	return d/2 + time.Duration(rand.Int64N(int64(d)))
}

func (f *follower) backoff(failures int) time.Duration {
	d := f.hub.config.Retry << min(failures-1, 10)
	return min(d, 4*f.hub.config.Poll)
}

// work delivers the inbox and then, if there is a reason, asks the owner.
func (f *follower) work() (asked bool, err error) {
	inbox := f.takeInbox()
	for _, a := range inbox {
		if err := f.deliverAnnounced(a); err != nil {
			f.poke(reasonGap)
			break
		}
	}
	why := f.takeReason()
	if why == reasonNone {
		return false, nil
	}
	if err := f.repair(why); err != nil {
		return true, err
	}
	return true, nil
}

func (f *follower) takeInbox() []*Append {
	f.mu.Lock()
	defer f.mu.Unlock()
	inbox := f.inbox
	f.inbox, f.inboxBytes = nil, 0
	return inbox
}

func (f *follower) takeReason() reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	why := f.why
	f.why = reasonNone
	return why
}

func (f *follower) position() stream.SeqNum {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tail.Next
}

// repair asks the owner what follows the position, until that is nothing.
func (f *follower) repair(why reason) error {
	for {
		pos := f.position()
		located, err := f.locate(pos)
		var gone *GoneError
		var refused *RefusedError
		switch {
		case errors.As(err, &gone):
			f.fail(gone)
			return nil
		case errors.As(err, &refused):
			f.hub.log.Warn("a stream's owner found the store damaged", zap.Stringer("stream_id", f.id), zap.Error(err))
			f.fail(refused)
			return nil
		case err != nil:
			return err
		case located.Stream != f.id:
			f.fail(&GoneError{Err: ErrReplaced})
			return nil
		}
		if located.Tail.Next > pos {
			f.hub.metrics.repairs.WithLabelValues(string(why)).Inc()
		}
		if err := f.advance(pos, located); err != nil {
			return err
		}
		if f.position() >= located.Tail.Next {
			f.settle(located.Tail)
			return nil
		}
	}
}

// advance delivers what the owner named. Where it can't name the next block the
// sessions have to find it themselves: the follower goes on from the tail.
func (f *follower) advance(pos stream.SeqNum, located Located) error {
	if located.Tail.Next <= pos {
		return nil
	}
	if located.Start > pos || len(located.Blocks) == 0 {
		f.jump(located.Tail)
		return nil
	}
	err := f.deliver(f.ctx, located.Blocks)
	var damage *logindex.DamageError
	switch {
	case logindex.Missing(err): // moved into chunks, which the owner does not know of
		f.jump(located.Tail)
		return nil
	case errors.As(err, &damage): // sessions that lack the block fail with where it is
		f.hub.log.Warn("what a stream's sessions wait for is damaged", zap.Stringer("stream_id", f.id),
			zap.String("key", damage.Key), zap.Uint64("offset", damage.Offset), zap.Error(err))
		f.jump(located.Tail)
		return nil
	case err != nil:
		return err
	}
	if f.position() == pos {
		return fmt.Errorf("stream %s: the owner names no block for seq_num %d below the tail %d", f.id, pos, located.Tail.Next)
	}
	return nil
}

// ErrReplaced says that the stream's name has gone to another stream.
var ErrReplaced = errors.New("the stream was deleted")

func (f *follower) locate(pos stream.SeqNum) (Located, error) {
	select {
	case f.hub.asking <- struct{}{}:
		defer func() { <-f.hub.asking }()
	case <-f.ctx.Done():
		return Located{}, f.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.hub.config.Ask)
	defer cancel()
	return f.hub.owner.Locate(ctx, Query{
		Name: f.name, Start: Start{Kind: AtSeqNum, Value: uint64(pos)},
		MaxBytes: uint64(f.hub.config.RepairBytes), Prove: true,
	})
}

// errGap says that a block does not follow what was delivered.
var errGap = errors.New("records are missing before the block")

// deliver turns durable blocks into frames. Those that were delivered already
// are left out.
func (f *follower) deliver(ctx context.Context, blocks []LocatedBlock) error {
	pos := f.position()
	for len(blocks) > 0 && blocks[0].Next() <= pos {
		blocks = blocks[1:]
	}
	if len(blocks) == 0 {
		return nil
	}
	if blocks[0].First > pos {
		return errGap
	}
	decoded, err := Decode(ctx, f.hub.blocks, f.id, blocks)
	if err != nil {
		return err
	}
	for _, block := range decoded {
		if block.Ref().First > pos {
			return errGap
		}
		pos = f.publish(ctx, block, pos)
	}
	return nil
}

// Decode decodes blocks that came along and fetches the others.
func Decode(ctx context.Context, blocks Blocks, id stream.ID, located []LocatedBlock) ([]*segment.Block, error) {
	out := make([]*segment.Block, len(located))
	var missing []logindex.Block
	var places []int
	for i := range located {
		if len(located[i].Data) > 0 {
			if block, err := blocks.Decode(id, located[i].Block, located[i].Data); err == nil {
				out[i] = block
				continue
			}
			// Damaged on the way: the object itself decides.
		}
		missing, places = append(missing, located[i].Block), append(places, i)
	}
	if len(missing) == 0 {
		return out, nil
	}
	fetched, err := blocks.Get(ctx, id, missing)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		out[place] = fetched[i]
	}
	return out, nil
}

// publish adds the records of a block from pos on to the ring and wakes those who
// wait; it returns the position after.
func (f *follower) publish(ctx context.Context, block *segment.Block, pos stream.SeqNum) stream.SeqNum {
	ref := block.Ref()
	if ref.Next() <= pos {
		return pos
	}
	frames := frame.Encode(block, pos, f.hub.config.FrameBytes)
	mark(ctx, frames)
	f.add(frames, ref.Next())
	f.hub.rings.added(f)
	f.hub.metrics.frames.Add(float64(len(frames)))
	f.hub.metrics.arrived(frames[len(frames)-1].LastIDMillis)
	return ref.Next()
}

func (f *follower) add(frames []*frame.Frame, next stream.SeqNum) {
	last := frames[len(frames)-1]
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fr := range frames {
		f.ring.add(fr)
	}
	f.tail = Tail{Next: next, LastTimestamp: last.LastTimestamp, LastIDMillis: last.LastIDMillis}
	f.ready = true
	f.broadcast()
}

func (f *follower) jump(tail Tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring.clear()
	f.tail, f.ready = tail, true
	f.broadcast()
}

// settle takes over the owner's word of a tail that was reached.
func (f *follower) settle(tail Tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if tail.Next == f.tail.Next {
		f.tail = tail
	}
	if !f.ready {
		f.ready = true
		f.broadcast()
	}
}

func (f *follower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		f.broadcast()
	}
}

func (f *follower) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// end leaves the feed, so that a later session starts anew, and frees the ring.
func (f *follower) end() {
	f.fail(ErrClosed)
	f.feed.mu.Lock()
	if f.feed.followers[f.id] == f {
		delete(f.feed.followers, f.id)
	}
	f.feed.mu.Unlock()
	f.mu.Lock()
	f.ring.clear()
	f.mu.Unlock()
	f.hub.rings.gone(f)
}

func (f *follower) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}
