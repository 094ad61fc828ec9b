package notify

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// kind is a sort of message, as metrics name it.
type kind string

const (
	kindAppend  kind = "append"
	kindBeacon  kind = "beacon"
	kindCatalog kind = "catalog"
)

// reason is why a message was not sent, as metrics and errors name it.
type reason string

const (
	reasonDisconnected reason = "disconnected"
	reasonQueueFull    reason = "queue_full"
	reasonTooLarge     reason = "too_large"
	reasonUnencodable  reason = "unencodable"
)

type metrics struct {
	published, dropped, received, missed *prometheus.CounterVec
	connected                            prometheus.Gauge
}

// newMetrics registers with r; nil means nowhere.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		published: counter("samsa_notify_published_total", "Notifications sent, by kind.", "kind"),
		dropped:   counter("samsa_notify_dropped_total", "Notifications not sent, by kind and reason.", "kind", "reason"),
		received:  counter("samsa_notify_received_total", "Notifications received, by kind.", "kind"),
		missed:    counter("samsa_notify_missed_total", "Notifications that came too fast for the subscriber, by kind.", "kind"),
		connected: f.NewGauge(prometheus.GaugeOpts{Name: "samsa_notify_connected", Help: "Whether NATS is connected."}),
	}
	for _, k := range []kind{kindAppend, kindBeacon, kindCatalog} {
		m.missed.WithLabelValues(string(k)) // shows zero until then
		for _, why := range []reason{reasonDisconnected, reasonQueueFull, reasonTooLarge, reasonUnencodable} {
			m.dropped.WithLabelValues(string(k), string(why))
		}
	}
	return m
}

func (m *metrics) setConnected(connected bool) {
	if connected {
		m.connected.Set(1)
	} else {
		m.connected.Set(0)
	}
}
