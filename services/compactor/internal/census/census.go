// Package census counts what the database holds and shows it as metrics: streams,
// chunks, bytes stored, deletions that are due. Every compactor shows the same.
package census

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/chunkindex"
)

// Catalog counts buckets and streams.
type Catalog interface {
	Totals(ctx context.Context) (catalog.Totals, error)
}

// Index counts chunks.
type Index interface {
	Totals(ctx context.Context) (chunkindex.Totals, error)
}

// Census counts now and then.
type Census struct {
	catalog Catalog
	index   Index
	log     *zap.Logger

	buckets, streams, unapplied             prometheus.Gauge
	pending                                 *prometheus.GaugeVec
	chunks, objects, bytes, liveBytes, logs prometheus.Gauge
}

// New makes a Census that shows what it counts through reg.
func New(c Catalog, i Index, log *zap.Logger, reg prometheus.Registerer) *Census {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "samsa_" + name, Help: help})
	}
	s := &Census{
		catalog: c, index: i, log: log,
		buckets:   gauge("catalog_buckets", "Buckets, those being deleted included."),
		streams:   gauge("catalog_streams", "Streams, those being deleted included; estimated where there are many."),
		unapplied: gauge("catalog_unapplied_streams", "Streams whose newest configuration is not in effect yet."),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "samsa_catalog_pending_deletions", Help: "Buckets, streams and chunk objects that are being deleted."}, []string{"kind"}),
		chunks:    gauge("chunkindex_rows", "Rows of the chunk index; estimated where there are many."),
		objects:   gauge("chunkindex_objects", "Chunk objects in use."),
		bytes:     gauge("chunkindex_stored_bytes", "Bytes of blocks in the chunk objects in use."),
		liveBytes: gauge("chunkindex_live_bytes", "Part of them that is still to be read: the rest is trimmed, expired or deleted."),
		logs:      gauge("chunkindex_logs", "Logs of which slots are left in the store."),
	}
	reg.MustRegister(s.buckets, s.streams, s.unapplied, s.pending, s.chunks, s.objects, s.bytes, s.liveBytes, s.logs)
	return s
}

// Run counts at once and then after each interval, until ctx ends.
func (s *Census) Run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := s.Count(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("cannot count what the database holds", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Count counts once. After an error the figures are those of before.
func (s *Census) Count(ctx context.Context) error {
	names, err := s.catalog.Totals(ctx)
	if err != nil {
		return err
	}
	chunks, err := s.index.Totals(ctx)
	if err != nil {
		return err
	}
	s.buckets.Set(float64(names.Buckets))
	s.streams.Set(float64(names.Streams))
	s.unapplied.Set(float64(names.UnappliedStreams))
	s.pending.WithLabelValues("bucket").Set(float64(names.DeletingBuckets))
	s.pending.WithLabelValues("stream").Set(float64(names.DeletingStreams))
	s.pending.WithLabelValues("chunk_object").Set(float64(chunks.Removed))
	s.chunks.Set(float64(chunks.Chunks))
	s.objects.Set(float64(chunks.Objects))
	s.bytes.Set(float64(chunks.Bytes))
	s.liveBytes.Set(float64(chunks.LiveBytes))
	s.logs.Set(float64(chunks.Logs))
	return nil
}
