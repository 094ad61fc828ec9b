package live

import (
	"slices"
	"sort"
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
	maxTotal int64
}

// add appends a frame and drops the oldest ones beyond the bounds, but never the
// new one: whoever waits for it is about to take it.
func (r *ring) add(f *frame.Frame) {
	r.frames = append(r.frames, f)
	r.account(f.Memory())
	for len(r.frames) > 1 && (r.bytes > r.maxBytes || r.total.Load() > r.maxTotal) {
		r.account(-r.frames[0].Memory())
		r.frames[0] = nil
		r.frames = r.frames[1:]
	}
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
