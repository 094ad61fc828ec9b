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
	if r == nil {
		return func() {}, nil
	}
	if r.held.Add(bytes) > r.exceeded.Limit {
		r.held.Add(-bytes)
		r.metrics.exceeded(r.exceeded.Key)
		e := r.exceeded
		return nil, &e
	}
	return sync.OnceFunc(func() { r.held.Add(-bytes) }), nil
}
