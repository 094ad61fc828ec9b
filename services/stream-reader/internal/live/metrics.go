package live

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what followers do.
type Metrics struct {
	followers prometheus.Gauge
	frames    prometheus.Counter
	suspected *prometheus.CounterVec
	repairs   *prometheus.CounterVec
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
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "samsa_stream_reader_gap_repairs_total",
			Help: "Times that the owner knew of records that no notification had brought, by why it was asked."}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.followers, m.frames, m.suspected, m.repairs)
	}
	return m
}

func (m *Metrics) missed(why reason) { m.suspected.WithLabelValues(string(why)).Inc() }
