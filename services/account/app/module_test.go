package app_test

import (
	"context"
	"path/filepath"
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
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/account/app"
	"github.com/samsa-io/samsa/services/account/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

// writer acknowledges every tombstone.
type writer struct {
	clusterv1.UnimplementedWriterServiceServer
}

func (writer) TombstoneBucket(context.Context, *clusterv1.TombstoneBucketRequest) (*clusterv1.TombstoneBucketResponse, error) {
	return &clusterv1.TombstoneBucketResponse{}, nil
}

func testConfig(t *testing.T) config.Config {
	c := config.Default()
	c.Account.Listen = "inproc:account"
	c.Platform.Server.NodeID = "node-1"
	c.Platform.Server.EtcdEndpoints = []string{etcd.ForTest(t).Endpoint}
	c.Platform.NATS.URLs = []string{nats.ForTest(t).URL}
	c.Platform.Database.URL = postgres.ForTest(t)
	c.Platform.Storage.URL = "file://" + filepath.Join(t.TempDir(), "store")
	c.Platform.Observability.MetricsPort = -1
	c.Platform.Auth.Enabled = false
	return c
}

func TestModule_ServesAndPurgesInsideThePlatform(t *testing.T) {
	c := testConfig(t)
	var dialer *rpc.Dialer
	a := fx.New(
		service.Platform(c.Platform, service.WithLogger(zaptest.NewLogger(t))),
		fx.Module("writer", fx.Invoke(func(lc fx.Lifecycle, host *service.Host) error {
			_, err := host.Serve(lc, service.Endpoint{
				Role: discovery.RoleStreamWriter, Listen: "inproc:writer",
				Register: func(s *grpc.Server) { clusterv1.RegisterWriterServiceServer(s, writer{}) },
			})
			return err
		})),
		app.Module(c),
		fx.Populate(&dialer),
	)
	require.NoError(t, a.Err())
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })

	conn, err := dialer.Conn("samsa:///" + discovery.RoleAccount)
	require.NoError(t, err)
	accounts := samsav1.NewAccountServiceClient(conn)
	_, err = accounts.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: "logs"}, grpc.WaitForReady(true))
	require.NoError(t, err)
	_, err = accounts.DeleteBucket(t.Context(), &samsav1.DeleteBucketRequest{Bucket: "logs"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := accounts.GetBucketConfig(t.Context(), &samsav1.GetBucketConfigRequest{Bucket: "logs"})
		return status.Code(err) == codes.NotFound
	}, 10*time.Second, time.Millisecond)
}
