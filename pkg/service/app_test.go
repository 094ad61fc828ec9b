package service

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/fx"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	localnats "github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

func TestMain(m *testing.M) {
	if os.Getenv("SAMSA_TEST_PROGRAM") != "" {
		runProgram()
	}
	goleak.VerifyTestMain(postgres.StopAfter(m))
}

// testConfig needs nothing from outside; every server it names is absent.
func testConfig(t *testing.T) Config {
	t.Helper()
	c := Default()
	c.Server.NodeID, c.Server.EtcdEndpoints = "node-1", []string{"http://127.0.0.1:1"}
	c.Server.HeartbeatIntervalSecs, c.Server.LeaseTTLSecs = 1, 3
	c.Storage.URL = "file://" + filepath.Join(t.TempDir(), "store")
	c.Database.URL = "postgres://nobody@127.0.0.1:1/none"
	c.NATS.URLs = []string{"nats://127.0.0.1:1"}
	c.Observability.MetricsPort = -1
	c.Auth.Enabled = false
	return c
}

// newApp is an app that is checked for errors and stopped with the test.
func newApp(t *testing.T, c Config, options ...fx.Option) *fx.App {
	t.Helper()
	log := zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel))
	app := fx.New(append([]fx.Option{Platform(c, WithLogger(log))}, options...)...)
	require.NoError(t, app.Err())
	return app
}

func start(t *testing.T, app *fx.App) {
	t.Helper()
	require.NoError(t, app.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, app.Stop(context.Background())) })
}

// journal notes what happens, in order.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) note(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// reader answers CheckTail when it is told to.
type reader struct {
	samsav1.UnimplementedStreamServiceServer
	entered, release chan struct{}
	journal          *journal
}

func (r *reader) CheckTail(context.Context, *samsav1.CheckTailRequest) (*samsav1.CheckTailResponse, error) {
	r.entered <- struct{}{}
	<-r.release
	r.journal.note("reader: call ended")
	return &samsav1.CheckTailResponse{NextSeqNum: 7}, nil
}

// parts are what a service is built from; they stop after it.
type parts struct{}

func newParts(name string, j *journal) func(fx.Lifecycle) *parts {
	return func(lc fx.Lifecycle) *parts {
		lc.Append(fx.StopHook(func() { j.note(name + ": parts stopped") }))
		return &parts{}
	}
}

