package shardroute

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a set of fake writers who share the truth about one chain.
type cluster struct {
	t      *testing.T
	inproc *rpc.Inproc
	dialer *rpc.Dialer

	mu      sync.Mutex
	members []discovery.Member
	changed chan struct{}
	owner   *clusterv1.Owner // nil: none yet
	writers map[string]*writer
}

func newCluster(t *testing.T, names ...string) *cluster {
	inproc := rpc.NewInproc()
	c := &cluster{t: t, inproc: inproc, dialer: rpc.NewDialer(rpc.DialerConfig{Inproc: inproc}),
		changed: make(chan struct{}), writers: map[string]*writer{}}
	t.Cleanup(func() { require.NoError(t, c.dialer.Close()) })
	for _, n := range names {
		c.start(n)
	}
	return c
}

func (c *cluster) Snapshot() []discovery.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members
}

func (c *cluster) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// start starts a writer and registers it.
func (c *cluster) start(name string) *writer {
	c.t.Helper()
	w := &writer{cluster: c, name: name, incarnation: stream.NewIncarnation(), stuck: make(chan struct{})}
	w.serve()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writers[name] = w
	c.members = append(c.members[:len(c.members):len(c.members)],
		discovery.Member{Role: discovery.RoleStreamWriter, Instance: name, Address: rpc.InprocPrefix + name})
	close(c.changed)
	c.changed = make(chan struct{})
	return w
}

// ranked is the writers by rank for the shard that tests use.
func (c *cluster) ranked() []*writer {
	var ranked []*writer
	for _, m := range discovery.Rank(shard, c.Snapshot()) {
		ranked = append(ranked, c.writers[m.Instance])
	}
	return ranked
}

func (c *cluster) own(w *writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setOwner(w)
}

// setOwner puts the next chain entry. It needs mu.
func (c *cluster) setOwner(w *writer) *clusterv1.Owner {
	c.owner = &clusterv1.Owner{Epoch: c.owner.GetEpoch() + 1, Incarnation: w.incarnation[:], Instance: w.name, Address: rpc.InprocPrefix + w.name}
	return c.owner
}

func (c *cluster) router(o Options) *Router {
	o.Shards = 16
	r := New(c, c.dialer, o)
	c.t.Cleanup(r.Close)
	return r
}

const shard = stream.Shard(3)

// writer is a fake stream-writer. Locate answers with its name in place of an id.
type writer struct {
	clusterv1.UnimplementedWriterServiceServer
	*cluster
	name        string
	incarnation stream.Incarnation
	server      *grpc.Server
	stuck       chan struct{} // calls hang until it is closed, once isStuck

	state struct {
		sync.Mutex
		isStuck bool
		refuse  []error // what the next calls of Locate return
		breaks  bool    // the next Locate is done, but its answer is lost
		silent  bool    // NotOwner comes without a hint
		defers  bool    // asked to take the shard, it finds that the owner lives
		late    bool    // asked to take the shard, it finds that time is up
		calls   int
		takes   []*clusterv1.TakeShardRequest
	}
}

func (w *writer) serve() {
	l, err := w.inproc.Listen(w.name)
	require.NoError(w.t, err)
	w.server = grpc.NewServer()
	clusterv1.RegisterWriterServiceServer(w.server, w)
	done := make(chan struct{})
	go func() { defer close(done); _ = w.server.Serve(l) }()
	w.t.Cleanup(func() { w.kill(); <-done })
}

// kill ends the writer, and waits until that has shown on its connection: before,
// a call might just have been sent.
func (w *writer) kill() {
	w.server.Stop()
	conn, err := w.dialer.Conn(rpc.InprocPrefix + w.name)
	if err != nil {
		return // the dialer is closed
	}
	for s := conn.GetState(); s == connectivity.Ready; s = conn.GetState() {
		conn.WaitForStateChange(context.Background(), s)
	}
}

// stick makes the writer hang from now on, as SIGSTOP does.
func (w *writer) stick() {
	w.state.Lock()
	defer w.state.Unlock()
	w.state.isStuck = true
}

