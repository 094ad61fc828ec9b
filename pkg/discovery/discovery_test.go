package discovery

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/samsa-io/samsa/pkg/local/etcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	soon = 30 * time.Second
	tick = 5 * time.Millisecond
)

var quick = Options{Heartbeat: 50 * time.Millisecond, LeaseTTL: time.Second}

func newRegistry(t *testing.T, server *etcd.TestServer, o Options) *Registry {
	t.Helper()
	r := New(server.Client(), o)
	t.Cleanup(r.Close)
	return r
}

func writer(name string) Member {
	return Member{Role: RoleStreamWriter, Instance: name, Address: "inproc:" + name, Zone: "z",
		Incarnation: "01", Started: time.Now().UTC()}
}

func register(t *testing.T, r *Registry, m Member) *Registration {
	t.Helper()
	g, err := r.Register(t.Context(), m)
	require.NoError(t, err)
	t.Cleanup(g.stop)
	return g
}

func requireMembers(t *testing.T, m *Members, names ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		assert.Equal(t, names, instances(m.Snapshot()))
	}, soon, tick)
}

func requireLost(t *testing.T, m *Members) {
	t.Helper()
	require.Eventually(t, func() bool { return m.Err() != nil }, soon, tick)
}

func requireCurrent(t *testing.T, m *Members) {
	t.Helper()
	require.Eventually(t, func() bool { return m.Err() == nil }, soon, tick)
}

func TestRegister_MakesAMemberKnownUntilItWithdraws(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, Options{Heartbeat: time.Second, LeaseTTL: time.Hour, Registerer: prometheus.NewRegistry()})
	m := writer("a")
	g := register(t, r, m)
	members := r.Watch(RoleStreamWriter)
	require.NoError(t, members.Wait(t.Context()))
	require.Equal(t, []Member{m}, members.Snapshot())
	require.Same(t, members, r.Watch(RoleStreamWriter))
	require.NoError(t, r.Err())
	require.NoError(t, g.Err())

	changed := members.Changed()
	require.NoError(t, g.Withdraw(t.Context()))
	<-changed
	require.Empty(t, members.Snapshot())
	require.NoError(t, g.Withdraw(t.Context()), "again")
}

func TestWithdraw_IsHeardThoughEtcdLostTheMember(t *testing.T) {
	server := etcd.ForTest(t)
	g := register(t, newRegistry(t, server, Options{Heartbeat: time.Hour, LeaseTTL: 2 * time.Hour}), writer("a"))
	members := newRegistry(t, server, Options{Heartbeat: time.Second, LeaseTTL: time.Hour}).Watch(RoleStreamWriter)
	requireMembers(t, members, "a")
	server.Stop()
	requireLost(t, members)
	server.Forget()
	server.Restart()
	requireCurrent(t, members)
	require.Equal(t, []string{"a"}, instances(members.Snapshot()), "held: it may register again")

	require.NoError(t, g.Withdraw(t.Context()))
	require.Eventually(t, func() bool { return len(members.Snapshot()) == 0 }, soon, tick)
}

func TestRegister_RefusesWhatCannotBeAKey(t *testing.T) {
	r := newRegistry(t, etcd.ForTest(t), quick)
	_, err := r.Register(t.Context(), Member{Role: "r", Instance: "a/b"})
	require.ErrorContains(t, err, `instance "a/b"`)
	require.ErrorContains(t, err, "address of a member is empty")
}

func TestRegister_SaysThatEtcdDoesNotAnswer(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, quick)
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := r.Register(ctx, writer("a"))
	require.ErrorContains(t, err, "register stream-writer a in etcd")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestUpdate_ChangesWhatIsKnown(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, Options{Heartbeat: time.Hour, LeaseTTL: 2 * time.Hour})
	m := writer("a")
	g := register(t, r, m)
	members := r.Watch(m.Role)
	require.NoError(t, members.Wait(t.Context()))
	m.Incarnation = "02"
	changed := members.Changed()
	require.NoError(t, g.Update(m))
	<-changed
	require.Equal(t, []Member{m}, members.Snapshot())
	require.Error(t, g.Update(Member{}))
}

func TestWatch_DropsAMemberThatFellSilent(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, quick)
	register(t, r, writer("a"))
	silent := register(t, r, writer("b"))
	members := r.Watch(RoleStreamWriter)
	requireMembers(t, members, "a", "b")
	silent.stop() // killed: it does not withdraw
	requireMembers(t, members, "a")
}

func TestWatch_KeepsMembersWhileEtcdIsDown(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, quick)
	a := register(t, r, writer("a"))
	members := r.Watch(RoleStreamWriter)
	requireMembers(t, members, "a")
	server.Stop()
	requireLost(t, members)
	require.ErrorContains(t, r.Err(), "members of role stream-writer are the last ones known")
	require.Eventually(t, func() bool { return a.Err() != nil }, soon, tick)
	require.Equal(t, []string{"a"}, instances(members.Snapshot()))

	server.Restart()
	requireCurrent(t, members)
	require.Eventually(t, func() bool { return a.Err() == nil }, soon, tick)
	register(t, r, writer("b"))
	requireMembers(t, members, "a", "b")
}

