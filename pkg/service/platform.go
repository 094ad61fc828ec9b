package service

import (
	"context"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"google.golang.org/grpc/resolver"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

// StartTimeout bounds the start hooks of an app.
const StartTimeout = 2 * time.Minute

// PlatformOption changes what Platform does.
type PlatformOption func(*platform)

// WithLoaded has the effective configuration logged at the start.
func WithLoaded(l *config.Loaded) PlatformOption { return func(p *platform) { p.loaded = l } }

// WithLogger uses a logger that exists instead of making one.
func WithLogger(log *zap.Logger) PlatformOption { return func(p *platform) { p.log = log } }

type platform struct {
	config Config
	loaded *config.Loaded
	log    *zap.Logger // nil: by config
}

// Platform provides what services share, each part built only when something
// asks for it: *zap.Logger, *prometheus.Registry (also as Registerer and
// Gatherer), trace.TracerProvider, *telemetry.Health, *telemetry.Admin, objstore.Store,
// objstore.Cluster, *pgxpool.Pool, *catalog.Catalog, *Migration,
// *clientv3.Client, *nats.Conn, *notify.Bus, *discovery.Registry, *rpc.Inproc, *rpc.Dialer,
// *shardroute.Router, *Security, *Host. It runs the admin server and sets the app's time-outs.
//
// Give it to fx.New before the services, and those as fx.Module: fx runs what a
// module invokes in the order of the modules, and stops in reverse.
func Platform(c Config, options ...PlatformOption) fx.Option {
	p := &platform{config: c}
	for _, option := range options {
		option(p)
	}
	guard := any(p.noGuard)
	if c.Auth.Enabled {
		guard = p.newGuard
	}
	return fx.Options(
		fx.StartTimeout(StartTimeout),
		fx.StopTimeout(StopTimeout),
		fx.WithLogger(func(log *zap.Logger) fxevent.Logger {
			quiet := &fxevent.ZapLogger{Logger: log.Named("fx")}
			quiet.UseLogLevel(zap.DebugLevel)
			return quiet
		}),
		fx.Supply(c),
		// A module, because fx runs what modules invoke before what the app does: so
		// the admin server is there before the services and after them.
		fx.Module("platform",
			fx.Provide(
				p.logger, p.registry, p.tracer, p.admin, telemetry.NewHealth, rpc.NewMetrics, rpc.NewInproc,
				p.store, cluster, p.postgres, newCatalog, newMigration,
				p.etcd, p.discovery, p.nats, newBus, guard, p.security, newDialer, newShardRouter, p.host,
			),
			fx.Invoke(p.announce),
		),
	)
}

func (p *platform) logger(lc fx.Lifecycle) (*zap.Logger, error) {
	if p.log != nil {
		return p.log, nil
	}
	log, err := telemetry.NewLogger(p.config.Observability, os.Stderr)
	if err != nil {
		return nil, err
	}
	// Syncing a terminal or a pipe fails on some systems, and needs no sync.
	lc.Append(fx.StopHook(func() { _ = log.Sync() }))
	return log, nil
}

type registryOut struct {
	fx.Out
	Registry   *prometheus.Registry
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
}

func (p *platform) registry() registryOut {
	reg := telemetry.NewRegistry(Version())
	return registryOut{Registry: reg, Registerer: reg, Gatherer: reg}
}

func (p *platform) tracer(lc fx.Lifecycle, log *zap.Logger) (trace.TracerProvider, error) {
	provider, stop, err := telemetry.NewTracer(context.Background(), p.config.Observability, telemetry.Process{
		Service: p.config.Observability.ServiceName, Instance: p.config.Server.Instance(), Version: Version(),
	})
	if err != nil {
		return nil, err
	}
	// A collector that is away costs spans, not a clean end.
	lc.Append(fx.StopHook(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if err := stop(ctx); err != nil {
			log.Warn("the last spans were not sent", zap.String("otel_endpoint", config.RedactURLs(p.config.Observability.OtelEndpoint)), zap.Error(err))
		}
	}))
	return provider, nil
}

// admin is the first to start and the last to stop, so that /readyz tells about
// both.
func (p *platform) admin(lc fx.Lifecycle, metrics prometheus.Gatherer, health *telemetry.Health, log *zap.Logger) *telemetry.Admin {
	port := p.config.Observability.MetricsPort
	admin := telemetry.NewAdmin(net.JoinHostPort(p.config.Server.Address, strconv.Itoa(port)), metrics, health, log.Named("admin"))
	if port < 0 {
		return admin
	}
	lc.Append(fx.StartStopHook(admin.Start, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return admin.Stop(ctx)
	}))
	return admin
}

// announce logs what runs, with every value that is not a default.
func (p *platform) announce(log *zap.Logger, _ *telemetry.Admin, health *telemetry.Health, reg prometheus.Registerer) {
	reg.MustRegister(telemetry.NewHealthCollector(health))
	fields := []zap.Field{zap.String("version", Version()), zap.String("instance", p.config.Server.Instance())}
	if p.loaded != nil {
		fields = append(fields, zap.String("config_file", p.loaded.File()))
		for _, v := range p.loaded.Changed() {
			fields = append(fields, zap.String(v.Key, v.Value))
		}
	}
	log.Info("starting", fields...)
}

func newDialer(lc fx.Lifecycle, inproc *rpc.Inproc, registry *discovery.Registry, security *Security, m *rpc.Metrics, tracer trace.TracerProvider) (*rpc.Dialer, error) {
	perCall, err := security.callCredentials()
	if err != nil {
		return nil, err
	}
	dialer := rpc.NewDialer(rpc.DialerConfig{
		Inproc: inproc, Resolvers: []resolver.Builder{registry.Resolver()}, Metrics: m, Tracer: tracer,
		Credentials: security.dialCredentials(), PerCall: perCall,
	})
	lc.Append(fx.StopHook(dialer.Close))
	return dialer, nil
}

func newShardRouter(lc fx.Lifecycle, registry *discovery.Registry, dialer *rpc.Dialer, cluster objstore.Cluster, reg prometheus.Registerer, log *zap.Logger) *shardroute.Router {
	router := shardroute.New(registry.Watch(discovery.RoleStreamWriter), dialer, shardroute.Options{
		Shards: cluster.Shards, Log: log.Named("shardroute"), Registerer: reg,
	})
	lc.Append(fx.StopHook(router.Close))
	return router
}

func (p *platform) host(registry *discovery.Registry, in hostIn) *Host {
	return newHost(p.config.Server, registry, in)
}

func (p *platform) discovery(lc fx.Lifecycle, client *clientv3.Client, health *telemetry.Health, reg prometheus.Registerer, log *zap.Logger) *discovery.Registry {
	registry := discovery.New(client, discovery.Options{
		Prefix: p.config.Server.EtcdPrefix, Heartbeat: p.config.Server.Heartbeat(), LeaseTTL: p.config.Server.LeaseTTL(),
		Log: log.Named("discovery"), Registerer: reg,
	})
	health.Watch("etcd", registry.Err)
	lc.Append(fx.StopHook(registry.Close))
	return registry
}

// version is set by the linker, in images.
var version string

// Version is the version that the program was built as.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
