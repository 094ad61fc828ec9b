package objstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// WithMetrics counts what goes through a store. Wrapping two stores with one
// registerer adds their figures up.
func WithMetrics(s Store, reg prometheus.Registerer) Store {
	return &measured{
		Store: s,
		duration: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "samsa_objstore_operation_duration_seconds",
			Help:    "Time of calls to the object store; for list, of reading all its pages.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // to 16 s
		}, []string{"operation", "outcome"})),
		bytes: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "samsa_objstore_bytes_total",
			Help: "Bytes of bodies sent by put and received by get.",
		}, []string{"operation"})),
		inFlight: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "samsa_objstore_operations_in_flight",
			Help: "Calls to the object store that have not returned.",
		}, []string{"operation"})),
	}
}

// register gives the collector of that name that reg already has, if it does.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	if err != nil {
		panic(err) // a name that is another collector's: a mistake in the program
	}
	return c
}

type measured struct {
	Store
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
}

func (m *measured) Close() error { return Close(m.Store) }

func (m *measured) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	done := m.begin(OpPut)
	err := m.Store.PutIfAbsent(ctx, key, body)
	m.bytes.WithLabelValues(OpPut).Add(float64(len(body)))
	done(err)
	return err
}

func (m *measured) Get(ctx context.Context, key string, r Range) (Object, error) {
	done := m.begin(OpGet)
	object, err := m.Store.Get(ctx, key, r)
	m.bytes.WithLabelValues(OpGet).Add(float64(len(object.Body)))
	done(err)
	return object, err
}

func (m *measured) Head(ctx context.Context, key string) (Info, error) {
	done := m.begin(OpHead)
	info, err := m.Store.Head(ctx, key)
	done(err)
	return info, err
}

func (m *measured) Delete(ctx context.Context, key string) error {
	done := m.begin(OpDelete)
	err := m.Store.Delete(ctx, key)
	done(err)
	return err
}

// List leaves out the time that the caller spends between keys.
func (m *measured) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		gauge := m.inFlight.WithLabelValues(OpList)
		gauge.Inc()
		defer gauge.Dec()
		var failure error
		var spent time.Duration
		since := time.Now()
		for info, err := range m.Store.List(ctx, prefix, startAfter) {
			failure = err
			spent += time.Since(since)
			if !yield(info, err) {
				break
			}
			since = time.Now()
		}
		m.observe(OpList, spent+time.Since(since), failure)
	}
}

func (m *measured) begin(operation string) func(error) {
	gauge := m.inFlight.WithLabelValues(operation)
	gauge.Inc()
	start := time.Now()
	return func(err error) {
		gauge.Dec()
		m.observe(operation, time.Since(start), err)
	}
}

func (m *measured) observe(operation string, spent time.Duration, err error) {
	m.duration.WithLabelValues(operation, Outcome(err)).Observe(spent.Seconds())
}