func TestWatch_DropsNobodyWhenEtcdComesBackEmpty(t *testing.T) {
	server := etcd.ForTest(t)
	o := quick
	o.LeaseTTL = 3 * time.Second
	r := newRegistry(t, server, o)
	register(t, r, writer("living"))
	register(t, r, writer("dead")).stop()
	members := r.Watch(RoleStreamWriter)
	requireMembers(t, members, "dead", "living")

	server.Stop()
	requireLost(t, members)
	changed := members.Changed()
	server.Forget()
	back := time.Now()
	server.Restart()
	requireCurrent(t, members)
	require.Equal(t, []string{"dead", "living"}, instances(members.Snapshot()))
	<-changed
	require.Greater(t, time.Since(back), o.LeaseTTL-o.Heartbeat, "the first change is the dead one's end")
	require.Equal(t, []string{"living"}, instances(members.Snapshot()))
}

func TestWatch_FindsOutThatEtcdLostItsDataWhileItWasShortlyAway(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, quick)
	register(t, r, writer("a"))
	members := r.Watch(RoleStreamWriter)
	requireMembers(t, members, "a")
	server.Stop()
	server.Forget()
	server.Restart()
	register(t, r, writer("b"))
	requireMembers(t, members, "a", "b")
}

func TestWatch_SurvivesCompaction(t *testing.T) {
	server := etcd.ForTest(t)
	client := server.Client()
	r := newRegistry(t, server, quick)
	register(t, r, writer("a"))
	patient := Options{Heartbeat: soon}.withDefaults() // it finds out before the first heartbeat
	f := &follower{Members: newMembers(RoleStreamWriter, newMetrics(nil)), client: client, options: patient,
		prefix: r.keys.role(RoleStreamWriter), log: patient.Log, view: newView()}
	require.NoError(t, f.reload(t.Context()))
	for range 10 {
		_, err := client.Put(t.Context(), "x", "y")
		require.NoError(t, err)
	}
	_, err := client.Compact(t.Context(), f.revision+5)
	require.NoError(t, err)
	require.ErrorContains(t, f.watch(t.Context()), "compacted")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	register(t, r, writer("b"))
	requireMembers(t, f.Members, "a", "b")
	cancel()
	<-done
}

func TestWatch_IgnoresWhatItCannotRead(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, quick)
	_, err := server.Client().Put(t.Context(), r.keys.role(RoleStreamWriter)+"odd", "not JSON")
	require.NoError(t, err)
	register(t, r, writer("a"))
	requireMembers(t, r.Watch(RoleStreamWriter), "a")
}

func TestBackoff_GrowsToItsBound(t *testing.T) {
	b := backoff{first: 100 * time.Millisecond, most: time.Second}
	for range 100 {
		d := b.next()
		require.GreaterOrEqual(t, d, 50*time.Millisecond)
		require.LessOrEqual(t, d, time.Second)
	}
	require.GreaterOrEqual(t, b.next(), 500*time.Millisecond)
	b.reset()
	require.LessOrEqual(t, b.next(), 100*time.Millisecond)
}

// healthServer listens inside the process under an address.
func healthServer(t *testing.T) *bufconn.Listener {
	l := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	healthv1.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l
}

func TestResolver_ConnectsToTheMembersOfARole(t *testing.T) {
	server := etcd.ForTest(t)
	r := newRegistry(t, server, quick)
	listeners := map[string]*bufconn.Listener{"inproc:a": healthServer(t), "inproc:b": healthServer(t)}
	conn, err := grpc.NewClient(Scheme+":///"+RoleStreamWriter, grpc.WithResolvers(r.Resolver()),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return listeners[address].DialContext(ctx)
		}))
	require.NoError(t, err)
	defer conn.Close()
	check := func() error {
		_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		return err
	}
	err = check()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "no stream-writer is registered")

	a := register(t, r, writer("a"))
	require.Eventually(t, func() bool { return check() == nil }, soon, tick)
	server.Stop()
	requireLost(t, r.Watch(RoleStreamWriter))
	require.NoError(t, check(), "known members serve while etcd is down")
	server.Restart()
	register(t, r, writer("b"))
	require.Eventually(t, func() bool { return a.Err() == nil }, soon, tick)
	require.NoError(t, a.Withdraw(t.Context()))
	requireMembers(t, r.Watch(RoleStreamWriter), "b")
	require.Eventually(t, func() bool { return check() == nil }, soon, tick)
}

func TestFixed_HasItsMembersAtOnce(t *testing.T) {
	m := Fixed(RoleRouter, writer("a"))
	require.NoError(t, m.Wait(t.Context()))
	require.NoError(t, m.Err())
	require.Equal(t, []string{"a"}, instances(m.Snapshot()))
}