func (w *writer) enter(ctx context.Context) error {
	w.state.Lock()
	stuck := w.state.isStuck
	w.state.Unlock()
	if !stuck {
		return nil
	}
	select {
	case <-w.stuck:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) refuse(errs ...error) {
	w.state.Lock()
	defer w.state.Unlock()
	w.state.refuse = append(w.state.refuse, errs...)
}

func (w *writer) calls() int {
	w.state.Lock()
	defer w.state.Unlock()
	return w.state.calls
}

func (w *writer) takes() []*clusterv1.TakeShardRequest {
	w.state.Lock()
	defer w.state.Unlock()
	return w.state.takes
}

func (w *writer) Locate(ctx context.Context, _ *clusterv1.LocateRequest) (*clusterv1.LocateResponse, error) {
	if err := w.enter(ctx); err != nil {
		return nil, err
	}
	w.state.Lock()
	defer w.state.Unlock()
	w.state.calls++
	if len(w.state.refuse) > 0 {
		err := w.state.refuse[0]
		w.state.refuse = w.state.refuse[1:]
		return nil, err
	}
	w.mu.Lock()
	owner := w.owner
	w.mu.Unlock()
	if stream.Incarnation(padded(owner.GetIncarnation())) != w.incarnation {
		return nil, w.notOwner(owner)
	}
	if w.state.breaks {
		w.state.breaks = false
		go w.server.Stop()
		<-ctx.Done()
	}
	return &clusterv1.LocateResponse{StreamId: []byte(w.name)}, nil
}

func padded(b []byte) (a [16]byte) { copy(a[:], b); return a }

func (w *writer) notOwner(owner *clusterv1.Owner) error {
	detail := &clusterv1.NotOwner{Shard: uint32(shard), Owner: owner}
	if w.state.silent {
		detail.Owner = nil
	}
	return withDetail(codes.Unavailable, "not the owner", detail)
}

func withDetail(code codes.Code, text string, detail protoadapt.MessageV1) error {
	st, err := status.New(code, text).WithDetails(detail)
	if err != nil {
		return err
	}
	return st.Err()
}

func unavailable() error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "stopping").GRPCStatus().Err()
}

func (w *writer) TakeShard(ctx context.Context, r *clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error) {
	if err := w.enter(ctx); err != nil {
		return nil, err
	}
	w.state.Lock()
	w.state.takes = append(w.state.takes, r)
	defers, late := w.state.defers, w.state.late
	w.state.Unlock()
	if late {
		return nil, context.DeadlineExceeded
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if defers || padded(w.owner.GetIncarnation()) == w.incarnation {
		return &clusterv1.TakeShardResponse{Owner: w.owner}, nil
	}
	return &clusterv1.TakeShardResponse{Owner: w.setOwner(w)}, nil
}

// locate is an Ask or Do that says who answered.
func locate(ctx context.Context, call func(context.Context, stream.Shard, Func) error) (string, error) {
	var by string
	err := call(ctx, shard, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		answer, err := clusterv1.NewWriterServiceClient(conn).Locate(ctx, &clusterv1.LocateRequest{})
		by = string(answer.GetStreamId())
		return err
	})
	return by, err
}

func requireLocated(t *testing.T, r *Router, by *writer) {
	t.Helper()
	got, err := locate(t.Context(), r.Do)
	require.NoError(t, err)
	require.Equal(t, by.name, got)
}

func TestDo_TriesTheBestRankedFirst(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	best := c.ranked()[0]
	c.own(best)
	r := c.router(Options{})
	requireLocated(t, r, best)
	requireLocated(t, r, best)
	require.Zero(t, testutil.ToFloat64(r.metrics.searches))
	for _, w := range c.ranked()[1:] {
		require.Zero(t, w.calls())
	}
}

func TestDo_HasAnUnownedShardTakenByTheBestRanked(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	requireLocated(t, c.router(Options{}), c.ranked()[0])
}

func TestDo_FollowsAHintAndRemembersIt(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	owner := c.ranked()[2]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	requireLocated(t, r, owner)
	require.Equal(t, 1, c.ranked()[0].calls())
	require.Zero(t, testutil.ToFloat64(r.metrics.searches))

	next := c.ranked()[1]
	c.own(next)
	requireLocated(t, r, next)
}

