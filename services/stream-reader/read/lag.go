package read

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// liveSessions is the sessions that follow a tail, to tell how far they are behind.
type liveSessions struct {
	mu  sync.Mutex
	all map[*session]*live.Subscription
}

// follows keeps account of a session until leave is called.
func (l *liveSessions) follows(s *session, sub *live.Subscription) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*session]*live.Subscription{}
	}
	l.all[s] = sub
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, s)
	}
}

// lag is how many records the session that is farthest behind lacks.
func (l *liveSessions) lag() (most uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, sub := range l.all {
		if tail, at := uint64(sub.Tail().Next), s.delivered.Load(); tail > at {
			most = max(most, tail-at)
		}
	}
	return most
}

func (l *liveSessions) register(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "samsa_stream_reader_live_lag_records",
		Help: "Records that the live session farthest behind its stream's tail has not been sent.",
	}, func() float64 { return float64(l.lag()) }))
}
