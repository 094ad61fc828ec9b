package writer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/samsa-io/samsa/pkg/shardlog"
)

// Metrics counts what a Writer does.
type Metrics struct {
	puts            *prometheus.HistogramVec
	segments        prometheus.Counter
	segmentBytes    prometheus.Counter
	segmentRecords  prometheus.Counter
	segmentSections prometheus.Counter
}

// NewMetrics registers what a Writer counts.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		puts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "samsa_stream_writer_put_duration_seconds",
			Help:    "Time of puts to the object store, by how they ended.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"outcome"}),
		segments:        counter("segments_total", "Segments that became durable."),
		segmentBytes:    counter("segment_bytes_total", "Bytes of the segments that became durable."),
		segmentRecords:  counter("records_total", "Records that became durable."),
		segmentSections: counter("segment_shards_total", "Shards with something in a segment, summed over the segments."),
	}
	for _, c := range []prometheus.Collector{m.puts, m.segments, m.segmentBytes, m.segmentRecords, m.segmentSections} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_stream_writer_" + name, Help: help})
}

func (m *Metrics) put(o shardlog.Outcome, took time.Duration) {
	m.puts.WithLabelValues(o.String()).Observe(took.Seconds())
}

func (m *Metrics) durable(d shardlog.Durable) {
	m.segments.Inc()
	m.segmentBytes.Add(float64(len(d.Object)))
	m.segmentSections.Add(float64(len(d.Segment.Sections())))
	for i := range d.Segment.Batches {
		m.segmentRecords.Add(float64(len(d.Segment.Batches[i].Timestamps)))
	}
}
