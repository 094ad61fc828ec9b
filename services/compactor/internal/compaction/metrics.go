package compaction

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what compactors do.
type Metrics struct {
	jobs, bytes, lost, slots, objects prometheus.Counter
	orphans                           prometheus.Gauge
}

// NewMetrics registers with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_compactor_" + name, Help: help})
	}
	m := &Metrics{
		jobs:    counter("jobs_total", "Chunk objects made, verified and published."),
		bytes:   counter("written_bytes_total", "Bytes of those chunk objects."),
		lost:    counter("lost_jobs_total", "Jobs given up because another compactor was first."),
		slots:   counter("collected_slots_total", "Slots of logs deleted."),
		objects: counter("collected_objects_total", "Chunk objects without chunks found due for deletion."),
		orphans: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "samsa_compactor_orphan_objects", Help: "Chunk objects without row in the index, as of the last full look."}),
	}
	if reg != nil {
		reg.MustRegister(m.jobs, m.bytes, m.lost, m.slots, m.objects, m.orphans)
	}
	return m
}
