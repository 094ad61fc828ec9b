// Package app wires the stream-reader.
package app

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/services/stream-reader/bus"
	"github.com/samsa-io/samsa/services/stream-reader/config"
	"github.com/samsa-io/samsa/services/stream-reader/internal/server"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/owner"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// Module is the stream-reader; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("stream-reader",
		fx.Supply(fx.Private, c),
		fx.Decorate(func(log *zap.Logger) *zap.Logger { return log.Named("reader") }),
		fx.Provide(fx.Private, newOwner, newBlocks, newLocator, newHub, newService, newLimits, server.New),
		fx.Invoke(serve),
	)
}

func newOwner(c config.Config, router *shardroute.Router, cluster objstore.Cluster) *owner.Client {
	return owner.New(owner.Config{Shards: cluster.Shards, Wait: c.Reader.OwnerTimeout()}, router)
}

func newBlocks(c config.Config, store objstore.Store, reg prometheus.Registerer) *logindex.Blocks {
	blocks := logindex.DefaultBlocksConfig()
	blocks.CacheBytes, blocks.InflightBytes = c.Reader.CacheBytes, c.Reader.FetchBytes-footerFetchBytes(c)
	return logindex.NewBlocks(store, blocks, reg)
}

// footerFetchBytes is the part of fetch_bytes that is for footers.
func footerFetchBytes(c config.Config) int64 { return c.Reader.FetchBytes / 4 }

// indexPatience bounds a lookup in the chunk index: footers may serve as well.
const indexPatience = 2 * time.Second

func newLocator(c config.Config, store objstore.Store, pool *pgxpool.Pool) *history.Locator {
	locator := logindex.DefaultLocatorConfig()
	locator.FooterCacheBytes, locator.StateCacheBytes = c.Reader.FooterCacheBytes/2, c.Reader.FooterCacheBytes/4
	locator.InflightBytes = footerFetchBytes(c)
	return history.New(chunkindex.New(pool, indexPatience), logindex.NewLocator(store, locator), c.Reader.FooterCacheBytes/4)
}

func newHub(lc fx.Lifecycle, c config.Config, o *owner.Client, blocks *logindex.Blocks, n *notify.Bus, tracer trace.TracerProvider, log *zap.Logger, reg prometheus.Registerer) *live.Hub {
	cfg := live.DefaultConfig()
	cfg.RingBytes, cfg.TotalBytes, cfg.Concurrency = c.Reader.RingBytes, c.Reader.LiveBytes, int(c.Reader.Parallel)
	cfg.Silence, cfg.Poll, cfg.Recheck = c.Reader.Silence(), c.Reader.Poll(), c.Reader.Recheck()
	cfg.Tracer = tracer
	hub := live.NewHub(cfg, o, blocks, bus.New(n, log), log, live.NewMetrics(reg))
	lc.Append(fx.StopHook(hub.Close))
	return hub
}

func newService(c config.Config, cluster objstore.Cluster, o *owner.Client, locator *history.Locator, blocks *logindex.Blocks, hub *live.Hub, tracer trace.TracerProvider, reg prometheus.Registerer) *read.Service {
	cfg := read.DefaultConfig()
	cfg.Shards, cfg.MaxSessions, cfg.CatchUpBytes = cluster.Shards, c.Reader.MaxSessions, c.Reader.CatchUpBytes
	cfg.Heartbeat, cfg.Tracer = c.Reader.Heartbeat(), tracer
	return read.New(cfg, o, locator, blocks, hub, reg)
}

func newLimits(c config.Config, reg prometheus.Registerer) (server.Limits, error) {
	metrics, err := limit.NewMetrics("stream_reader", reg)
	if err != nil {
		return server.Limits{}, err
	}
	r := c.Reader
	return server.Limits{
		Rates:       limit.NewRates(limit.Rate{Requests: r.StreamRequests, Records: r.StreamRecords, Bytes: r.StreamBytes}, "stream_reader.stream", metrics),
		Subscribers: limit.NewPlaces(r.StreamSessions, "read sessions of one stream at a reader", "stream_reader.stream_sessions", metrics),
	}, nil
}

// serve comes last, so that it stops first: live sessions end with a hint to come
// again elsewhere.
func serve(lc fx.Lifecycle, c config.Config, host *service.Host, reads *read.Service, s *server.Server) error {
	_, err := host.Serve(lc, service.Endpoint{
		Role: discovery.RoleStreamReader, Listen: c.Reader.Listen, Register: s.Register,
		Drain: func(context.Context) error {
			reads.Stop()
			return nil
		},
	})
	return err
}
