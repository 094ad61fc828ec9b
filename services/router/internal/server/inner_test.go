package server

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

// REST calls do not have to share what one connection may have under way.
func TestInner_HasRoomForMoreCallsThanOneConnection(t *testing.T) {
	const perConnection = 4
	inner, err := NewInner()
	require.NoError(t, err)
	server := grpc.NewServer(grpc.MaxConcurrentStreams(perConnection), grpc.WaitForHandlers(true),
		grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
			if err := ss.SendHeader(nil); err != nil {
				return err
			}
			<-ss.Context().Done()
			return nil
		}))
	inner.Serve(server)
	defer func() {
		server.Stop()
		require.NoError(t, inner.Close())
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 3 * perConnection {
		session, err := inner.Conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/x/y")
		require.NoError(t, err)
		require.NoError(t, session.CloseSend())
		_, err = session.Header()
		require.NoError(t, err)
	}
}
