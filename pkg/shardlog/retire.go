package shardlog

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Retire ends every incarnation in good order: it takes no more shards, and seals its
// own log as soon as nothing is on its way into it. Shards that it still holds then are
// to be had at once by whoever asks for them. One that never had to do with a shard has
// nothing to seal.
type Retire struct{}

func (Retire) event() {}

// retire ends the incarnation in good order. It takes nothing more, and once every
// shard is handed over and every slot that it put stands, it seals its own log:
// nobody else would soon, and the slots of an unsealed log stay for ever.
func (w *Writer) retire() { w.retiring = true }

// leave is retire without waiting for others to take the shards.
func (w *Writer) leave() {
	w.retiring, w.leaving = true, true
	if w.log.next() == 0 && len(w.shards) == 0 && w.log.open == nil {
		w.die(ErrDied)
	}
}

// retireIfDone is called at the end of each step.
func (w *Writer) retireIfDone() {
	if !w.retiring || w.sealing || w.end != living || w.log.fenced() || w.log.busy() || w.holdsShards() && !w.leaving {
		return
	}
	w.sealing = true
	w.sealSelf(w.log.next())
}

// holdsShards tells whether a shard is this incarnation's to serve, or may become so
// by a chain entry that is on its way.
func (w *Writer) holdsShards() bool {
	for _, s := range w.shards {
		if s.status != handed {
			return true
		}
	}
	return false
}

// sealSelf seals the next slot. Something else can stand there by the time the seal
// arrives: another's seal, which ends the log as well, or a segment of this
// incarnation if it left with shards that it went on to serve. Then the next slot is
// sealed when that segment is resolved.
func (w *Writer) sealSelf(slot stream.Slot) {
	key := segment.SlotKey(w.log.id, slot)
	body := segment.EncodeSeal(segment.Header{Log: w.log.id, Slot: slot, Window: w.cfg.Window}, w.log.id)
	w.create(key, body, func(created bool) {
		if created {
			w.log.foundSeal(slot)
			return
		}
		w.readOwn(slot, &tries{}, func(t segment.Trailer) {
			if t.Kind == segment.KindSeal {
				w.log.foundSeal(slot)
				return
			}
			w.sealing = false
		})
	})
}

// readOwn reads what stands in a slot of this log, until it can.
func (w *Writer) readOwn(slot stream.Slot, t *tries, then func(segment.Trailer)) {
	w.get(segment.SlotKey(w.log.id, slot), segment.TrailerSize, func(r GetDone) {
		got, err := trailer(r)
		if err != nil {
			w.later(t, func() { w.readOwn(slot, t, then) })
			return
		}
		then(got)
	})
}

// busy tells whether anything is on its way into the log, or waits for a proof.
func (l *ownLog) busy() bool {
	return l.open != nil || len(l.queue)+len(l.flights) > 0 || l.proofs.probing
}