func TestDo_IgnoresHintsThatAreOutOfDate(t *testing.T) {
	c := newCluster(t, "a", "b")
	first, second := c.ranked()[0], c.ranked()[1]
	c.own(second)
	old := c.owner
	c.own(first)
	c.own(second)
	r := c.router(Options{})
	requireLocated(t, r, second)
	second.refuse(withDetail(codes.Unavailable, "", &clusterv1.NotOwner{Owner: &clusterv1.Owner{
		Epoch: old.GetEpoch(), Incarnation: first.incarnation[:], Instance: first.name, Address: rpc.InprocPrefix + first.name,
	}}))
	requireLocated(t, r, first) // not by the hint: it was asked to take
	require.Len(t, first.takes(), 1)
}

func TestDo_HasTheNextRankedTakeADeadOwnersShard(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	dead, next := c.ranked()[0], c.ranked()[1]
	c.own(dead)
	r := c.router(Options{})
	owner, err := r.Owner(t.Context(), shard)
	require.NoError(t, err)
	require.Equal(t, dead.name, owner.Instance)
	dead.kill() // and it stays registered: its lease has not run out
	requireLocated(t, r, next)
	require.Len(t, next.takes(), 1)
	require.Equal(t, dead.incarnation[:], next.takes()[0].GetUnreachableIncarnation())
	require.NotZero(t, owner.Epoch)
	require.EqualValues(t, owner.Epoch, next.takes()[0].GetKnownEpoch())
	require.Empty(t, c.ranked()[2].takes())
}

func TestDo_GoesOnWhenTheNextRankedIsDeadToo(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ranked := c.ranked()
	c.own(ranked[0])
	r := c.router(Options{})
	requireLocated(t, r, ranked[0])
	ranked[0].kill()
	ranked[1].kill()
	requireLocated(t, r, ranked[2])
}

func TestDo_WaitsForTheOnlyWriterToComeBack(t *testing.T) {
	c := newCluster(t, "a")
	w := c.ranked()[0]
	r := c.router(Options{})
	requireLocated(t, r, w)
	w.kill()
	searching := make(chan struct{})
	go func() {
		defer close(searching)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := locate(ctx, r.Do)
		require.ErrorContains(t, err, "shard 3 has no owner that can be reached")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, rpc.Detail(err).GetCode())
	}()
	<-searching
	w.serve()
	requireLocated(t, r, w)
}

func TestDo_AsksAnotherWriterIfTheOwnerRefuses(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	owner.refuse(unavailable())
	requireLocated(t, r, next)
}

func TestDo_AsksTheBestRankedToTakeIfItDoesNotOwnAndKnowsNobody(t *testing.T) {
	c := newCluster(t, "a", "b")
	best := c.ranked()[0]
	best.state.silent = true
	requireLocated(t, c.router(Options{}), best)
	require.Empty(t, c.ranked()[1].takes())
}

func TestDo_ReturnsTheOwnersAnswers(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner := c.ranked()[0]
	c.own(owner)
	r := c.router(Options{})
	for _, code := range []samsav1.ErrorCode{
		samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR,
	} {
		owner.refuse(rpc.Errorf(code, "so").GRPCStatus().Err())
		_, err := locate(t.Context(), r.Do)
		require.Equal(t, code, rpc.Detail(err).GetCode())
	}
	require.Equal(t, 3, owner.calls())

	own := errors.New("the caller's own")
	require.ErrorIs(t, r.Do(t.Context(), shard, func(context.Context, grpc.ClientConnInterface) error { return own }), own)
	require.Equal(t, codes.InvalidArgument, status.Code(r.Do(t.Context(), 16, nil)))
}

func TestDo_NeverRepeatsWhatMayHaveHappened(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	owner.state.breaks = true
	_, err := locate(t.Context(), r.Do)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Nil(t, rpc.Detail(err), "nobody may take it for harmless")
	require.Zero(t, next.calls())
	requireLocated(t, r, next) // which was asked meanwhile
	require.Len(t, next.takes(), 1)
}

