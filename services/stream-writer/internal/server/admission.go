package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/types/known/durationpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// Admission bounds the bytes of records that wait to become durable. An append
// for which there is no room waits a while and is then refused: a writer whose
// store is slow must not fill its memory.
type Admission struct {
	room     *semaphore.Weighted
	limit    int64
	patience time.Duration
	inFlight prometheus.Gauge
	refused  prometheus.Counter
}

// NewAdmission makes an Admission of so many bytes; an append waits for them for
// at most patience.
func NewAdmission(limit int64, patience time.Duration, reg prometheus.Registerer) (*Admission, error) {
	a := &Admission{
		room: semaphore.NewWeighted(limit), limit: limit, patience: patience,
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "samsa_stream_writer_inflight_bytes", Help: "Bytes of records that wait to become durable.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "samsa_stream_writer_refused_total", Help: "Appends refused for want of room.",
		}),
	}
	for _, c := range []prometheus.Collector{a.inFlight, a.refused} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Admit takes room for n bytes until release is called: when the log is done with
// them, which can be long after a client has left.
func (a *Admission) Admit(ctx context.Context, n int) (release func(), err error) {
	need := min(int64(n)+requestOverhead, a.limit)
	waiting, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	if err := a.room.Acquire(waiting, need); err != nil {
		if ctx.Err() != nil {
			return nil, toStatus(ctx.Err())
		}
		a.refused.Inc()
		return nil, a.refusal()
	}
	a.inFlight.Add(float64(need))
	return func() {
		a.inFlight.Sub(float64(need))
		a.room.Release(need)
	}, nil
}

// requestOverhead is about what a waiting append takes besides its records.
const requestOverhead = 1024

func (a *Admission) refusal() error {
	e := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"%d bytes of records wait for the object store already, as many as storage.max_inflight_bytes allows: try again later", a.limit).
		With("reason", "overloaded")
	st, err := e.GRPCStatus().WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(a.patience)})
	if err != nil {
		return e
	}
	return st.Err()
}
