package live

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what followers do.
type Metrics struct {
	followers prometheus.Gauge
	frames    prometheus.Counter
	suspected *prometheus.CounterVec
	repairs   *prometheus.CounterVec
	delay     prometheus.Histogram
}

// NewMetrics registers the metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		followers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "samsa_stream_reader_followers", Help: "Streams that somebody follows."}),
		frames: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "samsa_stream_reader_live_frames_total", Help: "Frames serialized for live sessions."}),
		suspected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "samsa_stream_reader_missed_notifications_total",
			Help: "Times that notifications of a shard may have been missed, by how that was noticed."}, []string{"reason"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "samsa_stream_reader_live_delay_seconds",
			Help:    "Time from the arrival of records at the writer until live sessions may take them, by both clocks.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "samsa_stream_reader_gap_repairs_total",
			Help: "Times that the owner knew of records that no notification had brought, by why it was asked."}, []string{"reason"}),
	}
	for _, why := range reasons() {
		m.suspected.WithLabelValues(string(why)) // shows zero until then
		m.repairs.WithLabelValues(string(why))
	}
	if reg != nil {
		reg.MustRegister(m.followers, m.frames, m.suspected, m.repairs, m.delay)
	}
	return m
}

// arrived notes when a block's records were accepted, by the writer's clock.
func (m *Metrics) arrived(millis uint64) {
	m.delay.Observe(max(time.Since(time.UnixMilli(int64(millis))).Seconds(), 0))
}

func (m *Metrics) missed(why reason) { m.suspected.WithLabelValues(string(why)).Inc() }
