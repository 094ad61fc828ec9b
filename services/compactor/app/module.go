// Package app wires the compactor.
package app

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/pkg/telemetry"
	"github.com/samsa-io/samsa/services/compactor/config"
	"github.com/samsa-io/samsa/services/compactor/internal/compaction"
	"github.com/samsa-io/samsa/services/compactor/internal/worker"
)

// jobSlots bounds a job by its requests, should segments be tiny.
const jobSlots = 4096

// Module is the compactor; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("compactor",
		fx.Supply(fx.Private, c),
		fx.Decorate(func(log *zap.Logger) *zap.Logger { return log.Named("compactor") }),
		fx.Provide(fx.Private, newIndex, newCompactor),
		fx.Invoke(work, serve),
	)
}

func newIndex(pool *pgxpool.Pool) *chunkindex.DB { return chunkindex.New(pool, 0) }

func newCompactor(
	c config.Config, store objstore.Store, index *chunkindex.DB, cluster objstore.Cluster,
	registry *discovery.Registry, log *zap.Logger, reg prometheus.Registerer,
) *compaction.Compactor {
	members := registry.Watch(discovery.RoleCompactor)
	return compaction.New(store, index, compaction.Options{
		Shards: cluster.Shards, JobBytes: c.Compactor.JobBytes, JobSlots: jobSlots, ChunkBytes: int(c.Compactor.TargetChunkBytes),
		LiveBytes: c.Compactor.LiveBytes, LiveAge: c.Compactor.LiveAge(),
		Grace: c.Platform.Storage.CleanupGrace(), Abandon: c.Compactor.Abandon(),
		Parallel: int(c.Compactor.Parallel), Now: time.Now,
		Mine: mine(members.Snapshot, c.Platform.Server.Instance()),
	}, log, compaction.NewMetrics(reg))
}

// mine shares the work by rank. Who cannot see itself among the others does all:
// work that is done twice does no harm, work that nobody does would.
func mine(members func() []discovery.Member, self string) func(uint32) bool {
	return func(key uint32) bool {
		all := members()
		for _, m := range all {
			if m.Instance == self {
				return discovery.Rank(stream.Shard(key), all)[0].Instance == self
			}
		}
		return true
	}
}

// work runs the rounds once the catalog is known to be this cluster's and the index
// has its tables.
func work(lc fx.Lifecycle, c config.Config, rounds *compaction.Compactor, pool *pgxpool.Pool, migration *service.Migration, health *telemetry.Health, log *zap.Logger) {
	component := health.Component("chunk index")
	component.Degraded("waiting for Postgres")
	w := worker.New(rounds, c.Compactor.Interval(), c.Platform.Storage.CleanupInterval(), component.Report, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.StartStopHook(func() {
		go func() {
			defer close(ended)
			if migrate(ctx, pool, migration, component, log) {
				w.Run(ctx)
			}
		}()
	}, func() {
		cancel()
		<-ended
	}))
}

// migrate makes the tables, however long that takes; false: ctx has ended.
func migrate(ctx context.Context, pool *pgxpool.Pool, migration *service.Migration, component *telemetry.Component, log *zap.Logger) bool {
	select {
	case <-migration.Done():
	case <-ctx.Done():
		return false
	}
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		err := chunkindex.Migrate(ctx, pool)
		if ctx.Err() != nil {
			return false
		}
		component.Report(err)
		if err == nil {
			return true
		}
		log.Warn("cannot bring the chunk index up to date; trying again", zap.Error(err))
		select {
		case <-retry.C:
		case <-ctx.Done():
			return false
		}
	}
}

// serve makes the compactor known to the others: it answers health checks alone.
func serve(lc fx.Lifecycle, c config.Config, host *service.Host) error {
	_, err := host.Serve(lc, service.Endpoint{
		Role: discovery.RoleCompactor, Listen: c.Compactor.Listen, Register: func(*grpc.Server) {},
	})
	return err
}
