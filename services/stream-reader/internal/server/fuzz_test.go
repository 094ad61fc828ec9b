package server_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// FuzzRequests sends any bytes as requests. They are answered, or refused with a type.
func FuzzRequests(f *testing.F) {
	r := newRig(f, "inproc:reader")
	s := r.create(0)
	methods := []string{samsav1.StreamService_Read_FullMethodName, samsav1.StreamService_ReadSession_FullMethodName}
	for _, in := range []proto.Message{
		&samsav1.ReadRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream, Start: &samsav1.ReadRequest_SeqNum{SeqNum: 1}, Limit: &samsav1.ReadLimit{Count: new(uint64(1)), Bytes: new(uint64(9))}},
		&samsav1.ReadRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream, Start: &samsav1.ReadRequest_SeqId{SeqId: "x"}, Clamp: true, Until: new(uint64(3))},
		&samsav1.ReadRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream, Start: &samsav1.ReadRequest_Timestamp{Timestamp: 2}, WaitMs: 1},
		&samsav1.ReadRequest{Bucket: s.Name.Bucket, Stream: "another"},
	} {
		wire, err := proto.Marshal(in)
		require.NoError(f, err)
		f.Add(uint8(0), wire)
		f.Add(uint8(1), wire)
	}
	_, err := r.client.Read(f.Context(), readOf(s)) // connects
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, which uint8, wire []byte) {
		method := methods[int(which)%len(methods)]
		// Sessions, and reads that wait, go on for ever.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodecV2(rpc.FrameCodec()))
		if ctx.Err() != nil {
			return
		}
		require.NoError(t, err)
		_ = stream.SendMsg(rpc.NewFrame(wire))
		_ = stream.CloseSend()
		for err == nil {
			var answer rpc.Frame
			err = stream.RecvMsg(&answer)
			answer.Free()
		}
		if errors.Is(err, io.EOF) || ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded { // the server may be the first to notice
			return
		}
		detail := rpc.Detail(err)
		require.NotNil(t, detail, "%s: %v", method, err)
		require.NotEqual(t, samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, detail.GetCode(), "%s: %v", method, err)
	})
}