func TestApp_TwoServicesStopInOrder(t *testing.T) {
	e, n := etcd.ForTest(t), localnats.ForTest(t)
	c := testConfig(t)
	c.Server.EtcdEndpoints, c.NATS.URLs = []string{e.Endpoint}, []string{n.URL}
	j := &journal{}
	r := &reader{entered: make(chan struct{}), release: make(chan struct{}), journal: j}
	var (
		dialer   *rpc.Dialer
		registry *discovery.Registry
		health   *telemetry.Health
		bus      *notify.Bus
		admin    *telemetry.Admin
		writer   *Running
	)
	c.Observability.MetricsPort = 0
	noteDrain := func(name, role string) func(context.Context) error {
		return func(context.Context) error {
			if readyz(t, admin) != http.StatusServiceUnavailable {
				j.note(name + ": drains while ready")
			}
			// The word that it leaves is in etcd before; it comes here a moment later.
			unlisted := func() bool { return len(registry.Watch(role).Snapshot()) == 0 }
			assert.Eventually(t, unlisted, 5*time.Second, time.Millisecond, "%s drains while listed", name)
			j.note(name + ": drain")
			return nil
		}
	}
	app := newApp(t, c,
		// First, so that they outlive the services that they watch.
		fx.Module("watcher", fx.Populate(&dialer, &registry, &health, &bus, &admin)),
		fx.Module("writer", fx.Provide(newParts("writer", j), fx.Private), fx.Invoke(func(lc fx.Lifecycle, h *Host, _ *parts) (err error) {
			writer, err = h.Serve(lc, Endpoint{Role: discovery.RoleStreamWriter, Listen: "inproc:writer", Drain: noteDrain("writer", discovery.RoleStreamWriter)})
			return err
		})),
		fx.Module("reader", fx.Provide(newParts("reader", j), fx.Private), fx.Invoke(func(lc fx.Lifecycle, h *Host, _ *parts) error {
			_, err := h.Serve(lc, Endpoint{
				Role: discovery.RoleStreamReader, Listen: "inproc:reader",
				Register: func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, r) },
				Drain: func(ctx context.Context) error {
					defer close(r.release)
					return noteDrain("reader", discovery.RoleStreamReader)(ctx)
				},
			})
			return err
		})),
	)
	readers, writers := registry.Watch(discovery.RoleStreamReader), registry.Watch(discovery.RoleStreamWriter)
	require.NoError(t, app.Start(t.Context()))
	require.NoError(t, bus.Err())
	require.NoError(t, errors.Join(readers.Wait(t.Context()), writers.Wait(t.Context())))
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		assert.Equal(t, telemetry.OK, health.Status().State, health.Status())
	}, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return len(readers.Snapshot()) == 1 && len(writers.Snapshot()) == 1 }, 5*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, readyz(t, admin))
	require.Equal(t, "inproc:reader", readers.Snapshot()[0].Address)
	require.NoError(t, writer.SetIncarnation("0123"))
	require.Eventually(t, func() bool { return writers.Snapshot()[0].Incarnation == "0123" }, 5*time.Second, time.Millisecond)

	conn, err := dialer.Conn("samsa:///" + discovery.RoleStreamReader)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := samsav1.NewStreamServiceClient(conn).CheckTail(t.Context(), &samsav1.CheckTailRequest{})
		result <- err
	}()
	<-r.entered
	require.NoError(t, app.Stop(t.Context()))
	require.NoError(t, <-result, "a call under way ends well")
	require.Equal(t, []string{
		"reader: drain", "reader: call ended", "reader: parts stopped", "writer: drain", "writer: parts stopped",
	}, j.all())
	require.False(t, health.Status().Ready())
}

func TestApp_StartsWithoutPostgresEtcdAndNATS(t *testing.T) {
	c := testConfig(t)
	var health *telemetry.Health
	app := newApp(t, c,
		fx.Invoke(func(lc fx.Lifecycle, h *Host, _ *catalog.Catalog, _ *notify.Bus) error {
			_, err := h.Serve(lc, Endpoint{Role: discovery.RoleRouter, Listen: "inproc:router"})
			return err
		}),
		fx.Populate(&health))
	begun := time.Now()
	start(t, app)
	require.Less(t, time.Since(begun), 10*time.Second)
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(health.Status().Components, func(c telemetry.ComponentStatus) bool {
			return c.Name == "postgres" && c.Reason != "" && c.Reason != "has not answered yet"
		})
	}, 10*time.Second, 10*time.Millisecond)
	got := map[string]telemetry.State{}
	for _, component := range health.Status().Components {
		got[component.Name] = component.State
	}
	require.Equal(t, map[string]telemetry.State{
		"router": telemetry.OK, "etcd": telemetry.Degraded, "nats": telemetry.Degraded, "postgres": telemetry.Degraded,
	}, got)
	require.True(t, health.Status().Ready())
}

func TestApp_IsListedOnceEtcdIsThere(t *testing.T) {
	e := etcd.ForTest(t)
	e.Stop()
	c := testConfig(t)
	c.Server.EtcdEndpoints = []string{e.Endpoint}
	var registry *discovery.Registry
	app := newApp(t, c, fx.Populate(&registry), fx.Invoke(func(lc fx.Lifecycle, h *Host) error {
		_, err := h.Serve(lc, Endpoint{Role: discovery.RoleRouter, Listen: "inproc:router"})
		return err
	}))
	start(t, app)
	e.Restart()
	members := registry.Watch(discovery.RoleRouter)
	require.Eventually(t, func() bool { return len(members.Snapshot()) == 1 }, 20*time.Second, 10*time.Millisecond)
}

func TestApp_BuildsOnlyWhatIsAskedFor(t *testing.T) {
	c := testConfig(t)
	c.Storage.URL = "file:///" // no store could be opened here
	c.Server.EtcdEndpoints = nil
	app := newApp(t, c, fx.Invoke(func(*telemetry.Health) {}))
	start(t, app)
}

