package telemetry

import "github.com/prometheus/client_golang/prometheus"

// NewHealthCollector tells a Health's state to Prometheus: for each component and
// each state, 1 if the component is in it, else 0.
func NewHealthCollector(health *Health) prometheus.Collector {
	return healthCollector{health, prometheus.NewDesc("samsa_component_state",
		"1 for the state that a component of the program is in, such as its connection to Postgres, NATS or etcd.",
		[]string{"component", "state"}, nil)}
}

type healthCollector struct {
	health *Health
	state  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c healthCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.state }

// Collect implements prometheus.Collector.
func (c healthCollector) Collect(ch chan<- prometheus.Metric) {
	for _, component := range c.health.Status().Components {
		for _, state := range []State{OK, Degraded, Down} {
			value := 0.0
			if component.State == state {
				value = 1
			}
			ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, value, component.Name, string(state))
		}
	}
}
