// Package app wires the stream-writer.
package app

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/services/stream-writer/config"
	"github.com/samsa-io/samsa/services/stream-writer/internal/announce"
	"github.com/samsa-io/samsa/services/stream-writer/internal/naming"
	"github.com/samsa-io/samsa/services/stream-writer/internal/ownership"
	"github.com/samsa-io/samsa/services/stream-writer/internal/recent"
	"github.com/samsa-io/samsa/services/stream-writer/internal/registration"
	"github.com/samsa-io/samsa/services/stream-writer/internal/server"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Module is the stream-writer; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("stream-writer",
		fx.Supply(c, fx.Private),
		fx.Provide(
			listener, newManager, newRecords, newAnnouncer, writer.NewMetrics, newWriter, newAdmission,
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
		AnswerTimeout: c.Writer.OwnerTimeout(), PlannedTimeout: 10 * time.Second,
		Interval: 5 * time.Second,
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

func newAdmission(c config.Config, reg prometheus.Registerer) (*server.Admission, error) {
	return server.NewAdmission(c.Platform.Storage.MaxInflightBytes, c.Writer.AdmissionWait(), reg)
}

func newCluster(w *writer.Writer, m *ownership.Manager, r *recent.Records, cluster objstore.Cluster) *server.Cluster {
	return server.NewCluster(w, m, r, cluster.Shards)
}

type writerIn struct {
	fx.In
	Config       config.Config
	Address      address
	Cluster      objstore.Cluster
	Store        objstore.Store
	Catalog      *catalog.Catalog
	Manager      *ownership.Manager
	Records      *recent.Records
	Announcer    *announce.Announcer
	Registration *registration.Incarnation
	Metrics      *writer.Metrics
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
		PutTimeout: s.PutTimeout(), Reads: 64,
	}, in.Store, naming.New(in.Catalog), in.Manager, in.Log.Named("writer"), in.Metrics,
		in.Records, in.Announcer, in.Manager, in.Registration)
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
	Registration *registration.Incarnation
	Streams      *server.Streams
	Cluster      *server.Cluster
	Log          *zap.Logger
}

// run starts the writer, then its server; the server stops first.
func run(in runIn) error {
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	in.Lifecycle.Append(fx.StartStopHook(func() {
		loops.Go(func() { runWriter(ctx, in) })
		loops.Go(func() { in.Manager.Run(ctx, in.Writer) })
		loops.Go(func() { in.Announcer.Run(ctx) })
	}, func() {
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
