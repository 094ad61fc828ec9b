package contract

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"

	"github.com/samsa-io/samsa/tests/cluster"
)

// TestGRPC_IsSpokenOnTheHTTPPortToo, with sessions in both directions.
func (s *Suite) TestGRPC_IsSpokenOnTheHTTPPortToo(t *testing.T) {
	d := newDoor("h2c", cluster.Connect(t, s.target, s.target.HTTP()))
	a := s.stream(t, d, nil)
	session := a.session(t, sessionFrom(0))
	require.Empty(t, session.upToTail(t))
	appends, err := d.AppendSession(call(t))
	require.NoError(t, err)
	for i := range uint64(20) {
		require.NoError(t, appends.Send(&samsav1.AppendSessionRequest{Bucket: a.bucket, Stream: a.stream, Records: records("x")}))
		ack, err := appends.Recv()
		require.NoError(t, err)
		require.Equal(t, i, ack.GetStartSeqNum())
		require.Equal(t, []uint64{i}, seqNums(session.records(t, 1)))
	}
	require.NoError(t, appends.CloseSend())
	_, err = a.tryRead(t, fromSeqNum(100))
	requireFailure(t, pastTail, err)
}

// TestGRPC_HealthAndReflectionAreServed.
func (s *Suite) TestGRPC_HealthAndReflectionAreServed(t *testing.T) {
	conn := s.grpc.conn
	health, err := healthv1.NewHealthClient(conn).Check(call(t), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, health.GetStatus())
	reflection, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(call(t))
	require.NoError(t, err)
	require.NoError(t, reflection.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}))
	answer, err := reflection.Recv()
	require.NoError(t, err)
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	require.Subset(t, names, []string{"samsa.v1.AccountService", "samsa.v1.BucketService", "samsa.v1.StreamService"})
}

// TestGRPC_OversizedMessageIsRefusedAndChangesNothing, also beyond
// server.max_receive_bytes, and in a session after the acknowledgements.
func (s *Suite) TestGRPC_OversizedMessageIsRefusedAndChangesNothing(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	unchanged := a.unchanged(t)
	_, err := a.try(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Body: make([]byte, 3<<20)}}})
	requireFailure(t, invalid, err)
	_, err = a.try(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Body: make([]byte, 8<<20)}}})
	requireFailure(t, tooLarge, err)
	unchanged()
	a.fill(t, "the connection still works")
	session, err := a.AppendSession(call(t))
	require.NoError(t, err)
	for _, size := range []int{1, 8 << 20} {
		require.NoError(t, session.Send(&samsav1.AppendSessionRequest{
			Bucket: a.bucket, Stream: a.stream, Records: []*samsav1.AppendRecord{{Body: make([]byte, size)}},
		}))
	}
	ack, err := session.Recv()
	require.NoError(t, err)
	require.Equal(t, uint64(1), ack.GetStartSeqNum())
	_, err = session.Recv()
	requireFailure(t, tooLarge, err)
}

// TestGRPC_MalformedMessagesAreRefusedAndChangeNothing: bytes that are no message.
func (s *Suite) TestGRPC_MalformedMessagesAreRefusedAndChangeNothing(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	unchanged := a.unchanged(t)
	whole, err := proto.Marshal(&samsav1.AppendRequest{Bucket: a.bucket, Stream: a.stream, Records: records("x")})
	require.NoError(t, err)
	broken := append(whole, 0x1a, 0x7f) // a record that is cut off
	for _, method := range []string{
		samsav1.StreamService_Append_FullMethodName, samsav1.StreamService_AppendSession_FullMethodName,
		samsav1.StreamService_Read_FullMethodName, samsav1.StreamService_ReadSession_FullMethodName,
		samsav1.BucketService_CreateStream_FullMethodName, samsav1.AccountService_CreateBucket_FullMethodName,
	} {
		raw, err := s.grpc.conn.NewStream(call(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(rpc.FrameCodec()))
		require.NoError(t, err)
		_ = raw.SendMsg(rpc.NewFrame(broken))
		_ = raw.CloseSend()
		requireFailure(t, invalid, raw.RecvMsg(&rpc.Frame{}))
	}
	unchanged()
}

// TestGRPC_HeadersThatAreTooLargeAreRefused.
func (s *Suite) TestGRPC_HeadersThatAreTooLargeAreRefused(t *testing.T) {
	ctx := metadata.AppendToOutgoingContext(call(t), "x-large", strings.Repeat("x", 80<<10))
	_, err := s.grpc.ListBuckets(ctx, &samsav1.ListBucketsRequest{})
	requireFailure(t, tooLarge, err)
}

// TestGRPC_UnknownMethodIsUnimplemented.
func (s *Suite) TestGRPC_UnknownMethodIsUnimplemented(t *testing.T) {
	conn := s.grpc.conn.(*grpc.ClientConn)
	err := conn.Invoke(call(t), "/samsa.v1.StreamService/NoSuchMethod", &samsav1.CheckTailRequest{}, &samsav1.CheckTailResponse{})
	require.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
}