func TestAsk_RepeatsWhatMayHaveHappened(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	owner.state.breaks = true
	by, err := locate(t.Context(), r.Ask)
	require.NoError(t, err)
	require.Equal(t, next.name, by)
}

func TestAsk_DoesNotWaitForAStuckOwner(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{AttemptTimeout: 20 * time.Millisecond})
	_, err := r.Owner(t.Context(), shard)
	require.NoError(t, err)
	owner.stick()
	by, err := locate(t.Context(), r.Ask)
	require.NoError(t, err)
	require.Equal(t, next.name, by)
	require.Equal(t, owner.incarnation[:], next.takes()[0].GetUnreachableIncarnation())
}

func TestAsk_GoesOnWhenTheWriterToTakeIsStuckToo(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ranked := c.ranked()
	c.own(ranked[0])
	r := c.router(Options{AttemptTimeout: 20 * time.Millisecond, TakeTimeout: 20 * time.Millisecond})
	ranked[0].stick()
	ranked[1].stick()
	by, err := locate(t.Context(), r.Ask)
	require.NoError(t, err)
	require.Equal(t, ranked[2].name, by)
}

func TestReport_HasAnotherWriterLookIntoIt(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	r.Report(shard, next.name) // does not own it: nothing to look into
	r.Report(99, owner.name)
	require.Zero(t, testutil.ToFloat64(r.metrics.searches))
	r.Report(shard, owner.name)
	requireLocated(t, r, next)
}

func TestReplaced_TellsOnceAnotherWriterOwnsTheShard(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	require.True(t, r.Replaced(t.Context(), shard, next.name), "it never was the owner")
	require.False(t, r.Replaced(t.Context(), 99, owner.name))
	require.Zero(t, testutil.ToFloat64(r.metrics.searches))
	require.True(t, r.Replaced(t.Context(), shard, owner.name))
	require.True(t, r.Replaced(t.Context(), shard, rpc.InprocPrefix+next.name), "it may be known by its address only")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	next.stick()
	owner.stick()
	require.False(t, r.Replaced(ended, shard, owner.name))
}

func TestReplaced_KeepsTheOwnerWhileAllShareOneLook(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{LookEvery: time.Hour, TakeTimeout: time.Hour})
	requireLocated(t, r, owner)
	next.state.defers = true
	next.stick()
	var looks sync.WaitGroup
	for range 100 {
		looks.Go(func() {
			if r.Replaced(t.Context(), shard, owner.name) {
				t.Error("the owner lives")
			}
		})
	}
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.metrics.searches) == 1 }, 5*time.Second, time.Millisecond)
	requireLocated(t, r, owner)
	close(next.stuck)
	looks.Wait()
	require.Len(t, next.takes(), 1)

	require.False(t, r.Replaced(t.Context(), shard, owner.name))
	require.Len(t, next.takes(), 1, "it has just been looked into")
	next.state.defers = false
	r.Report(shard, owner.name) // its connection broke: that is another matter
	requireLocated(t, r, next)
}

func TestReplaced_LooksAgainAfterAWhile(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{LookEvery: time.Nanosecond})
	requireLocated(t, r, owner)
	next.state.defers = true
	require.False(t, r.Replaced(t.Context(), shard, owner.name))
	require.False(t, r.Replaced(t.Context(), shard, owner.name))
	require.Len(t, next.takes(), 2)
}

func TestAsk_StaysWithAnOwnerThatIsOnlySlow(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner, next := c.ranked()[0], c.ranked()[1]
	c.own(owner)
	r := c.router(Options{AttemptTimeout: 20 * time.Millisecond})
	requireLocated(t, r, owner)
	next.state.defers = true
	owner.stick()
	asked := make(chan string)
	go func() {
		by, _ := locate(t.Context(), r.Ask)
		asked <- by
	}()
	require.Eventually(t, func() bool { return len(next.takes()) > 0 }, 5*time.Second, time.Millisecond)
	_, known := r.cached(shard)
	require.True(t, known, "others go on to it")
	close(owner.stuck)
	require.Equal(t, owner.name, <-asked)
}

