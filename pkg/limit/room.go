package limit

import (
	"sync"
	"sync/atomic"
)

// Room bounds how many bytes are held at a time, by all together. A nil *Room has
// no bound. It is safe for concurrent use.
type Room struct {
	exceeded Exceeded
	metrics  *Metrics
	held     atomic.Int64
}

// NewRoom makes a room for limit bytes; what and setting are for the error. It
// returns nil if there is no limit.
func NewRoom(limit int64, what, setting string, m *Metrics) *Room {
	if limit <= 0 {
		return nil
	}
	m.show(setting)
	return &Room{exceeded: Exceeded{What: what, Key: setting, Limit: limit}, metrics: m}
}

// Enter takes so many bytes until leave is called, once; or fails with an *Exceeded.
func (r *Room) Enter(bytes int64) (leave func(), err error) {
	s := r.Share()
	if err := s.Grow(bytes); err != nil {
		return nil, err
	}
	return sync.OnceFunc(s.Leave), nil
}

// Share is what one holder has of a Room, when it is not known at the start how much
// that will be. It is for one goroutine at a time.
type Share struct {
	room  *Room
	bytes int64
}

// Share begins a share, of nothing yet.
func (r *Room) Share() *Share { return &Share{room: r} }

// Grow takes so many bytes more, or fails with an *Exceeded.
func (s *Share) Grow(bytes int64) error {
	r := s.room
	if r == nil {
		return nil
	}
	if r.held.Add(bytes) > r.exceeded.Limit {
		r.held.Add(-bytes)
		r.metrics.exceeded(r.exceeded.Key)
		e := r.exceeded
		return &e
	}
	s.bytes += bytes
	return nil
}

// Leave gives all bytes back.
func (s *Share) Leave() {
	if s.room != nil {
		s.room.held.Add(-s.bytes)
		s.bytes = 0
	}
}
