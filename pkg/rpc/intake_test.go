package rpc

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// appendBytes sends wire as an append request, whatever it is.
func appendBytes(t *testing.T, c ServerConfig, method string, wire []byte) error {
	t.Helper()
	inproc := NewInproc()
	called := func(context.Context) error { t.Error("the handler was called"); return nil }
	serve(t, inproc, "writer", func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, &streams{append: called}) }, c)
	conn := dial(t, DialerConfig{Inproc: inproc}, "inproc:writer")
	ss, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(FrameCodec()))
	require.NoError(t, err)
	_ = ss.SendMsg(NewFrame(wire)) // a failure shows below
	_ = ss.CloseSend()
	return ss.RecvMsg(&Frame{})
}

func batchOf(records ...*samsav1.AppendRecord) []byte {
	wire, err := proto.Marshal(&samsav1.AppendRequest{Bucket: "logs", Stream: "s", Records: records})
	if err != nil {
		panic(err)
	}
	return wire
}

func TestIntake_TypesMessagesThatAreTooLarge(t *testing.T) {
	c := ServerConfig{MaxReceiveBytes: 1 << 16}
	err := appendBytes(t, c, samsav1.StreamService_Append_FullMethodName, batchOf(&samsav1.AppendRecord{Body: make([]byte, 1<<16)}))
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	d := Detail(err)
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, d.GetCode())
	require.Equal(t, "65536", d.GetMetadata()["limit_bytes"])
	require.Equal(t, "server.max_receive_bytes", d.GetMetadata()["limit"])
	require.NotEmpty(t, d.GetRequestId())
}

// reading receives one message of a session; the handler sees the error first.
type reading struct {
	samsav1.UnimplementedStreamServiceServer
	got chan error
}

func (r *reading) AppendSession(ss samsav1.StreamService_AppendSessionServer) error {
	_, err := ss.Recv()
	r.got <- err
	return err
}

func TestIntake_TypesWhatASessionCannotTake(t *testing.T) {
	for name, c := range map[string]struct {
		wire []byte
		code samsav1.ErrorCode
	}{
		"large":           {batchOf(&samsav1.AppendRecord{Body: make([]byte, 1<<16)}), samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED},
		"far too large":   {batchOf(&samsav1.AppendRecord{Body: make([]byte, 7<<16)}), samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED},
		"malformed":       {[]byte{0x0a, 0x7f}, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"too many record": {bytes.Repeat([]byte{0x1a, 0}, 1001), samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
	} {
		t.Run(name, func(t *testing.T) {
			inproc, r := NewInproc(), &reading{got: make(chan error, 1)}
			serve(t, inproc, "writer", func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, r) }, ServerConfig{MaxReceiveBytes: 1 << 16})
			conn := dial(t, DialerConfig{Inproc: inproc}, "inproc:writer")
			ss, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
				samsav1.StreamService_AppendSession_FullMethodName, grpc.ForceCodecV2(FrameCodec()))
			require.NoError(t, err)
			_ = ss.SendMsg(NewFrame(c.wire))
			err = ss.RecvMsg(&Frame{})
			require.Equal(t, c.code, Detail(err).GetCode(), "%v", err)
			require.Equal(t, c.code, Detail(<-r.got).GetCode())
		})
	}
}

func TestIntake_SaysThatAMalformedAppendChangedNothing(t *testing.T) {
	err := appendBytes(t, ServerConfig{}, samsav1.StreamService_Append_FullMethodName, []byte{0x0a, 0x7f})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	require.Equal(t, "malformed", Detail(err).GetMetadata()["reason"])
}

// 4 MiB of empty headers are two million messages when decoded.
func TestIntake_MeasuresABatchBeforeDecodingIt(t *testing.T) {
	record := bytes.Repeat([]byte{headersField<<3 | 2, 0}, 2<<20-64)
	wire := protowire.AppendBytes(protowire.AppendTag(nil, recordsField, protowire.BytesType), record)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := appendBytes(t, ServerConfig{}, samsav1.StreamService_Append_FullMethodName, wire)
	runtime.ReadMemStats(&after)
	require.Equal(t, "records", Detail(err).GetField(), "%v", err)
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

func TestMeasureBatch_CountsAsTheContractSays(t *testing.T) {
	records, metered := MeasureBatch(batchOf(
		&samsav1.AppendRecord{Body: []byte("four")},
		&samsav1.AppendRecord{Headers: []*samsav1.Header{{Name: []byte("n"), Value: []byte("vv")}, {}}}))
	require.Equal(t, 2, records)
	require.Equal(t, 8+4+8+2+3+2, metered)
}

func TestIntake_TypesHeadersThatAreTooLarge(t *testing.T) {
	client := serveStreams(t, &streams{tail: func(context.Context) error { return nil }}, ServerConfig{MaxHeaderBytes: 4096})
	for _, many := range [][]string{{"x-large", strings.Repeat("x", 4096)}, pairs(120)} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), many...)
		_, err := client.CheckTail(ctx, &samsav1.CheckTailRequest{})
		require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
		require.Equal(t, "headers_too_large", Detail(err).GetMetadata()["reason"])
		require.Equal(t, "4096", Detail(err).GetMetadata()["limit_bytes"])
	}
	_, err := client.CheckTail(metadata.AppendToOutgoingContext(t.Context(), pairs(20)...), &samsav1.CheckTailRequest{})
	require.NoError(t, err)
}

// pairs are so many headers of a few bytes.
func pairs(n int) []string {
	var all []string
	for range n {
		all = append(all, "x-many", "v")
	}
	return all
}

func TestError_SaysWhenToTryAgain(t *testing.T) {
	sent := Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "slow down").After(1500 * 1e6)
	require.Equal(t, sent.RetryAfter, RetryAfter(sent))
	back, ok := FromError(sent.GRPCStatus().Err())
	require.True(t, ok)
	require.Equal(t, sent.RetryAfter, back.RetryAfter)
	require.Zero(t, RetryAfter(status.Error(codes.Unavailable, "")))
}

func FuzzIntake(f *testing.F) {
	f.Add(batchOf(&samsav1.AppendRecord{Body: []byte("x"), Headers: []*samsav1.Header{{Name: []byte("n")}}}))
	f.Add([]byte{0x1a, 0xff})
	f.Fuzz(func(t *testing.T, wire []byte) {
		var r samsav1.AppendRequest
		records, metered := MeasureBatch(wire)
		if proto.Unmarshal(wire, &r) != nil {
			return
		}
		require.Len(t, r.GetRecords(), records)
		least := 0
		for _, record := range r.GetRecords() {
			least += 8 + 2*len(record.GetHeaders()) + len(record.GetBody())
		}
		require.GreaterOrEqual(t, metered, least)
	})
}
