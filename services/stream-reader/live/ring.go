package live

import (
	"container/list"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// ring is a stream's newest frames, consecutive.
type ring struct {
	frames   []*frame.Frame
	bytes    int64
	maxBytes int64
	total    *atomic.Int64 // of all rings
}

// add appends a frame and drops the oldest ones beyond the ring's bound, but never the
// new one: whoever waits for it is about to take it.
func (r *ring) add(f *frame.Frame) {
	r.frames = append(r.frames, f)
	r.account(f.Memory())
	for len(r.frames) > 1 && r.bytes > r.maxBytes {
		r.dropOldest()
	}
}

func (r *ring) dropOldest() {
	r.account(-r.frames[0].Memory())
	r.frames[0] = nil
	r.frames = r.frames[1:]
}

func (r *ring) account(n int64) {
	r.bytes += n
	r.total.Add(n)
}

func (r *ring) clear() {
	r.account(-r.bytes)
	r.frames = nil
}

// from returns the frames from the one that holds pos on, at least one, more
// while they are small; false if pos is not held.
func (r *ring) from(pos stream.SeqNum, maxBytes int) ([]*frame.Frame, bool) {
	i := sort.Search(len(r.frames), func(i int) bool { return r.frames[i].Next > pos })
	if i == len(r.frames) || r.frames[i].First > pos {
		return nil, false
	}
	n, size := i+1, r.frames[i].Size()
	for n < len(r.frames) && size+r.frames[n].Size() <= maxBytes {
		size += r.frames[n].Size()
		n++
	}
	return slices.Clone(r.frames[i:n]), true
}

// rings keeps the rings of all followers within a number of bytes together. Those
// that were added to longest ago give way first, down to nothing: their streams are
// quiet, and whoever still wants their records finds the blocks in the cache. Only the
// newest frame of all always stays.
type rings struct {
	maxBytes int64
	bytes    atomic.Int64

	mu     sync.Mutex
	byAge  list.List // of *follower, the last added to at the back; those with frames
	places map[*follower]*list.Element
}

func newRings(maxBytes int64) *rings {
	return &rings{maxBytes: maxBytes, places: map[*follower]*list.Element{}}
}

func (r *rings) full() bool { return r.bytes.Load() > r.maxBytes }

// added makes room for what was added to a follower's ring. Without f.mu.
func (r *rings) added(f *follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place, ok := r.places[f]; ok {
		r.byAge.MoveToBack(place)
	} else {
		r.places[f] = r.byAge.PushBack(f)
	}
	for r.full() && r.byAge.Len() > 1 {
		oldest := r.byAge.Front().Value.(*follower)
		if oldest.shrink(0) {
			r.remove(oldest)
		}
	}
	if r.full() {
		f.shrink(1)
	}
}

// gone forgets a follower, whose ring is empty.
func (r *rings) gone(f *follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(f)
}

func (r *rings) remove(f *follower) {
	if place, ok := r.places[f]; ok {
		r.byAge.Remove(place)
		delete(r.places, f)
	}
}

// shrink drops the oldest frames while all rings hold too much, but for some of the
// newest; it tells whether none is left.
func (f *follower) shrink(keep int) (empty bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.ring.frames) > keep && f.hub.rings.full() {
		f.ring.dropOldest()
	}
	return len(f.ring.frames) == 0
}
