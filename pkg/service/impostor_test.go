package service

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/pkg/stream"
)

// claimant says that it is a stream-writer, and takes what it is given.
type claimant struct {
	clusterv1.UnimplementedWriterServiceServer
	samsav1.UnimplementedStreamServiceServer
	discovery.Member
	calls atomic.Int64
}

func (c *claimant) TakeShard(context.Context, *clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error) {
	c.calls.Add(1)
	incarnation := stream.NewIncarnation()
	return &clusterv1.TakeShardResponse{Owner: &clusterv1.Owner{Incarnation: incarnation[:], Instance: c.Instance, Address: c.Address}}, nil
}

func (c *claimant) Append(context.Context, *samsav1.AppendRequest) (*samsav1.AppendResponse, error) {
	c.calls.Add(1)
	return &samsav1.AppendResponse{}, nil
}

// claim registers a server that shows the certificate of a role as a stream-writer.
func claim(t *testing.T, s *Security, instance string) *claimant {
	server := rpc.NewServer(rpc.ServerConfig{}, grpc.Creds(mtls.Credentials(s.mutual.Server())))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &claimant{Member: discovery.Member{Role: discovery.RoleStreamWriter, Instance: instance, Address: ln.Addr().String()}}
	clusterv1.RegisterWriterServiceServer(server, c)
	samsav1.RegisterStreamServiceServer(server, c)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
	})
	return c
}

func TestSecurity_AReaderThatRegistersAsAStreamWriterGetsNothing(t *testing.T) {
	ca, err := mtls.OpenCA(t.TempDir(), time.Hour)
	require.NoError(t, err)
	of := func(role string) *Security {
		s := &Security{auth: defaultAuth(), tls: defaultTLS(), log: zaptest.NewLogger(t)}
		files, err := ca.IssueRole(s.tls.TrustDomain, role, time.Hour)
		require.NoError(t, err)
		s.mutual, err = mtls.Open(files, mtls.Options{})
		require.NoError(t, err)
		return s
	}
	writer, impostor := claim(t, of(discovery.RoleStreamWriter), "writer"), claim(t, of(discovery.RoleStreamReader), "impostor")
	router := of(discovery.RoleRouter)
	perCall, err := router.callCredentials()
	require.NoError(t, err)
	dialer := rpc.NewDialer(rpc.DialerConfig{Credentials: router.dialCredentials(), PerCall: perCall})
	defer func() { require.NoError(t, dialer.Close()) }()
	const shards = 8
	owners := shardroute.New(discovery.Fixed(discovery.RoleStreamWriter, impostor.Member, writer.Member), dialer, shardroute.Options{Shards: shards})
	defer owners.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for shard := range stream.Shard(shards) { // of which the impostor ranks first for some
		require.NoError(t, owners.Do(ctx, shard, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := samsav1.NewStreamServiceClient(conn).Append(ctx, &samsav1.AppendRequest{})
			return err
		}))
	}
	require.Zero(t, impostor.calls.Load())
	require.GreaterOrEqual(t, writer.calls.Load(), int64(shards))
}
