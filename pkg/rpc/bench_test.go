package rpc

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// BenchmarkSession streams batches of 256 KiB through one connection, over a
// socket and inside the process.
func BenchmarkSession(b *testing.B) {
	for _, address := range []string{"127.0.0.1:0", "inproc:bench"} {
		b.Run(address, func(b *testing.B) { benchmarkSession(b, address) })
	}
}

func benchmarkSession(b *testing.B, address string) {
	record := &samsav1.SequencedRecord{Body: make([]byte, 256<<10)}
	answer := &samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_Batch{
		Batch: &samsav1.SequencedRecordBatch{Records: []*samsav1.SequencedRecord{record}},
	}}}
	inproc := NewInproc()
	ln, err := Listen(b.Context(), address, inproc)
	require.NoError(b, err)
	server := NewServer(ServerConfig{})
	samsav1.RegisterStreamServiceServer(server, &streams{read: func(ss grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error {
		for ss.Context().Err() == nil {
			if err := ss.Send(answer); err != nil {
				return err
			}
		}
		return nil
	}})
	done := make(chan error)
	go func() { done <- server.Serve(ln) }()
	defer func() {
		server.Stop()
		require.NoError(b, <-done)
	}()
	dialer := NewDialer(DialerConfig{Inproc: inproc})
	defer func() { require.NoError(b, dialer.Close()) }()
	conn, err := dialer.Conn(ln.Addr().String())
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	session, err := samsav1.NewStreamServiceClient(conn).ReadSession(ctx, &samsav1.ReadSessionRequest{})
	require.NoError(b, err)
	b.SetBytes(256 << 10)
	for b.Loop() {
		_, err := session.Recv()
		require.NoError(b, err)
	}
}