func TestDo_AsksTheOwnerItselfIfOnlyItsLogWasLost(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner := c.ranked()[0]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	owner.refuse(rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "its log was sealed").With("reason", "owner_lost"))
	requireLocated(t, r, owner)
	require.Len(t, owner.takes(), 1)
}

func TestSearch_AsksASilentWriterLast(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ranked := c.ranked()
	c.own(ranked[1])
	r := c.router(Options{})
	requireLocated(t, r, ranked[1])
	ranked[0].state.late = true
	r.Report(shard, ranked[1].name) // asks the best-ranked one, in vain
	requireLocated(t, r, ranked[2])
	var order []string
	for _, m := range r.candidates(shard, Owner{}) {
		order = append(order, m.Instance)
	}
	require.Equal(t, []string{ranked[2].name, ranked[1].name, ranked[0].name}, order, "whoever was silent last comes last")
}

func TestForget_StartsFromTheBestRanked(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.own(c.ranked()[1])
	r := c.router(Options{})
	requireLocated(t, r, c.ranked()[1])
	r.Forget(shard)
	r.Forget(99)
	requireLocated(t, r, c.ranked()[1])
	require.Equal(t, 2, c.ranked()[0].calls())
}

func TestDo_SaysThatThereAreNoWriters(t *testing.T) {
	r := newCluster(t).router(Options{MembersWait: 10 * time.Millisecond})
	_, err := locate(t.Context(), r.Do)
	require.ErrorContains(t, err, "no stream-writer is registered")
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, rpc.Detail(err).GetCode())
}

func TestDo_GoesOnOnceAWriterAppears(t *testing.T) {
	c := newCluster(t)
	r := c.router(Options{MembersWait: time.Hour})
	located := make(chan string)
	go func() {
		by, _ := locate(t.Context(), r.Do)
		located <- by
	}()
	c.start("a")
	require.Equal(t, "a", <-located)
}

func TestDo_SharesOneSearchAmongCallers(t *testing.T) {
	c := newCluster(t, "a", "b")
	dead, next := c.ranked()[0], c.ranked()[1]
	c.own(dead)
	r := c.router(Options{})
	requireLocated(t, r, dead)
	dead.kill()
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			by, err := locate(t.Context(), r.Do)
			if err != nil || by != next.name {
				t.Errorf("%s, %v", by, err)
			}
		})
	}
	callers.Wait()
	require.Len(t, next.takes(), 1)
}

func TestDo_DoesNotBlameTheOwnerForACallersHaste(t *testing.T) {
	c := newCluster(t, "a", "b")
	owner := c.ranked()[0]
	c.own(owner)
	r := c.router(Options{})
	requireLocated(t, r, owner)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := locate(ctx, r.Do)
	require.ErrorIs(t, err, context.Canceled)
	require.NotNil(t, rpc.Detail(err), "nothing happened, and it says so")
	requireLocated(t, r, owner)
	require.Zero(t, testutil.ToFloat64(r.metrics.searches))
}

func TestNotSent_LetsACallBeRepeated(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.own(c.ranked()[0])
	r := c.router(Options{})
	attempts := 0
	require.NoError(t, r.Do(t.Context(), shard, func(context.Context, grpc.ClientConnInterface) error {
		if attempts++; attempts == 1 {
			return NotSent(errors.New("could not connect"))
		}
		return nil
	}))
	require.Equal(t, 2, attempts)
}

func TestClose_EndsCalls(t *testing.T) {
	c := newCluster(t, "a")
	r := c.router(Options{})
	c.ranked()[0].kill()
	ended := make(chan error)
	go func() {
		_, err := locate(context.Background(), r.Do)
		ended <- err
	}()
	r.Close()
	require.ErrorContains(t, <-ended, "no owner that can be reached")
}

func TestBackoff_GrowsToItsBound(t *testing.T) {
	o := Options{}.withDefaults()
	for range 100 {
		require.LessOrEqual(t, o.backoff(0), 10*time.Millisecond)
		require.GreaterOrEqual(t, o.backoff(0), 5*time.Millisecond)
		require.LessOrEqual(t, o.backoff(1000), 250*time.Millisecond)
		require.GreaterOrEqual(t, o.backoff(1000), 125*time.Millisecond)
	}
}
