package shardlog

import (
	"errors"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A sealer ends another incarnation's log and finds out where it ends.
//
// If slot p exists, every slot up to p − 2·window is data: a segment is put only
// when all up to p − window are, and a seal stands at most 2·window − 1 above the
// slot that its sealer found free. So the sealer gallops to some p that exists and
// p' above it that doesn't, and walks from p − 2·window + 1 to the first slot that
// is not data. A seal there is the end. A free slot, and the 2·window − 1 after it,
// get seals; of these the lowest that takes hold, with nothing but data below it,
// is the end.
//
// Racing sealers come to the same end, and a writer that still lives learns of it
// at its next put. Sealing costs it its life and loses nothing.
type sealer struct {
	w      *Writer
	log    stream.Incarnation
	window uint32
	ended  bool
	end    stream.Slot
	then   []func(end stream.Slot, err error)

	exists stream.Slot // one above the highest slot seen to exist; 0: none
	absent stream.Slot // the lowest slot seen to be absent above it
}

// sealFor answers a request to seal.
func (w *Writer) sealFor(e Seal) {
	w.seal(e.Log, e.Window, func(end stream.Slot, err error) { w.do(Reply{Tag: e.Tag, End: end, Err: err}) })
}

// seal calls then with the end of the log, exclusive, or with ErrDamaged. Else it
// goes on until this incarnation ends.
func (w *Writer) seal(log stream.Incarnation, window uint32, then func(end stream.Slot, err error)) {
	s := w.sealers[log]
	if s == nil {
		s = &sealer{w: w, log: log, window: window, absent: noSeal}
		w.sealers[log] = s
		s.then = append(s.then, then)
		s.gallop(stream.Slot(2 * window))
		return
	}
	if s.ended {
		then(s.end, nil)
		return
	}
	s.then = append(s.then, then)
}

func (s *sealer) key(slot stream.Slot) string { return segment.SlotKey(s.log, slot) }

// gallop looks at ever higher slots until one is absent.
func (s *sealer) gallop(step stream.Slot) {
	at := s.exists + step - 1
	s.look(at, &tries{}, func(found bool) {
		if !found {
			s.absent = at
			s.narrow()
			return
		}
		s.exists = at + 1
		s.gallop(2 * step)
	})
}

// narrow halves the distance between a slot that exists and one that doesn't
// until walking is cheaper.
func (s *sealer) narrow() {
	if s.absent-s.exists <= stream.Slot(2*s.window) {
		s.walk(s.exists - min(s.exists, stream.Slot(2*s.window)))
		return
	}
	at := s.exists + (s.absent-s.exists)/2
	s.look(at, &tries{}, func(found bool) {
		if found {
			s.exists = at + 1
		} else {
			s.absent = at
		}
		s.narrow()
	})
}

func (s *sealer) look(slot stream.Slot, t *tries, then func(found bool)) {
	s.w.head(s.key(slot), func(r HeadDone) {
		switch r.Outcome {
		case Found:
			then(true)
		case Absent:
			then(false)
		default:
			s.w.later(t, func() { s.look(slot, t, then) })
		}
	})
}

// slotKind is what a sealer learns of a slot.
type slotKind uint8

const (
	unknownSlot slotKind = iota
	freeSlot
	dataSlot
	sealSlot
)

// walk reads the 2·window slots from first on, and goes on while all are data.
func (s *sealer) walk(first stream.Slot) {
	s.survey(first, s.readSlot, func(kinds []slotKind) {
		for i, kind := range kinds {
			switch kind {
			case sealSlot:
				s.finish(first + stream.Slot(i))
				return
			case freeSlot:
				s.close(first + stream.Slot(i))
				return
			}
		}
		s.walk(first + stream.Slot(len(kinds)))
	})
}

// close puts seals on the 2·window slots from first on, and goes on while all
// turn out to be data.
func (s *sealer) close(first stream.Slot) {
	s.survey(first, s.sealSlot, func(kinds []slotKind) {
		for i, kind := range kinds {
			if kind == sealSlot {
				s.finish(first + stream.Slot(i))
				return
			}
		}
		s.close(first + stream.Slot(len(kinds)))
	})
}

// survey learns the kinds of the 2·window slots from first on, all at once.
func (s *sealer) survey(first stream.Slot, learn func(stream.Slot, func(slotKind)), then func([]slotKind)) {
	kinds := make([]slotKind, 2*s.window)
	left := len(kinds)
	for i := range kinds {
		learn(first+stream.Slot(i), func(kind slotKind) {
			kinds[i] = kind
			if left--; left == 0 {
				then(kinds)
			}
		})
	}
}

func (s *sealer) readSlot(slot stream.Slot, then func(slotKind)) {
	var t segment.Trailer
	decode := func(b []byte) (err error) {
		t, err = segment.DecodeTrailer(b)
		return err
	}
	s.w.fetch(s.key(slot), segment.TrailerSize, decode, func(err error) {
		switch {
		case errors.Is(err, errAbsent):
			then(freeSlot)
		case err != nil:
			s.fail(err)
		case t.Kind == segment.KindSeal:
			then(sealSlot)
		default:
			then(dataSlot)
		}
	})
}

// sealSlot puts a seal, or learns what was there before it.
func (s *sealer) sealSlot(slot stream.Slot, then func(slotKind)) {
	s.sealAgain(slot, &tries{}, then)
}

func (s *sealer) sealAgain(slot stream.Slot, t *tries, then func(slotKind)) {
	body := segment.EncodeSeal(segment.Header{Log: s.log, Slot: slot, Window: s.window}, s.w.cfg.Incarnation)
	s.w.put(s.key(slot), func() []byte { return body }, t, func(r PutDone) {
		switch r.Outcome {
		case Created:
			then(sealSlot)
		case Exists:
			s.readSealed(slot, t, then)
		default:
			s.w.later(t, func() { s.sealAgain(slot, t, then) })
		}
	})
}

// readSealed reads a slot that was not free for a seal.
func (s *sealer) readSealed(slot stream.Slot, t *tries, then func(slotKind)) {
	s.readSlot(slot, func(kind slotKind) {
		if kind == freeSlot { // it stood a moment ago: a stale answer
			s.w.later(t, func() { s.sealAgain(slot, t, then) })
			return
		}
		then(kind)
	})
}

func (s *sealer) finish(end stream.Slot) {
	s.ended, s.end = true, end
	s.w.do(SealedLog{Log: s.log})
	s.tell(end, nil)
}

// fail gives up: nobody can tell where the log ends. Whoever asks next tries anew.
func (s *sealer) fail(err error) {
	if s.w.sealers[s.log] == s {
		delete(s.w.sealers, s.log)
	}
	s.tell(0, err)
}

func (s *sealer) tell(end stream.Slot, err error) {
	then := s.then
	s.then = nil
	for _, f := range then {
		f(end, err)
	}
}
