package limit

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts how often limits were met, by the name of the setting. A nil
// *Metrics counts nothing.
type Metrics struct{ refused, slowed *prometheus.CounterVec }

// NewMetrics registers samsa_<subsystem>_limit_refused_total and
// samsa_<subsystem>_limit_delayed_total.
func NewMetrics(subsystem string, reg prometheus.Registerer) (*Metrics, error) {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "samsa", Subsystem: subsystem, Name: name, Help: help}, []string{"limit"})
	}
	m := &Metrics{
		refused: vec("limit_refused_total", "What was refused because a limit was met, by the limit's setting."),
		slowed:  vec("limit_delayed_total", "What of sessions had to wait because a limit was met, by the limit's setting."),
	}
	for _, c := range []prometheus.Collector{m.refused, m.slowed} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// show begins a limit's series, before the limit is met: of a series that begins with
// the first refusal, rates do not see it.
func (m *Metrics) show(limit string) {
	if m != nil {
		m.refused.WithLabelValues(limit)
	}
}

// Refused counts a refusal because of a limit that is checked elsewhere.
func (m *Metrics) Refused(limit string) { m.exceeded(limit) }

func (m *Metrics) exceeded(limit string) {
	if m != nil {
		m.refused.WithLabelValues(limit).Inc()
	}
}

func (m *Metrics) delayed(limit string) {
	if m != nil {
		m.slowed.WithLabelValues(limit).Inc()
	}
}
