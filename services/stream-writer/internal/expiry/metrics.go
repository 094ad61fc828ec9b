package expiry

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what has expired.
type Metrics struct {
	records, trims, lookups, failures prometheus.Counter
}

// NewMetrics registers what an Expiry counts.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		records:  counter("expired_records_total", "Records that expired."),
		trims:    counter("expiry_trims_total", "Trims of streams for what had expired."),
		lookups:  counter("expiry_lookups_total", "Look-ups of where a stream's first record stands that has not expired."),
		failures: counter("expiry_failures_total", "Passes that could not look at every stream."),
	}
	for _, c := range []prometheus.Collector{m.records, m.trims, m.lookups, m.failures} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_stream_writer_" + name, Help: help})
}
