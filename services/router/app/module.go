// Package app wires the router.
package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/pkg/telemetry"
	"github.com/samsa-io/samsa/services/router/config"
	"github.com/samsa-io/samsa/services/router/internal/admin"
	"github.com/samsa-io/samsa/services/router/internal/backends"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/quota"
	"github.com/samsa-io/samsa/services/router/internal/rest"
	"github.com/samsa-io/samsa/services/router/internal/route"
	"github.com/samsa-io/samsa/services/router/internal/server"
)

// Module is the router. It stops in this order: sessions end with a hint to try
// again, HTTP requests end, gRPC calls end, and with them the inner connection.
func Module(c config.Config) fx.Option {
	return fx.Module("router",
		fx.Supply(fx.Private, c),
		fx.Decorate(func(log *zap.Logger) *zap.Logger { return log.Named("router") }),
		fx.Provide(func() *Listening { return &Listening{} }),
		fx.Provide(fx.Private, newBackends, newAdmin, newLimits, newProxy, newQuota, newInner, newAPI),
		fx.Invoke(run),
	)
}

// Listening is where a started router is reached, each as host:port.
type Listening struct {
	GRPC string
	HTTP string // and gRPC
}

func newBackends(members *discovery.Registry, dialer *rpc.Dialer, owners *shardroute.Router, cluster objstore.Cluster, log *zap.Logger) *backends.Backends {
	for _, role := range []string{route.RoleAccount, route.RoleBucket, route.RoleStreamReader} {
		members.Watch(role) // so that the first call need not wait
	}
	return backends.New(members, dialer, owners, cluster.Shards, log)
}

func newAdmin(members *discovery.Registry, dialer *rpc.Dialer, cluster objstore.Cluster) *admin.Admin {
	return admin.New(members, dialer, cluster.Shards)
}

func newLimits(reg prometheus.Registerer) (*limit.Metrics, error) {
	return limit.NewMetrics("router", reg)
}

func newProxy(c config.Config, b *backends.Backends, m *limit.Metrics, log *zap.Logger) (*proxy.Proxy, error) {
	table, err := route.NewTable(route.Services()...)
	if err != nil {
		return nil, err
	}
	return proxy.New(table, b, proxy.Config{
		ConnectTimeout: c.Router.ConnectTimeout(),
		RouteTimeout:   c.Router.RouteTimeout(),
		SlowAnswer:     c.Router.SlowAnswer(),
		FirstMessage:   c.Router.FirstMessageTimeout(),
		Idle:           c.Router.SessionIdle(),
		Stall:          c.Router.WriteTimeout(),
		Heartbeat:      heartbeat,
		Room:           limit.NewRoom(c.Router.MaxInflightBytes, "bytes of calls under way at a router", "router.max_inflight_bytes", m),
		Limits:         m,
		Log:            log,
	}), nil
}

// heartbeat is less than the 15 s that the API promises.
const heartbeat = 10 * time.Second

func newQuota(c config.Config, m *limit.Metrics) *quota.Quota {
	return quota.New(quota.Config{
		Rate:     limit.Rate{Requests: c.Router.TokenRequests, Records: c.Router.TokenRecords, Bytes: c.Router.TokenBytes},
		Sessions: c.Router.TokenSessions, Streams: c.Router.TokenStreams,
	}, m)
}

func newInner(lc fx.Lifecycle, p *proxy.Proxy) (*server.Inner, error) {
	inner, err := server.NewInner()
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(func() error { // the gRPC server has stopped by now
		p.Wait()
		return inner.Close()
	}))
	return inner, nil
}

func newAPI(c config.Config, inner *server.Inner, security *service.Security, m *limit.Metrics, log *zap.Logger) (*rest.Handler, error) {
	return rest.New(inner.Conn, rest.Config{
		MaxBodyBytes:   c.Router.MaxBodyBytes,
		MaxURLBytes:    c.Router.MaxURLBytes,
		MaxHeaderBytes: c.Platform.Server.MaxHeaderBytes,
		ReadTimeout:    c.Router.BodyTimeout(),
		WriteTimeout:   c.Router.WriteTimeout(),
		Authorize:      security.Authorize,
		Bodies:         limit.NewRoom(c.Router.MaxInflightBytes, "bytes of REST bodies at a router", "router.max_inflight_bytes", m),
		Limits:         m,
	}, log)
}

type runIn struct {
	fx.In
	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Config     config.Config
	Host       *service.Host
	Security   *service.Security
	Proxy      *proxy.Proxy
	Admin      *admin.Admin
	Quota      *quota.Quota
	Inner      *server.Inner
	API        *rest.Handler
	Health     *telemetry.Health
	Listening  *Listening
	Limits     *limit.Metrics
	Log        *zap.Logger
}

func run(in runIn) error {
	handlers := server.Handlers{REST: in.API, Health: telemetry.PublicHandler(in.Health)}
	var front *server.Front
	var forwarding *grpc.Server
	running, err := in.Host.Serve(in.Lifecycle, service.Endpoint{
		Role:    discovery.RoleRouter,
		Listen:  in.Config.Router.Listen,
		Front:   true, // tokens are checked before what Options has
		Refused: in.Limits.Refused,
		Options: server.Options(in.Proxy.InterceptOwn, in.Quota.Intercept),
		Register: func(s *grpc.Server) {
			server.Register(s, in.Proxy)
			clusterv1.RegisterAdminServiceServer(rpc.Streamed(s), in.Admin)
			forwarding = s
		},
		Drain: func(ctx context.Context) error {
			in.Proxy.Drain()
			return front.Stop(ctx)
		},
	})
	if err != nil {
		return err
	}
	handlers.GRPC = forwarding
	front = server.NewFront(server.NewHTTP(handlers, in.Config.Router.WriteTimeout(), in.Log), in.Config.HTTPAddress(), in.Security.PublicTLS, in.failed)
	in.Lifecycle.Append(fx.StartHook(func(ctx context.Context) error {
		in.Inner.Serve(forwarding)
		if err := front.Start(ctx); err != nil {
			return err
		}
		*in.Listening = Listening{GRPC: running.Address(), HTTP: front.Address()}
		in.Log.Info("serves HTTP", zap.String("address", front.Address()))
		return nil
	}))
	return nil
}

// failed ends the program, since a router that can't be reached is of no use.
func (in runIn) failed(err error) {
	in.Log.Error("HTTP server ended", zap.Error(err))
	if err := in.Shutdowner.Shutdown(fx.ExitCode(1)); err != nil {
		in.Log.Error("can't ask the program to stop", zap.Error(err))
	}
}