func TestApp_ProvidesTheWholePlatform(t *testing.T) {
	c := testConfig(t)
	c.Database.URL = postgres.ForTest(t)
	start(t, newApp(t, c, fx.Invoke(func(
		*pgxpool.Pool, *catalog.Catalog, *Migration, *clientv3.Client, *nats.Conn, *notify.Bus, *discovery.Registry,
		objstore.Store, objstore.Cluster, *rpc.Inproc, *rpc.Dialer, *shardroute.Router, *Host, *telemetry.Admin, Config,
	) {
	})))
}

func TestApp_EndsWhenAServerFails(t *testing.T) {
	c := testConfig(t)
	broken := &brokenListener{failed: make(chan struct{})}
	app := newApp(t, c, fx.Invoke(func(lc fx.Lifecycle, h *Host) error {
		_, err := h.Serve(lc, Endpoint{Role: discovery.RoleRouter, Listener: broken, Unlisted: true})
		return err
	}))
	start(t, app)
	signaled := <-app.Wait()
	require.Equal(t, 1, signaled.ExitCode)
}

func TestApp_CutsOffCallsThatDoNotEnd(t *testing.T) {
	c := testConfig(t)
	c.Server.DrainTimeoutMS = 50
	stuck := &stuckReader{entered: make(chan struct{})}
	var inproc *rpc.Inproc
	app := newApp(t, c, fx.Populate(&inproc), fx.Invoke(func(lc fx.Lifecycle, h *Host) error {
		_, err := h.Serve(lc, Endpoint{
			Role: discovery.RoleStreamReader, Listen: "inproc:reader", Unlisted: true,
			Register: func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, stuck) },
			Drain:    func(ctx context.Context) error { <-ctx.Done(); return errors.New("sessions did not end") },
		})
		return err
	}))
	require.NoError(t, app.Start(t.Context()))
	dialer := rpc.NewDialer(rpc.DialerConfig{Inproc: inproc})
	defer func() { require.NoError(t, dialer.Close()) }()
	conn, err := dialer.Conn("inproc:reader")
	require.NoError(t, err)
	checked, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, checked.GetStatus())
	result := make(chan error, 1)
	go func() {
		_, err := samsav1.NewStreamServiceClient(conn).CheckTail(t.Context(), &samsav1.CheckTailRequest{})
		result <- err
	}()
	<-stuck.entered
	require.NoError(t, app.Stop(t.Context()))
	require.Equal(t, codes.Unavailable, status.Code(<-result))
}

type stuckReader struct {
	samsav1.UnimplementedStreamServiceServer
	entered chan struct{}
}

func (r *stuckReader) CheckTail(ctx context.Context, _ *samsav1.CheckTailRequest) (*samsav1.CheckTailResponse, error) {
	close(r.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestMigration_WaitsForPostgresAndRefusesAnotherClusters(t *testing.T) {
	c := testConfig(t)
	c.Database.URL = postgres.ForTest(t)
	var m *Migration
	app := newApp(t, c, fx.Populate(&m))
	require.NoError(t, app.Start(t.Context()))
	<-m.Done()
	require.NoError(t, app.Stop(t.Context()))

	c.Storage.URL = "file://" + filepath.Join(t.TempDir(), "another")
	var foreign *catalog.ClusterMismatchError
	require.ErrorAs(t, newApp(t, c, fx.Populate(&m)).Start(t.Context()), &foreign)
}

func TestMigration_EndsAProgramThatLearnsTooLateOfAnotherCluster(t *testing.T) {
	log, shutdown := zaptest.NewLogger(t), make(shutdowns, 1)
	m := &Migration{
		component: telemetry.NewHealth().Component("catalog"), shutdown: shutdown, log: log,
		done: make(chan struct{}), refused: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, m.wait(ctx), "it starts without Postgres")
	m.refuse(errors.New("another cluster's"))
	<-shutdown
}

type shutdowns chan struct{}

func (s shutdowns) Shutdown(...fx.ShutdownOption) error {
	s <- struct{}{}
	return nil
}

func readyz(t *testing.T, admin *telemetry.Admin) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + admin.Address() + "/readyz")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}
