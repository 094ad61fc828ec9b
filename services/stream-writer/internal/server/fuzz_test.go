package server

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// FuzzRequests sends any bytes as requests. They are answered, or refused with a type
// that says that nothing has happened.
func FuzzRequests(f *testing.F) {
	c := start(f, objstore.NewMem())
	methods := []string{
		samsav1.StreamService_Append_FullMethodName, samsav1.StreamService_AppendSession_FullMethodName,
		samsav1.StreamService_CheckTail_FullMethodName, samsav1.StreamService_Read_FullMethodName,
	}
	for _, r := range []proto.Message{
		&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), ProducerId: new("p"), ProducerSeq: new(uint64(0))},
		&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: []*samsav1.AppendRecord{{Headers: []*samsav1.Header{{Value: []byte("trim")}}, Body: make([]byte, 8)}}},
		&samsav1.AppendRequest{Bucket: "bucket", Stream: "s", Records: body("x"), MatchSeqId: new("x"), FencingToken: new("f"), MatchSeqNum: new(uint64(3))},
	} {
		wire, err := proto.Marshal(r)
		require.NoError(f, err)
		f.Add(uint8(0), wire, wire)
		f.Add(uint8(1), wire, wire)
	}
	f.Fuzz(func(t *testing.T, which uint8, first, second []byte) {
		method := methods[int(which)%len(methods)]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(rpc.FrameCodec()))
		require.NoError(t, err)
		_ = stream.SendMsg(rpc.NewFrame(first))
		if method == samsav1.StreamService_AppendSession_FullMethodName {
			_ = stream.SendMsg(rpc.NewFrame(second))
		}
		_ = stream.CloseSend()
		for err == nil {
			var answer rpc.Frame
			err = stream.RecvMsg(&answer)
			answer.Free()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		detail := rpc.Detail(err)
		require.NotNil(t, detail, "%s: %v", method, err)
		require.NotContains(t, []samsav1.ErrorCode{samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN},
			detail.GetCode(), "%s: %v", method, err)
	})
}
