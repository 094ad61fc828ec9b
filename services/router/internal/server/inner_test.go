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
	// The first calls may wait for a place at the connection that was ready first.
	open := func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		patience := time.AfterFunc(200*time.Millisecond, cancel)
		session, err := inner.Conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/x/y")
		if err != nil {
			return false
		}
		header, err := session.Header()
		return err == nil && header != nil && patience.Stop()
	}
	for range 3 * perConnection {
		require.Eventually(t, open, time.Minute, time.Millisecond)
	}
}
