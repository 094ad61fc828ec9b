package routertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/telemetry"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/rest"
	"github.com/samsa-io/samsa/services/router/internal/route"
	"github.com/samsa-io/samsa/services/router/internal/server"
)

// Rig is a router in front of fake services.
type Rig struct {
	Backends
	Proxy  *proxy.Proxy
	Server *grpc.Server
	Client *grpc.ClientConn // to the router
	Health *telemetry.Health

	t      testing.TB
	inproc *rpc.Inproc
	dialer *rpc.Dialer
}

// New starts a router that runs until the test ends.
func New(t testing.TB) *Rig {
	return newRig(t, fixed, nil)
}

// NewBehind is New with other backends than the fixed ones, and other times.
func NewBehind(t testing.TB, behind func(*Rig, *rpc.Dialer) proxy.Backends, change func(*proxy.Config)) *Rig {
	return newRig(t, behind, change)
}

// NewPatient is New with other times to wait for clients, and interceptors.
func NewPatient(t testing.TB, change func(*proxy.Config), interceptors ...grpc.StreamServerInterceptor) *Rig {
	return newRig(t, fixed, change, interceptors...)
}

// NewWith is New with interceptors.
func NewWith(t testing.TB, interceptors ...grpc.StreamServerInterceptor) *Rig {
	return newRig(t, fixed, nil, interceptors...)
}

func fixed(r *Rig, _ *rpc.Dialer) proxy.Backends { return &r.Backends }

func newRig(t testing.TB, behind func(*Rig, *rpc.Dialer) proxy.Backends, change func(*proxy.Config), interceptors ...grpc.StreamServerInterceptor) *Rig {
	inproc := rpc.NewInproc()
	r := &Rig{
		Backends: Backends{Members: map[string][]*Service{}},
		Health:   telemetry.NewHealth(),
		t:        t,
		inproc:   inproc,
		dialer:   rpc.NewDialer(rpc.DialerConfig{Inproc: inproc}),
	}
	table, err := route.NewTable(route.Services()...)
	require.NoError(t, err)
	config := proxy.Config{
		ConnectTimeout: 30 * time.Second, RouteTimeout: 5 * time.Second, SlowAnswer: 20 * time.Millisecond,
		FirstMessage: time.Minute, Idle: time.Minute, Stall: time.Minute, Heartbeat: time.Minute,
	}
	if change != nil {
		change(&config)
	}
	r.Proxy = proxy.New(table, behind(r, r.dialer), config)
	r.Server = rpc.NewServer(rpc.ServerConfig{}, server.Options(append(interceptors, r.Proxy.InterceptOwn)...)...)
	server.Register(r.Server, r.Proxy)
	reflection.Register(r.Server)
	listener, err := inproc.Listen("router")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- r.Server.Serve(listener) }()
	r.Client, err = r.dialer.Conn("inproc:router")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.dialer.Close())
		r.Server.Stop()
		require.NoError(t, <-served)
		r.Proxy.Wait()
	})
	return r
}

// Add starts a service of a role.
func (r *Rig) Add(role string, s *Service) *Service {
	s.Instance = fmt.Sprintf("%s-%d", role, len(r.Members[role]))
	s.start(r.t, r.inproc, r.dialer)
	r.add(role, s)
	return s
}

// Streams is a client of the router.
func (r *Rig) Streams() samsav1.StreamServiceClient { return samsav1.NewStreamServiceClient(r.Client) }

// HTTP makes the router's HTTP server.
func (r *Rig) HTTP(config rest.Config) *http.Server {
	log := zaptest.NewLogger(r.t)
	api, err := rest.New(r.Client, config, log)
	require.NoError(r.t, err)
	return server.NewHTTP(server.Handlers{
		GRPC: r.Server, REST: api,
		Health: telemetry.PublicHandler(r.Health),
	}, config.WriteTimeout, log)
}
