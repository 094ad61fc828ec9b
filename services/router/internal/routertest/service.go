// Package routertest holds fake services for the router's tests.
package routertest

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// Service answers all of samsa.v1 with its functions. It listens in process.
type Service struct {
	Instance string
	Calls    atomic.Int64

	AnyUnary      func(ctx context.Context, method string, request any) (any, error)
	AppendSession func(samsav1.StreamService_AppendSessionServer) error
	TakeShard     func(*clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error)
	ReadSession   func(*samsav1.ReadSessionRequest, samsav1.StreamService_ReadSessionServer) error

	Server *grpc.Server
	Conn   *grpc.ClientConn

	listener *dyingListener
}

// start serves s, in clear statuses without the types that rpc.NewServer adds,
// until the test ends.
func (s *Service) start(t testing.TB, inproc *rpc.Inproc, dialer *rpc.Dialer) {
	inner, err := inproc.Listen(s.Instance)
	require.NoError(t, err)
	s.listener = &dyingListener{Listener: inner}
	s.Server = grpc.NewServer(grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.count), grpc.WaitForHandlers(true))
	server := streams{service: s}
	samsav1.RegisterStreamServiceServer(s.Server, server)
	samsav1.RegisterAccountServiceServer(s.Server, samsav1.UnimplementedAccountServiceServer{})
	samsav1.RegisterBucketServiceServer(s.Server, samsav1.UnimplementedBucketServiceServer{})
	clusterv1.RegisterWriterServiceServer(s.Server, clusterv1.UnimplementedWriterServiceServer{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Server.Serve(s.listener) // an error if it died
	}()
	t.Cleanup(func() {
		s.Server.Stop()
		<-served
	})
	s.Conn, err = dialer.Conn(rpc.InprocPrefix + s.Instance)
	require.NoError(t, err)
}

// Die breaks every connection as a killed process would.
func (s *Service) Die() { s.listener.die() }

func (s *Service) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	if take, ok := request.(*clusterv1.TakeShardRequest); ok {
		return s.TakeShard(take)
	}
	s.Calls.Add(1)
	return s.AnyUnary(ctx, info.FullMethod, request)
}

func (s *Service) count(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	s.Calls.Add(1)
	return handler(srv, ss)
}

type streams struct {
	samsav1.UnimplementedStreamServiceServer
	service *Service
}

func (s streams) AppendSession(ss samsav1.StreamService_AppendSessionServer) error {
	return s.service.AppendSession(ss)
}

func (s streams) ReadSession(r *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
	return s.service.ReadSession(r, ss)
}

// NotOwner is the refusal of a stream-writer that does not own the shard, and may
// know who does.
func NotOwner(owner *clusterv1.Owner) error {
	s, err := status.New(codes.Unavailable, "not the owner").WithDetails(&clusterv1.NotOwner{Owner: owner})
	if err != nil { // only for status OK
		panic(err)
	}
	return s.Err()
}

// dyingListener can cut all its connections.
type dyingListener struct {
	net.Listener
	conns connSet
}

func (l *dyingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.conns.add(conn)
	}
	return conn, err
}

func (l *dyingListener) die() {
	_ = l.Close()
	l.conns.close()
}
