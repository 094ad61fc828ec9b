package compaction

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what compactors do.
type Metrics struct {
	jobs, bytes, lost, spoiled, sealed, slots, objects, states prometheus.Counter
	orphans                                                    prometheus.Gauge

	backlogSlots, backlogBytes, backlogAge prometheus.Gauge
}

// NewMetrics registers with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_compactor_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "samsa_compactor_" + name, Help: help})
	}
	m := &Metrics{
		backlogSlots: gauge("backlog_slots", "Slots of logs that are to be compacted, of this compactor's share, as of its last round."),
		backlogBytes: gauge("backlog_bytes", "Bytes of those slots, as far as it looked."),
		backlogAge:   gauge("backlog_age_seconds", "Age of the oldest of those slots."),
		jobs:         counter("jobs_total", "Chunk objects made, verified and published."),
		bytes:        counter("written_bytes_total", "Bytes of those chunk objects."),
		lost:         counter("lost_jobs_total", "Jobs given up because another compactor was first."),
		spoiled:      counter("damaged_chunk_objects_total", "Times that a chunk object was found damaged, and left as it is."),
		sealed:       counter("sealed_logs_total", "Logs sealed because nobody else would have."),
		slots:        counter("collected_slots_total", "Slots of logs deleted."),
		objects:      counter("collected_objects_total", "Chunk objects deleted: without chunks, or of jobs that were given up."),
		states:       counter("collected_states_total", "States of shards deleted that no takeover can need any more."),
		orphans: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "samsa_compactor_orphan_objects", Help: "Chunk objects without row in the index, as of the last full look."}),
	}
	if reg != nil {
		reg.MustRegister(m.jobs, m.bytes, m.lost, m.spoiled, m.sealed, m.slots, m.objects, m.states, m.orphans, m.backlogSlots, m.backlogBytes, m.backlogAge)
	}
	return m
}
