package survey

import (
	"context"
	"iter"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// logView is the keys of one log, and where its lowest seal stands.
type logView struct {
	id     stream.Incarnation
	gone   bool
	slots  []stream.Slot // that stand, ascending
	sizes  []int64
	sealed bool
	end    stream.Slot
}

// below is how many slots stand below one.
func (l *logView) below(slot stream.Slot) int {
	n := 0
	for n < len(l.slots) && l.slots[n] < slot {
		n++
	}
	return n
}

// durable is the slots that are durable whatever comes: those below the seal, or, of a
// log without one, those that follow each other from the first on. Others may have been
// put while the log was listed, or never come to count.
func (l *logView) durable() []stream.Slot {
	if l.sealed {
		return l.slots[:l.below(l.end)]
	}
	n := 0
	for n < len(l.slots) && l.slots[n] == stream.Slot(n) {
		n++
	}
	return l.slots[:n]
}

// sealSize is what every seal takes, and few segments do.
func sealSize() int64 { return int64(len(segment.EncodeSeal(segment.Header{}, stream.Incarnation{}))) }

// logs lists the store's logs one after the other. Keys that are nobody's are given
// to strange.
func (s *Survey) logs(ctx context.Context, strange func(key string)) iter.Seq2[*logView, error] {
	return func(yield func(*logView, error) bool) {
		var l *logView
		for info, err := range s.store.List(ctx, segment.LogPrefix, "") {
			if err != nil {
				yield(nil, err)
				return
			}
			id, name, ok := segment.ParseLogKey(info.Key)
			if !ok {
				strange(info.Key)
				continue
			}
			if l != nil && l.id != id {
				if !s.yieldLog(ctx, l, yield) {
					return
				}
				l = nil
			}
			if l == nil {
				l = &logView{id: id}
			}
			if slot, isSlot := number(name); isSlot && info.Key == segment.SlotKey(id, stream.Slot(slot)) {
				l.slots, l.sizes = append(l.slots, stream.Slot(slot)), append(l.sizes, info.Size)
			} else if info.Key == segment.GoneKey(id) {
				l.gone = true
			} else {
				strange(info.Key)
			}
		}
		if l != nil {
			s.yieldLog(ctx, l, yield)
		}
	}
}

func (s *Survey) yieldLog(ctx context.Context, l *logView, yield func(*logView, error) bool) bool {
	return yield(l, s.findEnd(ctx, l))
}

// findEnd looks for the lowest seal among what is as large as one.
func (s *Survey) findEnd(ctx context.Context, l *logView) error {
	for i, slot := range l.slots {
		if l.sizes[i] != sealSize() {
			continue
		}
		var kind segment.Kind
		err := s.get(ctx, segment.SlotKey(l.id, slot), objstore.Suffix(segment.TrailerSize), func(body []byte) error {
			t, err := segment.DecodeTrailer(body)
			kind = t.Kind
			return err
		})
		switch {
		case isMissing(err), isDamage(err):
			continue // whoever reads the slot reports it
		case err != nil:
			return err
		case kind == segment.KindSeal:
			l.sealed, l.end = true, slot
			return nil
		}
	}
	return nil
}
