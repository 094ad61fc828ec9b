package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

// Endpoint is a gRPC server that a module wants to run.
type Endpoint struct {
	Role string // discovery.Role…
	// Listen is "host:port" or "inproc:name"; "": server.address and server.port.
	Listen string
	// Listener, if set, is one that Host.Listen opened before, for modules that
	// must know their address early. Listen is then not used.
	Listener net.Listener
	// Incarnation is the log that a stream-writer begins with; "": none.
	Incarnation string
	// Register adds the services to the server. Health and reflection are there.
	Register func(*grpc.Server)
	// Options come after rpc.ServerOptions.
	Options []grpc.ServerOption
	// Drain, if set, is called between leaving discovery and ending the calls
	// under way: it ends live sessions and hands work over. Its context has the
	// budget DrainBudget (0: server.drain_timeout_ms).
	Drain       func(context.Context) error
	DrainBudget time.Duration
	// Front: the server faces clients. It forwards frames, and asks for no
	// certificates.
	Front bool
	// Refused, if set, is called for what is refused for its size, with the limit's
	// setting.
	Refused func(limit string)
	// Unlisted keeps the server out of discovery.
	Unlisted bool
}

// frontIdle is after how long without a call a client's connection is closed. Sessions
// are calls.
const frontIdle = 5 * time.Minute

// maxIdle leaves connections between services alone.
func (e Endpoint) maxIdle() time.Duration {
	if e.Front {
		return frontIdle
	}
	return 0
}

// Host runs the gRPC servers of an app.
type Host struct {
	config    Server
	log       *zap.Logger
	metrics   *rpc.Metrics
	tracer    trace.TracerProvider
	health    *telemetry.Health
	security  *Security
	inproc    *rpc.Inproc
	announcer announcer
	shutdown  fx.Shutdowner

	mu       sync.Mutex
	listings []*listing
}

// announcer makes a server known to others.
type announcer interface {
	Register(context.Context, discovery.Member) (*discovery.Registration, error)
	Err() error
}

type hostIn struct {
	fx.In
	Log        *zap.Logger
	Metrics    *rpc.Metrics
	Tracer     trace.TracerProvider
	Health     *telemetry.Health
	Security   *Security
	Inproc     *rpc.Inproc
	Shutdowner fx.Shutdowner
}

func newHost(c Server, a announcer, in hostIn) *Host {
	h := &Host{
		config: c, log: in.Log, metrics: in.Metrics, tracer: in.Tracer, health: in.Health,
		security: in.Security, inproc: in.Inproc, announcer: a, shutdown: in.Shutdowner,
	}
	in.Health.Watch("etcd", h.discoveryErr)
	return h
}

// discoveryErr tells why others may not be known here, or this program to them.
func (h *Host) discoveryErr() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := []error{h.announcer.Err()}
	for _, l := range h.listings {
		errs = append(errs, l.err())
	}
	return errors.Join(errs...)
}

// list puts a server into discovery.
func (h *Host) list(ctx context.Context, r *Running) {
	h.mu.Lock()
	h.listings = append(h.listings, &r.listing)
	h.mu.Unlock()
	r.listing.begin(ctx, h.announcer, r.member(), r.log)
}

// Listen opens a listener for an Endpoint, "" meaning server.address and
// server.port. Stopping the app closes it.
func (h *Host) Listen(lc fx.Lifecycle, address string) (net.Listener, error) {
	if address == "" {
		address = h.config.Listen()
	}
	ln, err := rpc.Listen(context.Background(), address, h.inproc)
	if err != nil {
		return nil, fmt.Errorf("%w; choose a free address with server.address and server.port", err)
	}
	// Most often closed by its server already.
	lc.Append(fx.StopHook(func() { _ = ln.Close() }))
	return ln, nil
}

// Advertised is where others reach a listener of Listen: what belongs into chain
// entries and the like.
func (h *Host) Advertised(ln net.Listener) string { return h.config.Advertised(ln.Addr().String()) }

// Serve runs a server for the app's life. Call it when whatever the server needs
// has been built, so that it stops before that does.
func (h *Host) Serve(lc fx.Lifecycle, e Endpoint) (*Running, error) {
	if e.Listener == nil {
		ln, err := h.Listen(lc, e.Listen)
		if err != nil {
			return nil, err
		}
		e.Listener = ln
	}
	r := &Running{
		host: h, endpoint: e, address: h.Advertised(e.Listener), started: time.Now(),
		log: h.log.With(zap.String("role", e.Role)), component: h.health.Component(e.Role),
		grpcHealth: health.NewServer(), served: make(chan struct{}),
	}
	server, err := h.newServer(e, r.grpcHealth)
	if err != nil {
		return nil, err
	}
	r.server = server
	lc.Append(fx.StartStopHook(r.start, r.stop))
	return r, nil
}

func (h *Host) newServer(e Endpoint, hs *health.Server) (*grpc.Server, error) {
	options, err := h.security.serverOptions(e)
	if err != nil {
		return nil, err
	}
	server := rpc.NewServer(rpc.ServerConfig{
		Log: h.log.Named("rpc"), Metrics: h.metrics, Tracer: h.tracer, MaxReceiveBytes: h.config.MaxReceiveBytes, MaxHeaderBytes: h.config.MaxHeaderBytes,
		Refused: e.Refused, MaxIdle: e.maxIdle(),
	}, append(options, e.Options...)...)
	var services grpc.ServiceRegistrar = server
	if e.Front { // strangers send no request before it is asked for
		services = rpc.Streamed(server)
	}
	healthv1.RegisterHealthServer(services, hs)
	hs.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if e.Register != nil {
		e.Register(server)
	}
	reflection.Register(server)
	return server, h.security.covered(server)
}

// Running is a server of a Host.
type Running struct {
	host       *Host
	endpoint   Endpoint
	address    string
	started    time.Time
	log        *zap.Logger
	component  *telemetry.Component
	server     *grpc.Server
	grpcHealth *health.Server
	served     chan struct{} // closed when Serve has returned
	listing    listing
}

// Address is where others reach the server.
func (r *Running) Address() string { return r.address }

// SetIncarnation tells others that a stream-writer has begun another log.
func (r *Running) SetIncarnation(incarnation string) error {
	return r.listing.change(func(m *discovery.Member) { m.Incarnation = incarnation })
}

// SetDrained tells others whether a stream-writer takes shards.
func (r *Running) SetDrained(drained bool) error {
	return r.listing.change(func(m *discovery.Member) { m.Drained = drained })
}

func (r *Running) member() discovery.Member {
	return discovery.Member{
		Role: r.endpoint.Role, Instance: r.host.config.Instance(), Address: r.address,
		Zone: r.host.config.Zone, Incarnation: r.endpoint.Incarnation, Started: r.started,
	}
}

func (r *Running) start(ctx context.Context) {
	go r.serve()
	r.grpcHealth.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	r.component.OK()
	r.log.Info("serves gRPC", zap.String("address", r.address))
	if !r.endpoint.Unlisted {
		r.host.list(ctx, r)
	}
}

// serve ends the app with exit code 1 if the server ends by itself.
func (r *Running) serve() {
	defer close(r.served)
	err := r.server.Serve(r.endpoint.Listener)
	if err == nil || errors.Is(err, grpc.ErrServerStopped) {
		return
	}
	r.component.Down(err.Error())
	r.log.Error("gRPC server ended", zap.Error(err))
	if err := r.host.shutdown.Shutdown(fx.ExitCode(1)); err != nil {
		r.log.Error("cannot ask the program to stop", zap.Error(err))
	}
}
