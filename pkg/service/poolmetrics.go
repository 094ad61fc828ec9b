package service

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// poolMetrics shows a database pool's own figures.
type poolMetrics struct {
	pool                          *pgxpool.Pool
	connections, most             *prometheus.Desc
	acquired, waited, waitSeconds *prometheus.Desc
	opened                        *prometheus.Desc
}

func newPoolMetrics(pool *pgxpool.Pool) *poolMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("samsa_postgres_"+name, help, labels, nil)
	}
	return &poolMetrics{
		pool:        pool,
		connections: desc("connections", "Connections to Postgres, by what they do: idle, in use, being opened.", "state"),
		most:        desc("max_connections", "The most connections that this program opens: database.max_connections."),
		acquired:    desc("acquires_total", "Times that a connection was taken from the pool."),
		waited:      desc("acquire_waits_total", "Times that one had to wait because none was idle."),
		waitSeconds: desc("acquire_duration_seconds_total", "Time spent on taking connections."),
		opened:      desc("opened_connections_total", "Connections opened."),
	}
}

// Describe implements prometheus.Collector.
func (m *poolMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m *poolMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.pool.Stat()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(m.connections, float64(s.IdleConns()), "idle")
	gauge(m.connections, float64(s.AcquiredConns()), "used")
	gauge(m.connections, float64(s.ConstructingConns()), "opening")
	gauge(m.most, float64(s.MaxConns()))
	count(m.acquired, float64(s.AcquireCount()))
	count(m.waited, float64(s.EmptyAcquireCount()))
	count(m.waitSeconds, s.AcquireDuration().Seconds())
	count(m.opened, float64(s.NewConnsCount()))
}
