// Package app wires the compactor.
package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/pkg/telemetry"
	"github.com/samsa-io/samsa/services/compactor/compaction"
	"github.com/samsa-io/samsa/services/compactor/config"
	"github.com/samsa-io/samsa/services/compactor/internal/census"
	"github.com/samsa-io/samsa/services/compactor/internal/worker"
	"github.com/samsa-io/samsa/services/compactor/survey"
)

// censusInterval lies between two counts of what the database holds.
const censusInterval = 15 * time.Second

// jobSlots bounds a job by its requests, should segments be tiny.
const jobSlots = 4096

// Module is the compactor; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("compactor",
		fx.Supply(fx.Private, c),
		fx.Decorate(func(log *zap.Logger) *zap.Logger { return log.Named("compactor") }),
		fx.Provide(fx.Private, newIndex, newCompactor, newRounds, newCensus),
		fx.Invoke(work, serve),
	)
}

func newIndex(pool *pgxpool.Pool) *chunkindex.DB { return chunkindex.New(pool, 0) }

func newCensus(names *catalog.Catalog, index *chunkindex.DB, log *zap.Logger, reg prometheus.Registerer) *census.Census {
	return census.New(names, index, log, reg)
}

func newCompactor(
	c config.Config, store objstore.Store, index *chunkindex.DB, cluster objstore.Cluster,
	registry *discovery.Registry, log *zap.Logger, reg prometheus.Registerer,
) *compaction.Compactor {
	members, writers := registry.Watch(discovery.RoleCompactor), registry.Watch(discovery.RoleStreamWriter)
	return compaction.New(store, index, compaction.Options{
		Shards: cluster.Shards, JobBytes: c.Compactor.JobBytes, JobSlots: jobSlots, ChunkBytes: int(c.Compactor.TargetChunkBytes),
		LiveBytes: c.Compactor.LiveBytes, LiveAge: c.Compactor.LiveAge(),
		Grace: c.Platform.Storage.CleanupGrace(), Abandon: c.Compactor.Abandon(),
		SealAge: c.Compactor.SealAge(), Registered: registered(writers.Snapshot),
		Parallel: int(c.Compactor.Parallel), Now: time.Now,
		Mine: mine(members.Snapshot, c.Platform.Server.Instance()),
	}, log, compaction.NewMetrics(reg))
}

// rounds are a compactor's, and what it does about an index that is behind.
type rounds struct {
	*compaction.Compactor
	survey  *survey.Survey
	index   *chunkindex.DB
	catalog *catalog.Catalog
	mine    func(uint32) bool
	turn    int // of Reconcile
	rebuilt prometheus.Counter
	log     *zap.Logger
}

// rebuildTimeout bounds a call on the index while it is rebuilt.
const rebuildTimeout = 6 * time.Hour

func newRounds(
	c config.Config, compactor *compaction.Compactor, store objstore.Store, cluster objstore.Cluster, pool *pgxpool.Pool,
	names *catalog.Catalog, registry *discovery.Registry, log *zap.Logger, reg prometheus.Registerer,
) *rounds {
	members := registry.Watch(discovery.RoleCompactor)
	rebuilt := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "samsa_compactor_rebuilds_total", Help: "Times that the chunk index was behind the object store and was made again."})
	reg.MustRegister(rebuilt)
	return &rounds{
		Compactor: compactor, survey: survey.New(store, cluster.Shards, int(4*c.Compactor.Parallel)),
		index: chunkindex.New(pool, rebuildTimeout), catalog: names, rebuilt: rebuilt, log: log,
		mine: mine(members.Snapshot, c.Platform.Server.Instance()),
	}
}

// Rebuild makes the index again, and with it what the catalog has lost: both are in
// the one database that was put back.
func (r *rounds) Rebuild(ctx context.Context) error {
	report, err := r.survey.RebuildIfHalted(ctx, r.index, r.catalog)
	if err != nil || !report.Done {
		return err
	}
	r.rebuilt.Inc()
	for _, d := range report.Damage {
		r.log.Error("damage that was found while the chunk index was rebuilt", zap.Error(d))
	}
	r.log.Warn("rebuilt the chunk index from the object store",
		zap.Int("chunks", report.Chunks), zap.Int("chunk_objects", report.Objects), zap.Int("streams", len(report.Known.Alive)),
		zap.Int("streams_restored", report.Catalog.Added), zap.Int("streams_reconfigured", report.Catalog.Reconfigured), zap.Int("streams_replaced", report.Catalog.Replaced),
		zap.Int("streams_deleting", report.Catalog.Deleting),
		zap.Int("buckets_deleting", report.Catalog.DeletingBuckets), zap.Int("streams_without_bucket", len(report.Catalog.Homeless)))
	return nil
}

// reconcileTurns is in how many turns all shards are compared with the catalog, but for
// the first: that costs a look at the row of each of their streams.
const reconcileTurns = 8

// Reconcile finds out whether the catalog was put back to an older backup, and brings
// it up to date.
func (r *rounds) Reconcile(ctx context.Context) error {
	turn := r.turn
	r.turn++
	restored, err := r.survey.Reconcile(ctx, r.index, r.catalog, func(shard stream.Shard) bool {
		return r.mine(uint32(shard)) && (turn == 0 || int(shard)%reconcileTurns == turn%reconcileTurns)
	})
	if err == nil && restored.Changed() {
		r.log.Warn("the catalog was behind the object store, and was brought up to it",
			zap.Int("streams_restored", restored.Added), zap.Int("streams_reconfigured", restored.Reconfigured), zap.Int("streams_replaced", restored.Replaced),
			zap.Int("streams_deleting", restored.Deleting), zap.Int("buckets_deleting", restored.DeletingBuckets),
			zap.Int("streams_without_bucket", len(restored.Homeless)))
	}
	return err
}

// registered tells whether a living writer is known to write to a log.
func registered(writers func() []discovery.Member) func(stream.Incarnation) bool {
	return func(log stream.Incarnation) bool {
		return slices.ContainsFunc(writers(), func(m discovery.Member) bool { return m.Incarnation == log.String() })
	}
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
func work(lc fx.Lifecycle, c config.Config, rounds *rounds, counts *census.Census, pool *pgxpool.Pool, migration *service.Migration, health *telemetry.Health, log *zap.Logger) {
	component := health.Component("chunk index")
	component.Degraded("waiting for Postgres")
	w := worker.New(rounds, c.Compactor.Interval(), c.Platform.Storage.CleanupInterval(), component.Report, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.StartStopHook(func() {
		go func() {
			defer close(ended)
			if migrate(ctx, pool, migration, component, log) {
				var loops sync.WaitGroup
				loops.Go(func() { counts.Run(ctx, censusInterval) })
				w.Run(ctx)
				loops.Wait()
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
