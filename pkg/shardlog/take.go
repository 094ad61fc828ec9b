package shardlog

import (
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A taker makes this incarnation the owner of a shard:
//
//	find the head of the chain
//	  its owner lives            → it hands the shard over, or keeps it
//	  its owner is gone          → prove that this log goes on, and seal its log
//	now the end of its part is known
//	replay that part on the newest state named
//	put the resulting state
//	put the next chain entry     → whoever creates it owns the shard
//
// Nothing is served before the last put is resolved.
type taker struct {
	w       *Writer
	s       *shard
	tags    []any
	planned bool
	// back: it only takes the shard back if nobody has it. Whoever was faster keeps it.
	back   bool
	asks   int  // counts the questions to owners
	asking bool // the last of them is not answered yet
	// mayTell: the head's owner can still tell where its part ends, in answer to any of
	// the questions about it, since its log is not being sealed yet.
	mayTell bool

	head      *segment.ChainEntry // nil: the chain is empty
	end       stream.Slot         // of the head's part, exclusive
	replica   *replica
	recovered []Recovered

	begun    time.Time // asked for
	foundAt  time.Time // the end of the part before was known
	takeover Takeover
}

// take makes this incarnation the shard's owner, unless it is already or a living
// owner keeps it.
func (w *Writer) take(t Take) {
	s := w.shards[t.Shard]
	switch {
	case w.takesNothing():
		w.fail(t.Tag, ErrDied)
		return
	case s != nil && s.status == owned:
		w.do(Reply{Tag: t.Tag, Head: s.entry})
		return
	case s != nil && s.status == handing:
		w.fail(t.Tag, w.notOwner(t.Shard))
		return
	case s != nil && s.taker != nil:
		s.taker.join(t)
		return
	}
	if s == nil {
		s = newShard(w, t.Shard)
		w.addShard(s)
	}
	s.beTaken(&taker{tags: []any{t.Tag}, planned: t.Planned}, t.Hint)
}

// takesNothing tells whether the incarnation is on its way out.
func (w *Writer) takesNothing() bool { return w.end != living || w.log.fenced() || w.retiring }

func (s *shard) beTaken(t *taker, hint stream.Epoch) {
	t.w, t.s, t.begun = s.w, s, s.w.now
	s.status, s.taker = taking, t
	s.w.findHead(s.id, hint, t.foundHead)
}

// join has another request share the take. If that one can't wait for an owner
// that does not answer, the owner is asked again so.
func (t *taker) join(r Take) {
	t.tags = append(t.tags, r.Tag)
	t.back = false
	if t.planned && !r.Planned {
		t.planned = false
		if t.asking {
			t.askOwner()
		}
	}
}

func (t *taker) foundHead(head *segment.ChainEntry, err error) {
	switch {
	case err != nil:
		t.fail(err)
	case head == nil: // the shard's first owner
		t.head, t.replica = nil, newReplica()
		t.claim(segment.ChainEntry{Shard: t.s.id})
	case head.Owner == t.w.cfg.Incarnation:
		t.head = head
		t.takeBack()
	case t.back:
		t.follow(*head)
	default:
		t.head = head
		t.askOwner()
	}
}

// takeBack takes a shard again that this incarnation has handed over and that
// nobody took. It replays like anyone else.
func (t *taker) takeBack() {
	if t.s.partEnd == 0 || t.s.entry.Epoch != t.head.Epoch {
		t.fail(fmt.Errorf("%w: %s names this writer as the owner of a shard that it has not taken",
			ErrDamaged, segment.ChainKey(t.s.id, t.head.Epoch)))
		return
	}
	t.foundEnd(FromSelf, t.s.partEnd)
}

func (t *taker) askOwner() {
	t.asks++
	t.asking, t.mayTell = true, true
	ask, epoch := t.asks, t.head.Epoch
	op := t.w.op(func(e Event) {
		r := e.(AskDone)
		switch {
		case r.Answer == OwnerHandedOver && t.mayTell && epoch == t.head.Epoch:
			t.asks++ // the other questions are settled, too
			t.asking, t.mayTell = false, false
			t.foundEnd(FromLiving, r.End)
		case ask != t.asks: // asked again meanwhile
		case r.Answer == OwnerKeeps:
			t.asking, t.mayTell = false, false
			t.follow(*t.head)
		default:
			t.asking = false
			t.sealOwner()
		}
	})
	t.w.do(AskOwner{Op: op, Entry: *t.head, Planned: t.planned})
}

// sealOwner seals the log of an owner that is gone, or that refused because the
// chain has moved on since the head was read: then its log is left alone. It is left
// alone too if this incarnation turns out to have ended itself, in a pause that it
// has not noticed: it could not keep the shard.
func (t *taker) sealOwner() {
	asks := t.asks
	t.w.log.proofs.prove(func(err error) {
		if err == nil && asks == t.asks {
			t.sealProved()
		}
	})
}

func (t *taker) sealProved() {
	t.ifMoved(func() {
		t.w.seal(t.head.Owner, t.head.Window, func(end stream.Slot, err error) {
			if err != nil {
				t.missing(err)
				return
			}
			t.foundEnd(FromSealed, end)
		})
	})
}

// ifMoved follows the chain if it has moved on since the head was read, and else
// calls stay.
func (t *taker) ifMoved(stay func()) {
	epoch, asks := t.head.Epoch, t.asks
	t.w.findHead(t.s.id, 0, func(head *segment.ChainEntry, err error) {
		if asks != t.asks {
			return // the owner has handed the shard over after all
		}
		t.mayTell = false
		switch {
		case err != nil:
			t.fail(err)
		case head != nil && head.Epoch > epoch:
			t.recovered = nil
			t.foundHead(head, nil)
		default:
			stay()
		}
	})
}

// foundEnd knows where the head's part ends. At or below its start it is empty.
func (t *taker) foundEnd(from Origin, end stream.Slot) {
	t.takeover.From, t.foundAt = from, t.w.now
	t.end = max(end, t.head.FirstSlot)
	if t.end == t.head.FirstSlot {
		t.load(t.head.State)
		return
	}
	t.w.footer(t.head.Owner, t.end-1, func(f *segment.Footer, err error) {
		if err != nil {
			t.missing(err)
			return
		}
		t.load(t.newestState(f))
	})
}

// newestState is the newest state of the head's part that its last footer names,
// else the one that it began with.
func (t *taker) newestState(last *segment.Footer) *segment.StateRef {
	for _, ref := range last.States {
		if ref.Shard == t.s.id && ref.Epoch == t.head.Epoch {
			return &ref
		}
	}
	return t.head.State
}

func (t *taker) load(ref *segment.StateRef) {
	if ref == nil {
		t.replica = newReplica()
		t.replay(t.head.FirstSlot)
		return
	}
	t.w.state(*ref, func(st *segment.State, err error) {
		if err != nil {
			t.missing(err)
			return
		}
		t.replica = restore(st)
		if ref.Epoch == t.head.Epoch {
			t.replay(max(ref.Slot, t.head.FirstSlot))
		} else {
			t.replay(t.head.FirstSlot)
		}
	})
}

// replayWidth is how many footers a takeover reads at once.
const replayWidth = 32

// replay applies the footers of the slots from first to the end of the part.
func (t *taker) replay(first stream.Slot) {
	n := min(t.end-first, replayWidth)
	if n == 0 {
		t.putState()
		return
	}
	footers := make([]*segment.Footer, n)
	left, failed := int(n), error(nil)
	for i := range footers {
		t.w.footer(t.head.Owner, first+stream.Slot(i), func(f *segment.Footer, err error) {
			footers[i] = f
			if err != nil {
				failed = err
			}
			if left--; left == 0 {
				t.replayed(first, footers, failed)
			}
		})
	}
}

func (t *taker) replayed(first stream.Slot, footers []*segment.Footer, err error) {
	if err != nil {
		t.missing(err)
		return
	}
	for i, f := range footers {
		if err := t.apply(first+stream.Slot(i), f); err != nil {
			t.fail(err)
			return
		}
	}
	t.replay(first + stream.Slot(len(footers)))
}

func (t *taker) apply(slot stream.Slot, f *segment.Footer) error {
	for i := range f.Sections {
		section := &f.Sections[i]
		if section.Shard != t.s.id || section.Epoch != t.head.Epoch {
			continue
		}
		if err := t.replica.apply(section); err != nil {
			return fmt.Errorf("%s: %w", segment.SlotKey(t.head.Owner, slot), err)
		}
		t.recovered = append(t.recovered, Recovered{Log: t.head.Owner, Slot: slot, Section: *section})
	}
	return nil
}

// putState writes what was replayed down, so that whoever takes the shard next
// need not replay it again.
func (t *taker) putState() {
	ref := segment.StateRef{Shard: t.s.id, Epoch: t.head.Epoch, Slot: t.end}
	body := t.replica.snapshot(ref).Encode()
	t.w.create(segment.StateKey(ref.Shard, ref.Epoch, ref.Slot), body, func(bool) {
		t.takeover.Replay = t.w.now.Sub(t.foundAt)
		// If it stood already, a rival has written the same.
		t.claim(segment.ChainEntry{
			Shard: t.s.id, Epoch: t.head.Epoch + 1, PredecessorEnd: t.end, State: &ref,
		})
	})
}

// claim puts the chain entry that makes this incarnation the owner.
func (t *taker) claim(e segment.ChainEntry) {
	if t.w.log.fenced() {
		return // dying; die answers the tags
	}
	e.Owner, e.Instance, e.Address = t.w.cfg.Incarnation, t.w.cfg.Instance, t.w.cfg.Address
	e.Window, e.FirstSlot = t.w.cfg.Window, t.w.log.next()
	t.w.create(segment.ChainKey(e.Shard, e.Epoch), e.Encode(), func(created bool) {
		if created {
			t.own(e)
			return
		}
		t.w.chainEntry(e.Shard, e.Epoch, func(standing *segment.ChainEntry, err error) {
			switch {
			case err != nil:
				t.fail(err)
			case standing.Owner == e.Owner && standing.FirstSlot == e.FirstSlot:
				t.own(e) // the reply was lost
			default: // a rival was faster
				t.follow(*standing)
			}
		})
	})
}

func (t *taker) own(e segment.ChainEntry) {
	s, w := t.s, t.w
	s.status, s.entry, s.durable = owned, e, t.replica
	s.state, s.partEnd, s.taker = stateWriter{since: e.FirstSlot}, 0, nil
	clear(s.live) // of an earlier time as its owner
	w.noteHead(e)
	t.takeover.Took = w.now.Sub(t.begun)
	w.do(Owned{Entry: e, Streams: len(t.replica.streams), Recovered: t.recovered, Takeover: t.takeover})
	w.takerDone()
	for _, tag := range t.tags {
		w.do(Reply{Tag: tag, Head: e})
	}
	s.serveWaiting()
}

// follow leaves the shard to the owner that keeps it.
func (t *taker) follow(head segment.ChainEntry) {
	t.w.noteHead(head)
	t.w.dropShard(t.s)
	t.w.takerDone()
	for _, tag := range t.tags {
		t.w.do(Reply{Tag: tag, Head: head})
	}
	t.s.serveWaiting()
}

// missing deals with an object that does not stand though it must. If the chain
// has moved on the object may have been collected since; otherwise it is damage.
func (t *taker) missing(err error) { t.ifMoved(func() { t.fail(err) }) }

// fail gives the shard up. One that this incarnation has handed over stays its to
// take back.
func (t *taker) fail(err error) {
	s := t.s
	s.taker = nil
	if s.partEnd != 0 {
		s.status = handed
		s.reclaimSoon()
	} else {
		t.w.dropShard(s)
	}
	t.w.takerDone()
	t.abandon(err)
	s.abandon(err)
}

func (t *taker) abandon(err error) {
	tags := t.tags
	t.tags = nil
	for _, tag := range tags {
		t.w.fail(tag, err)
	}
}

// serveWaiting takes up the requests that came while the shard was being taken.
func (s *shard) serveWaiting() {
	waiting := s.waiting
	s.waiting = nil
	for _, e := range waiting {
		s.w.request(e)
	}
}
