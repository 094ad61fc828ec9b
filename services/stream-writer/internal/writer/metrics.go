package writer

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Metrics counts what a Writer does. It is an Observer.
type Metrics struct {
	puts     *prometheus.HistogramVec
	inFlight prometheus.Gauge

	queue, put, ack prometheus.Observer // phases of an append
	proof           prometheus.Histogram

	segments        prometheus.Counter
	segmentBytes    prometheus.Counter
	segmentRecords  prometheus.Counter
	segmentSections prometheus.Counter

	owned        prometheus.Gauge
	lost         prometheus.Counter
	took, replay *prometheus.HistogramVec
	replayed     prometheus.Counter
	begun        prometheus.Counter
	sealed       prometheus.Counter
}

// NewMetrics registers what a Writer counts.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	phases := histogram("append_phase_duration_seconds",
		"Time of acknowledged appends by phase: queue until the put of their segment, put until it stands, ack until all lower slots stand.", "phase")
	proof := histogram("proof_duration_seconds", "Time until an answer that depends on the tail was proved to be current.")
	m := &Metrics{
		puts: histogram("put_duration_seconds", "Time of puts to the object store, by how they ended.", "outcome"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "samsa_stream_writer_segments_in_flight", Help: "Segments put that are not yet acknowledged; at most storage.window."}),
		queue: phases.WithLabelValues("queue"), put: phases.WithLabelValues("put"), ack: phases.WithLabelValues("ack"),
		segments:        counter("segments_total", "Segments that became durable."),
		segmentBytes:    counter("segment_bytes_total", "Bytes of the segments that became durable."),
		segmentRecords:  counter("records_total", "Records that became durable."),
		segmentSections: counter("segment_shards_total", "Shards with something in a segment, summed over the segments."),
		owned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "samsa_stream_writer_shards_owned", Help: "Shards that this writer owns."}),
		lost: counter("shards_lost_total", "Shards that went to another writer, or were lost with an incarnation."),
		took: histogram("takeover_duration_seconds", "Time of taking a shard, by whose it was: nobody's, a living writer's, a sealed one's, or this one's own.", "origin"),
		replay: histogram("replay_duration_seconds",
			"Part of a takeover's time that went into replaying the log and writing the state.", "origin"),
		replayed: counter("replayed_segments_total", "Parts of segments that takeovers replayed."),
		begun:    counter("incarnations_total", "Logs that this writer began; more than one means that it was fenced, failed or rolled."),
		sealed:   counter("sealed_logs_total", "Logs of other incarnations that this writer sealed."),
	}
	m.proof = proof.WithLabelValues().(prometheus.Histogram) //nolint:forcetypeassert // what a HistogramVec holds
	for _, c := range []prometheus.Collector{
		m.puts, m.inFlight, phases, proof, m.segments, m.segmentBytes, m.segmentRecords, m.segmentSections,
		m.owned, m.lost, m.took, m.replay, m.replayed, m.begun, m.sealed,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_stream_writer_" + name, Help: help})
}

// histogram has bounds from half a millisecond to four seconds.
func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "samsa_stream_writer_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	}, labels)
}

func (m *Metrics) putEnded(o shardlog.Outcome, took time.Duration) {
	m.puts.WithLabelValues(o.String()).Observe(took.Seconds())
}

func (m *Metrics) appended(queue, put, ack time.Duration) {
	m.queue.Observe(queue.Seconds())
	m.put.Observe(put.Seconds())
	m.ack.Observe(ack.Seconds())
}

// Began counts an incarnation.
func (m *Metrics) Began(stream.Incarnation) { m.begun.Inc() }

// Durable counts a segment.
func (m *Metrics) Durable(_ context.Context, _ stream.Incarnation, d shardlog.Durable) {
	m.segments.Inc()
	m.segmentBytes.Add(float64(len(d.Object)))
	m.segmentSections.Add(float64(len(d.Segment.Sections())))
	for i := range d.Segment.Batches {
		m.segmentRecords.Add(float64(len(d.Segment.Batches[i].Timestamps)))
	}
}

// Owned counts a takeover.
func (m *Metrics) Owned(o shardlog.Owned) {
	m.owned.Inc()
	origin := o.Takeover.From.String()
	m.took.WithLabelValues(origin).Observe(o.Takeover.Took.Seconds())
	m.replay.WithLabelValues(origin).Observe(o.Takeover.Replay.Seconds())
	m.replayed.Add(float64(len(o.Recovered)))
}

// Lost counts a shard that is gone.
func (m *Metrics) Lost(stream.Shard) {
	m.owned.Dec()
	m.lost.Inc()
}

// Sealed counts a log that this writer ended.
func (m *Metrics) Sealed(stream.Incarnation) { m.sealed.Inc() }

// Ended has nothing to count: what was owned is lost by then.
func (m *Metrics) Ended(stream.Incarnation, error) {}
