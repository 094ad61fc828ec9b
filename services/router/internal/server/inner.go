package server

import (
	"context"
	"math"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/test/bufconn"
)

const (
	innerBuffer = 128 << 10
	// innerWindow is what one REST call may have under way unread.
	innerWindow = 1 << 20
	// innerConns is over how many connections REST calls are spread, each of which has
	// room for maxStreams: what one token may have (router.token_sessions) leaves enough
	// for the others.
	innerConns = 8
)

// Inner is a connection from the REST handler to the gRPC server of the same
// process.
type Inner struct {
	Conn     *grpc.ClientConn
	listener *bufconn.Listener
	served   chan struct{} // closed when the server has left the listener
}

// NewInner makes a connection whose far end Serve serves.
func NewInner() (*Inner, error) {
	listener := bufconn.Listen(innerBuffer)
	conns := manual.NewBuilderWithScheme("router")
	var state resolver.State
	for i := range innerConns {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: strconv.Itoa(i)})
	}
	conns.InitialState(state)
	conn, err := grpc.NewClient("router:///",
		grpc.WithResolvers(conns),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithInitialWindowSize(innerWindow),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	)
	if err != nil {
		return nil, err
	}
	return &Inner{Conn: conn, listener: listener}, nil
}

// Serve makes the gRPC server answer the connection.
func (i *Inner) Serve(s *grpc.Server) {
	i.served = make(chan struct{})
	go func() {
		defer close(i.served)
		_ = s.Serve(i.listener) // tells only that the listener was closed
	}()
}

// Close closes the connection, and waits for the end of Serve, which comes with
// the end of the gRPC server.
func (i *Inner) Close() error {
	err := i.Conn.Close()
	_ = i.listener.Close()
	if i.served != nil {
		<-i.served
	}
	return err
}
