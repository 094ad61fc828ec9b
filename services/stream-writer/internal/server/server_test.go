package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/ownership"
	"github.com/samsa-io/samsa/services/stream-writer/internal/registration"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

// names is a catalog in memory that knows every stream but "missing".
type names struct {
	mu   sync.Mutex
	rows map[stream.Name]shardlog.CatalogStream
}

func (n *names) Find(_ context.Context, name stream.Name, _ shardlog.Purpose) (shardlog.CatalogStream, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name.Stream == "missing" {
		return shardlog.CatalogStream{}, fmt.Errorf("stream: %w", catalog.ErrNotFound)
	}
	row, ok := n.rows[name]
	if !ok {
		row = shardlog.CatalogStream{ID: stream.NewID(), BucketID: stream.ID{1}, Config: stream.DefaultConfig(), ConfigVersion: 1}
		n.rows[name] = row
	}
	return row, nil
}

type clients struct {
	samsav1.StreamServiceClient
	cluster   clusterv1.WriterServiceClient
	admission *Admission
	conn      *grpc.ClientConn
	manager   *ownership.Manager
}

const maxQuestions = 20

// start runs a writer that owns everything in store.
func start(t testing.TB, store objstore.Store) clients { return startLimited(t, store, nil) }

func startLimited(t testing.TB, store objstore.Store, rates *limit.Rates) clients {
	const shards = 8
	log := zap.NewNop()
	manager := ownership.New(ownership.Config{
		Instance: "w", Address: "w", Shards: shards, Parallel: 8, PlannedParallel: 1,
		AnswerTimeout: 50 * time.Millisecond, PlannedTimeout: time.Second, Interval: time.Second,
	}, discovery.Fixed(discovery.RoleStreamWriter), rpc.NewDialer(rpc.DialerConfig{}), log)
	records := recent.New(64<<20, 64<<20)
	metrics, err := writer.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	w := writer.New(writer.Config{
		Log: shardlog.Config{
			Instance: "w", Address: "w", Shards: shards, Window: 8, BatchBytes: 4 << 20,
			StandardLinger: 50 * time.Millisecond, RetryDelay: 10 * time.Millisecond, StateSlots: 256,
		},
		PutTimeout: 5 * time.Second, Reads: 64,
	}, store, &names{rows: map[stream.Name]shardlog.CatalogStream{}}, manager, log, metrics, records, manager)
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { _ = w.Run(ctx) })
	loops.Go(func() { manager.Run(ctx, w) })
	t.Cleanup(func() { cancel(); loops.Wait() })

	admission, err := NewAdmission(AdmissionConfig{Bytes: 64 << 20, Floor: 8 << 20, Queue: 2 * time.Second, Patience: time.Second}, prometheus.NewRegistry())
	require.NoError(t, err)
	questions := NewQuestions(w, maxQuestions, nil)
	server := rpc.NewServer(rpc.ServerConfig{})
	samsav1.RegisterStreamServiceServer(server, NewStreams(w, questions, admission, rates))
	clusterv1.RegisterWriterServiceServer(server, NewCluster(w, questions, manager, registration.New(zap.NewNop()), records, machineClock{}, shards))
	ln := bufconn.Listen(1 << 20)
	loops.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:w", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c := clients{samsav1.NewStreamServiceClient(conn), clusterv1.NewWriterServiceClient(conn), admission, conn, manager}
	for shard := range uint32(shards) {
		_, err := c.cluster.TakeShard(context.Background(), &clusterv1.TakeShardRequest{Shard: shard})
		require.NoError(t, err)
	}
	return c
}

func body(s string) []*samsav1.AppendRecord { return []*samsav1.AppendRecord{{Body: []byte(s)}} }

