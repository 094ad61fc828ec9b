// Package app wires the stream-writer.
package app

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/services/stream-writer/announce"
	"github.com/samsa-io/samsa/services/stream-writer/config"
	"github.com/samsa-io/samsa/services/stream-writer/internal/expiry"
	"github.com/samsa-io/samsa/services/stream-writer/internal/naming"
	"github.com/samsa-io/samsa/services/stream-writer/internal/ownership"
	"github.com/samsa-io/samsa/services/stream-writer/internal/registration"
	"github.com/samsa-io/samsa/services/stream-writer/internal/server"
	"github.com/samsa-io/samsa/services/stream-writer/internal/storetime"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

// Module is the stream-writer; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("stream-writer",
		fx.Supply(c, fx.Private),
		fx.Provide(
			listener, newManager, newRecords, newAnnouncer, writer.NewMetrics, newWriter, newAdmission, newLimitMetrics, newRates, newQuestions,
			newNaming, newClock, newFinder, expiry.NewMetrics, newExpiry,
			server.NewStreams, newCluster, registration.New,
			fx.Private,
		),
		fx.Invoke(run),
	)
}

// address is where other services reach this one.
type address string

func listener(lc fx.Lifecycle, c config.Config, host *service.Host) (net.Listener, address, error) {
	ln, err := host.Listen(lc, c.Writer.Listen)
	if err != nil {
		return nil, "", err
	}
	return ln, address(host.Advertised(ln)), nil
}

func newManager(c config.Config, at address, cluster objstore.Cluster, registry *discovery.Registry, dialer *rpc.Dialer, log *zap.Logger) *ownership.Manager {
	return ownership.New(ownership.Config{
		Instance: c.Platform.Server.Instance(), Address: string(at), Shards: cluster.Shards,
		Parallel: 16, PlannedParallel: 2,
		AnswerTimeout: c.Writer.OwnerTimeout(), NeededTimeout: 5 * c.Writer.OwnerTimeout(), PlannedTimeout: 10 * time.Second,
		HoldOff: 5 * time.Second, Settle: time.Second, Interval: 5 * time.Second,
	}, registry.Watch(discovery.RoleStreamWriter), dialer, log.Named("ownership"))
}

func newRecords(c config.Config) *recent.Records {
	return recent.New(c.Platform.Storage.RecentBytes, c.Writer.IndexBytes)
}

func newAnnouncer(c config.Config, bus *notify.Bus) *announce.Announcer {
	return announce.New(announce.Config{
		Instance: c.Platform.Server.Instance(), InlineBytes: c.Writer.InlineBytes, Queue: 64,
	}, bus)
}

func newNaming(names *catalog.Catalog) *naming.Catalog { return naming.New(names) }

// clockAge is how long the store's time is carried on before it is asked again.
const clockAge = time.Minute

func newClock(store objstore.Store) *storetime.Clock { return storetime.New(store, clockAge) }

// indexPatience bounds a lookup in the chunk index: footers may serve as well.
const indexPatience = 2 * time.Second

// newFinder has small caches: what expires is looked at once in a long while.
func newFinder(r *recent.Records, store objstore.Store, pool *pgxpool.Pool) *expiry.Finder {
	footers := logindex.LocatorConfig{FooterCacheBytes: 8 << 20, StateCacheBytes: 8 << 20, InflightBytes: 16 << 20, Parallel: 8}
	older := history.New(chunkindex.New(pool, indexPatience), logindex.NewLocator(store, footers), 1<<20)
	return expiry.NewFinder(r, older, store)
}

func newExpiry(c config.Config, clock *storetime.Clock, finder *expiry.Finder, m *expiry.Metrics, log *zap.Logger) *expiry.Expiry {
	cfg := expiry.DefaultConfig()
	cfg.Interval = c.Platform.Storage.CleanupInterval()
	return expiry.New(cfg, clock, finder, m, log.Named("expiry"))
}

func newAdmission(c config.Config, reg prometheus.Registerer) (*server.Admission, error) {
	s := c.Platform.Storage
	return server.NewAdmission(server.AdmissionConfig{
		// Two rounds of segments: one under way to the store, one filling up.
		Bytes: s.MaxInflightBytes, Floor: min(2*int64(s.BatchMaxBytes), s.MaxInflightBytes),
		Queue: c.Writer.MaxQueue(), Patience: c.Writer.AdmissionWait(),
	}, reg)
}

func newLimitMetrics(reg prometheus.Registerer) (*limit.Metrics, error) {
	return limit.NewMetrics("stream_writer", reg)
}

