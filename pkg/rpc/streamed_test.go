package rpc

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// serveStreamed serves a tail behind an interceptor.
func serveStreamed(t *testing.T, check grpc.StreamServerInterceptor) *grpc.ClientConn {
	inproc := NewInproc()
	listener, err := inproc.Listen("front")
	require.NoError(t, err)
	server := NewServer(ServerConfig{}, grpc.ChainStreamInterceptor(check))
	samsav1.RegisterStreamServiceServer(Streamed(server), &streams{tail: func(context.Context) error { return nil }})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return dial(t, DialerConfig{Inproc: inproc}, "inproc:front")
}

func TestStreamed_AnswersUnaryCalls(t *testing.T) {
	conn := serveStreamed(t, passStream)
	_, err := samsav1.NewStreamServiceClient(conn).CheckTail(t.Context(), &samsav1.CheckTailRequest{})
	require.NoError(t, err)
}

func TestStreamed_RefusesBeforeTheRequestHasCome(t *testing.T) {
	conn := serveStreamed(t, func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error {
		return Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, "who")
	})
	call, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, samsav1.StreamService_CheckTail_FullMethodName)
	require.NoError(t, err)
	err = call.RecvMsg(&samsav1.CheckTailResponse{})
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, Detail(err).GetCode(), "%v", err)
}
