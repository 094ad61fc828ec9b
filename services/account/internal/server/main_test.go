package server_test

import (
	"context"
	"sync"
	"testing"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/account/internal/account"
	"github.com/samsa-io/samsa/services/account/internal/owners"
	"github.com/samsa-io/samsa/services/account/internal/server"
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

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// service is an account service with its database and the writers that it calls.
type service struct {
	samsav1.AccountServiceClient
	catalog *catalog.Catalog
	writer  *writer
	purger  *account.Purger
}

func start(t *testing.T, hold catalog.Hold) *service {
	t.Helper()
	return startOn(t, catalogtest.New(t, catalog.Options{}), hold)
}

func startOn(t *testing.T, c *catalog.Catalog, hold catalog.Hold) *service {
	t.Helper()
	w := &writer{buckets: map[string]map[uint32]bool{}}
	router := connRouter{serve(t, func(s *grpc.Server) { clusterv1.RegisterWriterServiceServer(s, w) })}
	accounts, purger := account.New(c, owners.New(router), account.Options{
		Shards: shards, OwnerTimeout: 10 * time.Second, Hold: hold, Now: func() time.Time { return now },
	}, zap.NewNop())
	conn := serve(t, func(s *grpc.Server) { samsav1.RegisterAccountServiceServer(s, server.New(accounts)) })
	return &service{AccountServiceClient: samsav1.NewAccountServiceClient(conn), catalog: c, writer: w, purger: purger}
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

// connRouter finds the one writer that there is.
type connRouter struct{ conn *grpc.ClientConn }

func (r connRouter) Ask(ctx context.Context, _ stream.Shard, f func(context.Context, grpc.ClientConnInterface) error) error {
	return f(ctx, r.conn)
}

// writer remembers the tombstones of buckets, by their UUIDs, and refuses the
// next calls if it is told to.
type writer struct {
	clusterv1.UnimplementedWriterServiceServer
	mu      sync.Mutex
	refuse  int
	calls   int
	buckets map[string]map[uint32]bool
}

func (w *writer) TombstoneBucket(_ context.Context, r *clusterv1.TombstoneBucketRequest) (*clusterv1.TombstoneBucketResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.refuse > 0 {
		w.refuse--
		return nil, status.Error(codes.Unavailable, "not now")
	}
	id := string(r.GetBucketId())
	if w.buckets[id] == nil {
		w.buckets[id] = map[uint32]bool{}
	}
	w.buckets[id][r.GetShard()] = true
	return &clusterv1.TombstoneBucketResponse{}, nil
}

func (w *writer) refuseNext(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = n
}

func (w *writer) tombstonesOf(id stream.ID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.buckets[string(id[:])])
}

func (w *writer) callCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
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

func requireExists(t *testing.T, err error) {
	t.Helper()
	requireError(t, err, codes.AlreadyExists, samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS)
}

func requirePending(t *testing.T, err error) {
	t.Helper()
	detail := requireError(t, err, codes.FailedPrecondition, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED)
	require.Equal(t, "deletion_pending", detail.GetMetadata()["reason"])
	require.Contains(t, detail.GetMessage(), "deletion pending")
}
