package shardroute

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct{ redirected, searches prometheus.Counter }

// newMetrics registers with r; nil means nowhere.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		redirected: f.NewCounter(prometheus.CounterOpts{
			Name: "samsa_shardroute_redirected_total", Help: "How often a writer named another one as a shard's owner.",
		}),
		searches: f.NewCounter(prometheus.CounterOpts{
			Name: "samsa_shardroute_searches_total", Help: "How often writers were asked to take a shard.",
		}),
	}
}
