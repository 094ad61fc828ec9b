package discovery

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	members         *prometheus.GaugeVec
	up              *prometheus.GaugeVec
	reregistrations prometheus.Counter
}

// newMetrics registers with r; nil means nowhere.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		members: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "samsa_discovery_members", Help: "Members known, by role.",
		}, []string{"role"}),
		up: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "samsa_discovery_current", Help: "Whether the members known are current (1) or the last ones seen before etcd was lost (0).",
		}, []string{"role"}),
		reregistrations: f.NewCounter(prometheus.CounterOpts{
			Name: "samsa_discovery_reregistrations_total", Help: "How often etcd had forgotten an instance's lease.",
		}),
	}
}