func TestAppend_GivesDensePositionsAcrossRestarts(t *testing.T) {
	store := objstore.NewMem()
	next := uint64(0)
	run := func(t *testing.T) {
		c := start(t, store)
		for range 3 {
			r, err := c.Append(t.Context(), &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x")})
			require.NoError(t, err)
			require.Equal(t, next, r.GetStartSeqNum())
			next++
		}
		tail, err := c.CheckTail(t.Context(), &samsav1.CheckTailRequest{Bucket: "bucket", Stream: "s"})
		require.NoError(t, err)
		require.Equal(t, next, tail.GetNextSeqNum())
	}
	for i := range 3 {
		t.Run(fmt.Sprintf("run %d", i), run)
	}
}

func TestAppend_RefusesWithoutEffect(t *testing.T) {
	c := start(t, objstore.NewMem())
	ctx := t.Context()
	token, seq, foreign, producer, zero, gap := "no", uint64(7), stream.NewSeqID(0, 0, 1).String(), "p", uint64(0), uint64(9)
	for name, tc := range map[string]struct {
		request *samsav1.AppendRequest
		code    codes.Code
	}{
		"bad bucket":       {&samsav1.AppendRequest{Bucket: "B", Stream: "s", Records: body("x")}, codes.InvalidArgument},
		"bad stream":       {&samsav1.AppendRequest{Bucket: "bucket", Stream: "..", Records: body("x")}, codes.InvalidArgument},
		"no records":       {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s"}, codes.InvalidArgument},
		"missing":          {&samsav1.AppendRequest{Bucket: "bucket", Stream: "missing", Records: body("x")}, codes.NotFound},
		"stale token":      {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), FencingToken: &token}, codes.FailedPrecondition},
		"wrong seq_num":    {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), MatchSeqNum: &seq}, codes.FailedPrecondition},
		"foreign seq_id":   {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), MatchSeqId: &foreign}, codes.InvalidArgument},
		"producer gap":     {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), ProducerId: &producer, ProducerSeq: &gap}, codes.FailedPrecondition},
		"half a producer":  {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), ProducerSeq: &zero}, codes.InvalidArgument},
		"too many records": {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: make([]*samsav1.AppendRecord, 1001)}, codes.InvalidArgument},
		"too many bytes":   {&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body(string(make([]byte, 1<<20)))}, codes.InvalidArgument},
	} {
		_, err := c.Append(ctx, tc.request)
		require.Equal(t, tc.code, status.Code(err), "%s: %v", name, err)
		require.NotNil(t, rpc.Detail(err), name)
	}
	tail, err := c.CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: "bucket", Stream: "s"})
	require.NoError(t, err)
	require.Zero(t, tail.GetNextSeqNum())
}

func TestAppendSession_AcknowledgesInOrderAndEndsAtTheFirstFailure(t *testing.T) {
	c := start(t, objstore.NewMem())
	session, err := c.AppendSession(t.Context())
	require.NoError(t, err)
	const good = 100
	for i := range good {
		r := &samsav1.AppendSessionRequest{Records: body("x")}
		if i == 0 {
			r.Bucket, r.Stream = "bucket", "s"
		}
		require.NoError(t, session.Send(r))
	}
	wrong := uint64(3)
	require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Records: body("bad"), MatchSeqNum: &wrong}))
	for range 10 { // these fail with it, whatever they say; the session may be over already
		_ = session.Send(&samsav1.AppendSessionRequest{Records: body("late")})
	}
	for i := range uint64(good) {
		r, err := session.Recv()
		require.NoError(t, err)
		require.Equal(t, i, r.GetStartSeqNum())
	}
	_, err = session.Recv()
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.Equal(t, "100", rpc.Detail(err).GetMetadata()["next_seq_num"])
	tail, err := c.CheckTail(t.Context(), &samsav1.CheckTailRequest{Bucket: "bucket", Stream: "s"})
	require.NoError(t, err)
	require.EqualValues(t, good, tail.GetNextSeqNum())
}

func TestAppend_RepeatsTheFirstAnswerToAProducer(t *testing.T) {
	store := objstore.NewMem()
	id, seq := "p", uint64(0)
	request := &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), ProducerId: &id, ProducerSeq: &seq}
	first, err := start(t, store).Append(t.Context(), request)
	require.NoError(t, err)
	c := start(t, store) // takes over
	again, err := c.Append(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, first.String(), again.String())
}