func newRates(c config.Config, m *limit.Metrics) *limit.Rates {
	w := c.Writer
	return limit.NewRates(limit.Rate{Requests: w.StreamRequests, Records: w.StreamRecords, Bytes: w.StreamBytes}, "stream_writer.stream", m)
}

func newQuestions(c config.Config, w *writer.Writer, m *limit.Metrics) *server.Questions {
	return server.NewQuestions(w, c.Writer.MaxQuestions, m)
}

func newCluster(w *writer.Writer, q *server.Questions, m *ownership.Manager, e *registration.Registration, r *recent.Records, clock *storetime.Clock, cluster objstore.Cluster) *server.Cluster {
	return server.NewCluster(w, q, m, e, r, clock, cluster.Shards)
}

type writerIn struct {
	fx.In
	Config       config.Config
	Address      address
	Cluster      objstore.Cluster
	Store        objstore.Store
	Naming       *naming.Catalog
	Manager      *ownership.Manager
	Records      *recent.Records
	Announcer    *announce.Announcer
	Registration *registration.Registration
	Expiry       *expiry.Expiry
	Metrics      *writer.Metrics
	Tracer       trace.TracerProvider
	Log          *zap.Logger
}

func newWriter(in writerIn) *writer.Writer {
	s := in.Config.Platform.Storage
	return writer.New(writer.Config{
		Log: shardlog.Config{
			Instance: in.Config.Platform.Server.Instance(), Address: string(in.Address), Shards: in.Cluster.Shards,
			Window: s.Window, BatchBytes: s.BatchMaxBytes, BatchRecords: s.BatchSize,
			StandardLinger: s.BatchFlushInterval(), RetryDelay: 20 * time.Millisecond, StateSlots: in.Config.Writer.StateSlots,
		},
		PutTimeout: s.PutTimeout(), Reads: 64, RollInterval: s.RollInterval(), RollBytes: s.RollBytes, Tracer: in.Tracer,
	}, in.Store, in.Naming, in.Manager, in.Log.Named("writer"), in.Metrics,
		in.Records, in.Announcer, in.Manager, in.Registration, in.Expiry)
}

type runIn struct {
	fx.In
	Lifecycle    fx.Lifecycle
	Shutdowner   fx.Shutdowner
	Host         *service.Host
	Listener     net.Listener
	Writer       *writer.Writer
	Manager      *ownership.Manager
	Announcer    *announce.Announcer
	Expiry       *expiry.Expiry
	Naming       *naming.Catalog
	Registration *registration.Registration
	Streams      *server.Streams
	Cluster      *server.Cluster
	Log          *zap.Logger
}

// retireBudget is how long a writer that stops has to seal its log; if it cannot, a
// compactor does after a while.
const retireBudget = 3 * time.Second

// run starts the writer, then its server; the server stops first.
func run(in runIn) error {
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	in.Lifecycle.Append(fx.StartStopHook(func() {
		loops.Go(func() { runWriter(ctx, in) })
		loops.Go(func() { in.Manager.Run(ctx, in.Writer) })
		loops.Go(func() { in.Announcer.Run(ctx) })
		loops.Go(func() { in.Expiry.Run(ctx, in.Writer) })
		loops.Go(func() { in.Naming.Run(ctx) })
	}, func() {
		retire(in)
		cancel()
		loops.Wait()
	}))
	running, err := in.Host.Serve(in.Lifecycle, service.Endpoint{
		Role: discovery.RoleStreamWriter, Listener: in.Listener,
		Register: func(s *grpc.Server) {
			samsav1.RegisterStreamServiceServer(s, in.Streams)
			clusterv1.RegisterWriterServiceServer(s, in.Cluster)
		},
		Drain:       in.Manager.Drain,
		DrainBudget: 8 * time.Second,
	})
	if err != nil {
		return err
	}
	in.Registration.Attach(running)
	return nil
}

// retire has the writer seal its log, that of shards which nobody would take too.
func retire(in runIn) {
	in.Manager.Leave()
	ctx, cancel := context.WithTimeout(context.Background(), retireBudget)
	defer cancel()
	if err := in.Writer.Retire(ctx); err != nil {
		in.Log.Warn("leaves its log to be sealed by others", zap.Error(err))
	}
}

func runWriter(ctx context.Context, in runIn) {
	err := in.Writer.Run(ctx)
	if err == nil {
		return
	}
	in.Log.Error("the writer ended", zap.Error(err))
	if err := in.Shutdowner.Shutdown(fx.ExitCode(service.ExitFailed)); err != nil {
		in.Log.Error("cannot ask the program to stop", zap.Error(err))
	}
}
