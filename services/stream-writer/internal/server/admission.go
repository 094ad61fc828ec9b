package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// AdmissionConfig bounds what waits to become durable.
type AdmissionConfig struct {
	// Bytes of records that may wait, with what they take beside.
	Bytes int64
	// Floor is how many bytes may wait however slow the store is: what keeps it busy.
	Floor int64
	// Queue is how long, by the pace of the store, what waits may take.
	Queue time.Duration
	// Patience is how long an append waits for room.
	Patience time.Duration
}

// Admission bounds the records that wait to become durable, by their bytes and by
// the time that the store will take for them. An append for which there is no room
// waits a while, in order, and is then refused; if many wait already, at once. So a
// writer that is offered more than it can store neither fills its memory nor lets
// everybody wait: it stores as much as it can and tells the others when to come
// again.
type Admission struct {
	config  AdmissionConfig
	refused *prometheus.CounterVec

	mu       sync.Mutex
	inFlight int64
	waiting  int64 // bytes of those in queue
	queue    []*applicant
	pace     pace
}

// What there was too much of, as metrics name it.
const (
	overQueue = "queue"
	overBytes = "bytes"
	overTime  = "time"
)

// applicant is an append that waits for room. Its channel is closed when it has it.
type applicant struct {
	need     int64
	admitted chan struct{}
}

// NewAdmission makes an Admission.
func NewAdmission(c AdmissionConfig, reg prometheus.Registerer) (*Admission, error) {
	a := &Admission{config: c, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "samsa_stream_writer_refused_total", Help: "Appends refused for want of room, by what there was too much of.",
	}, []string{"reason"})}
	for _, reason := range []string{overQueue, overBytes, overTime} {
		a.refused.WithLabelValues(reason) // shows zero until then
	}
	for _, collector := range []prometheus.Collector{
		a.refused,
		a.gauge("samsa_stream_writer_inflight_bytes", "Bytes of records that wait to become durable.",
			func() float64 { return float64(a.inFlight) }),
		a.gauge("samsa_stream_writer_waiting_bytes", "Bytes of records that wait to be admitted.",
			func() float64 { return float64(a.waiting) }),
		a.gauge("samsa_stream_writer_queue_seconds", "How long what waits to become durable will take, by the pace of the store.",
			func() float64 { return a.pace.expect(time.Now(), a.inFlight).Seconds() }),
	} {
		if err := reg.Register(collector); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Admission) gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return value()
	})
}

// requestOverhead is about what a waiting append takes besides its records.
const requestOverhead = 1024

// queueShare is the part of the room that may wait outside for it.
const queueShare = 4

// Admit takes room for n bytes until release is called: when the log is done with
// them, which can be long after a client has left.
func (a *Admission) Admit(ctx context.Context, n int) (release func(), err error) {
	need := min(int64(n)+requestOverhead, a.config.Bytes)
	waiter, err := a.apply(need)
	if err != nil {
		return nil, err
	}
	if waiter != nil {
		if err := a.wait(ctx, waiter); err != nil {
			return nil, err
		}
	}
	return sync.OnceFunc(func() { a.release(need) }), nil
}

// apply admits an append (nil), has it wait, or refuses it.
func (a *Admission) apply(need int64) (*applicant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 && a.fits(need) {
		a.admit(need)
		return nil, nil
	}
	if a.waiting+need > max(a.config.Bytes/queueShare, need) {
		return nil, a.refusal(overQueue)
	}
	w := &applicant{need: need, admitted: make(chan struct{})}
	a.queue = append(a.queue, w)
	a.waiting += need
	return w, nil
}

// fits tells whether there is room. The lock is held.
func (a *Admission) fits(need int64) bool {
	switch after := a.inFlight + need; {
	case after > a.config.Bytes:
		return false
	case a.inFlight <= a.config.Floor:
		return true
	default:
		return a.pace.expect(time.Now(), after) <= a.config.Queue
	}
}

func (a *Admission) admit(need int64) {
	if a.inFlight <= a.config.Floor && a.inFlight+need > a.config.Floor {
		a.pace.begin(time.Now())
	}
	a.inFlight += need
}

func (a *Admission) wait(ctx context.Context, w *applicant) error {
	timer := time.NewTimer(a.config.Patience)
	defer timer.Stop()
	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.withdraw(w) { // admitted just now
		return nil
	}
	if ctx.Err() != nil {
		return toStatus(ctx.Err())
	}
	if a.inFlight+w.need > a.config.Bytes {
		return a.refusal(overBytes)
	}
	return a.refusal(overTime)
}

// withdraw takes an applicant out of the queue; false: it is not in it any more.
func (a *Admission) withdraw(w *applicant) bool {
	for i, other := range a.queue {
		if other == w {
			a.queue = append(a.queue[:i], a.queue[i+1:]...)
			a.waiting -= w.need
			a.admitNext()
			return true
		}
	}
	return false
}

func (a *Admission) release(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight -= n
	a.pace.stored(time.Now(), n)
	a.admitNext()
}

// admitNext admits those who have waited longest.
func (a *Admission) admitNext() {
	for len(a.queue) > 0 && a.fits(a.queue[0].need) {
		w := a.queue[0]
		a.queue = a.queue[1:]
		a.waiting -= w.need
		a.admit(w.need)
		close(w.admitted)
	}
}

// The hints are between these: a client is not to come again at once, nor to stay
// away when the store is well again.
const (
	leastRetry = 100 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// refusal says when to come again: when what waits now will be stored.
func (a *Admission) refusal(reason string) error {
	a.refused.WithLabelValues(reason).Inc()
	retry := min(max(a.pace.expect(time.Now(), a.inFlight+a.waiting), leastRetry), mostRetry)
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"the writer is offered more than the object store takes (storage.max_inflight_bytes, stream_writer.max_queue_ms): try again later").
		With("reason", "overloaded").After(retry)
}
