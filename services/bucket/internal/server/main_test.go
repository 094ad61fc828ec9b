package server_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/bucket/internal/bucket"
	"github.com/samsa-io/samsa/services/bucket/internal/owners"
	"github.com/samsa-io/samsa/services/bucket/internal/server"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

const (
	shards  = 8
	minimum = time.Minute // longer than any test
)

// service is a bucket service with its database, in which is the bucket "logs",
// and the writer that it calls.
type service struct {
	samsav1.BucketServiceClient
	catalog  *catalog.Catalog
	writer   *writer
	router   *connRouter
	finisher *bucket.Finisher
}

func start(t *testing.T, hold catalog.Hold) *service {
	t.Helper()
	c := catalogtest.New(t, catalog.Options{})
	_, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{})
	require.NoError(t, err)
	return startOn(t, c, hold)
}

func startOn(t *testing.T, c *catalog.Catalog, hold catalog.Hold) *service {
	t.Helper()
	w := &writer{ended: map[string]bool{}, configured: map[string]*clusterv1.ConfigureStreamRequest{}}
	router := &connRouter{conn: serve(t, func(s *grpc.Server) { clusterv1.RegisterWriterServiceServer(s, w) })}
	streams, finisher := bucket.New(c, owners.New(router, shards), bucket.Options{OwnerTimeout: 10 * time.Second, Hold: hold}, zap.NewNop())
	conn := serve(t, func(s *grpc.Server) { samsav1.RegisterBucketServiceServer(s, server.New(streams)) })
	return &service{BucketServiceClient: samsav1.NewBucketServiceClient(conn), catalog: c, writer: w, router: router, finisher: finisher}
}

// serve runs a gRPC server in the process and connects to it.
func serve(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	inproc := rpc.NewInproc()
	l, err := inproc.Listen("server")
	require.NoError(t, err)
	s := rpc.NewServer(rpc.ServerConfig{})
	register(s)
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(l) })
	dialer := rpc.NewDialer(rpc.DialerConfig{Inproc: inproc})
	t.Cleanup(func() {
		_ = dialer.Close()
		s.Stop()
		running.Wait()
	})
	conn, err := dialer.Conn("inproc:server")
	require.NoError(t, err)
	return conn
}

// connRouter finds the one writer that there is, and remembers for which shard
// it was last asked.
type connRouter struct {
	conn *grpc.ClientConn
	last atomic.Uint32
}

func (r *connRouter) Ask(ctx context.Context, shard stream.Shard, f func(context.Context, grpc.ClientConnInterface) error) error {
	r.last.Store(uint32(shard))
	return f(ctx, r.conn)
}

// writer remembers what it was told, by the streams' UUIDs, and refuses the next
// calls if it is told to.
type writer struct {
	clusterv1.UnimplementedWriterServiceServer
	mu         sync.Mutex
	refuse     int
	behind     bool // its refusals say that the catalog is
	empty      bool // streams are, when they are asked about
	asked      int  // how often a stream was to be ended
	ended      map[string]bool
	configured map[string]*clusterv1.ConfigureStreamRequest
	// gate, if set, holds calls: they send on it when they begin and once more
	// before they end.
	gate chan struct{}
}

func (w *writer) answer(f func()) error {
	if w.gate != nil {
		w.gate <- struct{}{}
		w.gate <- struct{}{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse > 0 {
		w.refuse--
		if w.behind {
			return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, "behind").With("reason", "catalog_behind")
		}
		return status.Error(codes.Unavailable, "not now")
	}
	f()
	return nil
}

func (w *writer) TombstoneStream(_ context.Context, r *clusterv1.TombstoneStreamRequest) (*clusterv1.TombstoneStreamResponse, error) {
	response := &clusterv1.TombstoneStreamResponse{}
	err := w.answer(func() {
		if w.asked++; r.GetIfEmpty() && !w.empty && !w.ended[string(r.GetStreamId())] {
			response.Kept = true
			return
		}
		w.ended[string(r.GetStreamId())] = true
	})
	return response, err
}

func (w *writer) ConfigureStream(_ context.Context, r *clusterv1.ConfigureStreamRequest) (*clusterv1.ConfigureStreamResponse, error) {
	err := w.answer(func() {
		if id := string(r.GetStreamId()); w.configured[id].GetConfigVersion() < r.GetConfigVersion() {
			w.configured[id] = r
		}
	})
	return &clusterv1.ConfigureStreamResponse{}, err
}

func (w *writer) refuseNext(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = n
}

func (w *writer) hasEnded(id stream.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended[string(id[:])]
}

func (w *writer) configOf(id stream.ID) *clusterv1.ConfigureStreamRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.configured[string(id[:])]
}

func requireError(t *testing.T, err error, code codes.Code, want samsav1.ErrorCode) *samsav1.ErrorDetail {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, status.Code(err), "%v", err)
	detail := rpc.Detail(err)
	require.NotNil(t, detail)
	require.Equal(t, want, detail.GetCode(), "%v", err)
	return detail
}

func requireInvalid(t *testing.T, err error, field string) {
	t.Helper()
	detail := requireError(t, err, codes.InvalidArgument, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
	require.Equal(t, field, detail.GetField())
}

func requireNotFound(t *testing.T, err error) {
	t.Helper()
	requireError(t, err, codes.NotFound, samsav1.ErrorCode_ERROR_CODE_NOT_FOUND)
}

func requirePending(t *testing.T, err error) {
	t.Helper()
	detail := requireError(t, err, codes.FailedPrecondition, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED)
	require.Equal(t, "deletion_pending", detail.GetMetadata()["reason"])
}

func requireUnfinished(t *testing.T, err error, reason string) {
	t.Helper()
	detail := requireError(t, err, codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_NETWORK_ERROR)
	require.Equal(t, reason, detail.GetMetadata()["reason"])
}
