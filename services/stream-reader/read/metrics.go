package read

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sessions, caughtUp       prometheus.Gauge
	refused, behind, stalled prometheus.Counter
	records, bytes           *prometheus.CounterVec
	recordsLive, bytesLive   prometheus.Counter
	recordsCatch, bytesCatch prometheus.Counter
	lag                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_stream_reader_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "samsa_stream_reader_" + name, Help: help})
	}
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "samsa_stream_reader_" + name, Help: help}, []string{"from"})
	}
	m := &metrics{
		sessions: gauge("sessions", "Reads and read sessions under way."),
		caughtUp: gauge("live_sessions", "Read sessions that follow the tail."),
		refused:  counter("refused_total", "Reads and sessions refused because a limit of the reader was met."),
		stalled:  counter("sessions_stalled_total", "Times that a client took nothing for so long that what was made ready for it went back."),
		behind:   counter("sessions_behind_total", "Times that a live session was too slow for the ring and had to catch up."),
		records:  vec("records_total", "Records delivered, from blocks or from the ring of a live stream."),
		bytes:    vec("bytes_total", "Serialized bytes of records delivered."),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "samsa_stream_reader_lag_records", Help: "Records that a session lacks when it begins to catch up.",
			Buckets: prometheus.ExponentialBuckets(1, 10, 9)}),
	}
	m.recordsLive, m.recordsCatch = m.records.WithLabelValues("ring"), m.records.WithLabelValues("blocks")
	m.bytesLive, m.bytesCatch = m.bytes.WithLabelValues("ring"), m.bytes.WithLabelValues("blocks")
	if reg != nil {
		reg.MustRegister(m.sessions, m.caughtUp, m.refused, m.behind, m.stalled, m.records, m.bytes, m.lag)
	}
	return m
}
