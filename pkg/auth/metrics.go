package auth

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what becomes of access tokens. A nil *Metrics counts nothing.
type Metrics struct {
	checks, lookups *prometheus.CounterVec
	known           prometheus.Gauge
}

// NewMetrics registers with r; nil means nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		checks:  f.NewCounterVec(prometheus.CounterOpts{Name: "samsa_auth_checks_total", Help: "Calls checked, by what came of it."}, []string{"result"}),
		lookups: f.NewCounterVec(prometheus.CounterOpts{Name: "samsa_auth_lookups_total", Help: "Access tokens looked up in Postgres, by what came of it."}, []string{"result"}),
		known:   f.NewGauge(prometheus.GaugeOpts{Name: "samsa_auth_known_tokens", Help: "Valid access tokens that are remembered."}),
	}
}

func (m *Metrics) verified(err error) {
	if m != nil {
		m.checks.WithLabelValues(result(err)).Inc()
	}
}

func (m *Metrics) denied() {
	if m != nil {
		m.checks.WithLabelValues("denied").Inc()
	}
}

func (m *Metrics) lookedUp(err error) {
	if m != nil {
		m.lookups.WithLabelValues(result(err)).Inc()
	}
}

func (m *Metrics) knows(n int) {
	if m != nil {
		m.known.Set(float64(n))
	}
}

// result has a bounded set of values, none of which tells of a token.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrMissing):
		return "missing"
	case errors.Is(err, ErrMalformed):
		return "malformed"
	case errors.Is(err, ErrInvalid):
		return "invalid"
	case errors.Is(err, ErrExpired):
		return "expired"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	}
	return "other"
}