func TestLocate_CarriesRecentBlocks(t *testing.T) {
	c := start(t, objstore.NewMem())
	for range 3 {
		_, err := c.Append(t.Context(), &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x")})
		require.NoError(t, err)
	}
	r, err := c.cluster.Locate(t.Context(), &clusterv1.LocateRequest{
		Bucket: "bucket", Stream: "s", Start: &clusterv1.LocateRequest_TailOffset{TailOffset: 2}, MaxBytes: 1 << 20, ProveTail: true,
	})
	require.NoError(t, err)
	require.EqualValues(t, 3, r.GetNextSeqNum())
	require.EqualValues(t, 1, r.GetStartSeqNum())
	require.Len(t, r.GetBlocks(), 2)
	require.NotEmpty(t, r.GetBlocks()[0].GetData())
}

// TestHandOverShard_SaysThatItLivesWhileTheStoreIsSlow: or whoever asks would take it
// for dead, and seal its log.
func TestHandOverShard_SaysThatItLivesWhileTheStoreIsSlow(t *testing.T) {
	store := faulty.New(objstore.NewMem())
	c := start(t, store)
	taken, err := c.cluster.TakeShard(t.Context(), &clusterv1.TakeShardRequest{Shard: 3})
	require.NoError(t, err)
	c.manager.Leave()
	released := make(chan struct{})
	store.Add(faulty.Rule{Op: objstore.OpPut, Prefix: "log/", Times: -1, Fault: faulty.Until(released)})
	ask := func() *clusterv1.HandOverShardResponse {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		r, err := c.cluster.HandOverShard(ctx, &clusterv1.HandOverShardRequest{
			Shard: 3, Epoch: taken.GetOwner().GetEpoch(), Incarnation: taken.GetOwner().GetIncarnation(),
		})
		require.NoError(t, err)
		return r
	}
	require.True(t, ask().GetHandingOver())
	close(released)
	require.True(t, ask().GetHandedOver())
}

// TestCheckTail_IsRefusedWhenTooManyWaitForTheStore, whether or not those who asked
// still wait.
func TestCheckTail_IsRefusedWhenTooManyWaitForTheStore(t *testing.T) {
	store := faulty.New(objstore.NewMem())
	c := start(t, store)
	_, err := c.Append(t.Context(), &samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x")})
	require.NoError(t, err)
	released := make(chan struct{})
	store.Add(faulty.Rule{Op: objstore.OpHead, Times: -1, Fault: faulty.Until(released)})
	check := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := c.CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: "bucket", Stream: "s"})
		return err
	}
	var code codes.Code
	unanswered := 0 // more than maxQuestions if some did not reach the server in time
	require.Eventually(t, func() bool {
		if code = status.Code(check(20 * time.Millisecond)); code == codes.DeadlineExceeded {
			unanswered++
		}
		return code != codes.DeadlineExceeded
	}, time.Minute, time.Millisecond)
	require.Equal(t, codes.ResourceExhausted, code)
	require.GreaterOrEqual(t, unanswered, maxQuestions)
	close(released)
	require.Eventually(t, func() bool { return check(10*time.Second) == nil }, 10*time.Second, 10*time.Millisecond)
}

func BenchmarkAppendSession(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := start(b, objstore.NewMem())
			records := make([]*samsav1.AppendRecord, 1000)
			for i := range records {
				records[i] = &samsav1.AppendRecord{Body: make([]byte, size)}
			}
			session, err := c.AppendSession(b.Context())
			require.NoError(b, err)
			go func() {
				for range b.N {
					_ = session.Send(&samsav1.AppendSessionRequest{Bucket: "bucket", Stream: "s", Records: records})
				}
				_ = session.CloseSend()
			}()
			b.SetBytes(int64(1000 * size))
			for {
				if _, err := session.Recv(); errors.Is(err, io.EOF) {
					break
				} else {
					require.NoError(b, err)
				}
			}
			b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

type machineClock struct{}

func (machineClock) Now(context.Context) (time.Time, error) { return time.Now(), nil }
