package compaction

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// window is slots of a log that can be compacted: [from, to) is durable.
type window struct {
	log      stream.Incarnation
	from, to stream.Slot
	sealed   bool // end is where the lowest seal stands
	end      stream.Slot
	bytes    int64     // of the segments
	oldest   time.Time // when the first slot was put
	newest   time.Time // and the last that stands, if the next is free; zero: none was seen
	width    uint32    // W of the log, with newest
}

// small tells that the log may have more soon and there is no hurry.
func (w *window) small(o *Options) bool {
	return !w.sealed && w.bytes < o.LiveBytes && o.Now().Sub(w.oldest) < o.LiveAge
}

// standing is what stands in a slot.
type standing struct {
	kind     segment.Kind
	window   uint32
	bytes    int64
	modified time.Time
}

// look reads a slot's trailer; false: the slot is free.
func (c *Compactor) look(ctx context.Context, log stream.Incarnation, slot stream.Slot) (standing, bool, error) {
	key := segment.SlotKey(log, slot)
	found, err := twice(func() (standing, error) {
		object, err := c.store.Get(ctx, key, objstore.Suffix(segment.TrailerSize))
		if err != nil {
			return standing{}, err
		}
		t, err := segment.DecodeTrailer(object.Body)
		if err != nil {
			return standing{}, &DamageError{Key: key, Err: err}
		}
		if t.Log != log || t.Slot != slot {
			return standing{}, damaged(key, "it says that it is slot %d of log %s", t.Slot, t.Log)
		}
		return standing{t.Kind, t.Window, object.Size, object.Modified}, nil
	})
	if errors.Is(err, objstore.ErrNotFound) {
		return found, false, nil
	}
	return found, err == nil, err
}

// walk is a look at the slots of a log from a durable one on.
type walk struct {
	from, next stream.Slot // [from, next) are segments
	ends       []int64     // bytes up to and with each of them
	durable    stream.Slot // all below are proved durable
	oldest     time.Time
	newest     time.Time // when the slot before next was put
	width      uint32    // W
}

// add takes the segment in slot next.
func (w *walk) add(s standing) {
	if w.next == w.from {
		w.oldest = s.modified
	}
	w.newest, w.width = s.modified, s.window
	w.ends = append(w.ends, w.bytes(w.next)+s.bytes)
	// A segment in slot p proves all slots up to p − W.
	if past := stream.Slot(s.window); w.next+1 > past {
		w.durable = max(w.durable, w.next+1-past)
	}
	w.next++
}

// bytes is the size of all segments below a slot.
func (w *walk) bytes(to stream.Slot) int64 {
	if to == w.from {
		return 0
	}
	return w.ends[to-w.from-1]
}

// limit is where a job ends that takes no more than it may, but one slot.
func (w *walk) limit(o *Options) stream.Slot {
	to := w.from
	for to < w.next && (to == w.from || w.bytes(to+1) <= o.JobBytes && int(to-w.from) < o.JobSlots) {
		to++
	}
	return to
}

// full tells that a job's worth is proved durable.
func (w *walk) full(o *Options) bool {
	to := w.limit(o)
	return to < w.next && w.durable >= to
}

// walks is how far logs that grow slowly have been looked at. Slots that stand never
// change, so only what is new is looked at again.
type walks struct {
	mu  sync.Mutex
	all map[stream.Incarnation]*walk
}

// of is the walk of a log from its watermark on.
func (w *walks) of(l chunkindex.Log) *walk {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.all[l.Log]
	if of == nil || of.from != l.Watermark {
		of = &walk{from: l.Watermark, next: l.Watermark, durable: l.Watermark}
		w.all[l.Log] = of
	}
	return of
}

// drop forgets a log that was moved on or ends.
func (w *walks) drop(log stream.Incarnation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, log)
}

// window finds out what of a log can be compacted. It reads trailers alone.
func (c *Compactor) window(ctx context.Context, l chunkindex.Log) (window, error) {
	w := c.walks.of(l)
	out := window{log: l.Log, from: l.Watermark, sealed: l.Sealed, end: l.End}
	for !w.full(&c.options) && (!l.Sealed || w.next != l.End) {
		s, ok, err := c.look(ctx, l.Log, w.next)
		if err != nil {
			return out, err
		}
		if !ok && l.Sealed {
			return out, c.missingSlot(ctx, l)
		}
		if !ok {
			out.newest, out.width = w.newest, w.width
			break
		}
		if s.kind == segment.KindSeal {
			if l.Sealed {
				return out, behind("log %s is sealed at slot %d, not %d", l.Log, w.next, l.End)
			}
			out.sealed, out.end = true, w.next
			break
		}
		w.add(s)
	}
	if out.sealed {
		w.durable = max(w.durable, w.next) // every slot below the lowest seal
	}
	out.to = max(min(w.durable, w.limit(&c.options)), w.from)
	out.bytes, out.oldest = w.bytes(out.to), w.oldest
	return out, nil
}
