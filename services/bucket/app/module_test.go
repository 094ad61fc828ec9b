package app_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/bucket/app"
	"github.com/samsa-io/samsa/services/bucket/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

// writer acknowledges all, tombstones only once it is willing.
type writer struct {
	clusterv1.UnimplementedWriterServiceServer
	willing atomic.Bool
}

func (w *writer) ConfigureStream(context.Context, *clusterv1.ConfigureStreamRequest) (*clusterv1.ConfigureStreamResponse, error) {
	return &clusterv1.ConfigureStreamResponse{}, nil
}

func (w *writer) TombstoneStream(context.Context, *clusterv1.TombstoneStreamRequest) (*clusterv1.TombstoneStreamResponse, error) {
	if !w.willing.Load() {
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, "not now")
	}
	return &clusterv1.TombstoneStreamResponse{}, nil
}

func testConfig(t *testing.T) config.Config {
	c := config.Default()
	c.Bucket.Listen = "inproc:bucket"
	c.Platform.Server.NodeID = "node-1"
	c.Platform.Server.EtcdEndpoints = []string{etcd.ForTest(t).Endpoint}
	c.Platform.NATS.URLs = []string{nats.ForTest(t).URL}
	c.Platform.Database.URL = postgres.ForTest(t)
	c.Platform.Storage.URL = "file://" + filepath.Join(t.TempDir(), "store")
	c.Platform.Observability.MetricsPort = -1
	c.Platform.Auth.Enabled = false
	return c
}

func TestModule_ServesAndFinishesInsideThePlatform(t *testing.T) {
	c := testConfig(t)
	c.Bucket.FinishIntervalSecs, c.Bucket.FinishHoldSecs = 1, 1
	owner := &writer{}
	var dialer *rpc.Dialer
	var names *catalog.Catalog
	a := fx.New(
		service.Platform(c.Platform, service.WithLogger(zaptest.NewLogger(t))),
		fx.Module("writer", fx.Invoke(func(lc fx.Lifecycle, host *service.Host) error {
			_, err := host.Serve(lc, service.Endpoint{
				Role: discovery.RoleStreamWriter, Listen: "inproc:writer",
				Register: func(s *grpc.Server) { clusterv1.RegisterWriterServiceServer(s, owner) },
			})
			return err
		})),
		app.Module(c),
		fx.Populate(&dialer, &names),
	)
	require.NoError(t, a.Err())
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	_, err := names.CreateBucket(t.Context(), "logs", settings.Bucket{})
	require.NoError(t, err)

	conn, err := dialer.Conn("samsa:///" + discovery.RoleBucket)
	require.NoError(t, err)
	streams := samsav1.NewBucketServiceClient(conn)
	_, err = streams.CreateStream(t.Context(), &samsav1.CreateStreamRequest{Bucket: "logs", Stream: "a"}, grpc.WaitForReady(true))
	require.NoError(t, err)
	_, err = streams.ReconfigureStream(t.Context(), &samsav1.ReconfigureStreamRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	_, err = streams.DeleteStream(t.Context(), &samsav1.DeleteStreamRequest{Bucket: "logs", Stream: "a"})
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	owner.willing.Store(true)
	require.Eventually(t, func() bool {
		_, err := streams.GetStreamConfig(t.Context(), &samsav1.GetStreamConfigRequest{Bucket: "logs", Stream: "a"})
		return status.Code(err) == codes.NotFound
	}, 10*time.Second, 10*time.Millisecond)
}
