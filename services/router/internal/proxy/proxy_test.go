package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/route"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func answer(response any, err error) func(context.Context, string, any) (any, error) {
	return func(context.Context, string, any) (any, error) { return response, err }
}

func code(err error) samsav1.ErrorCode { return rpc.Detail(err).GetCode() }

func appendRequest() *samsav1.AppendRequest {
	return &samsav1.AppendRequest{Bucket: "logs", Stream: "a", Records: []*samsav1.AppendRecord{{Body: []byte("x")}}}
}

func TestEveryMethod_ReachesTheServiceOfItsRule(t *testing.T) {
	r := routertest.New(t)
	for _, role := range []string{"account", "bucket", "stream-writer", "stream-reader"} {
		r.Add(role, &routertest.Service{
			AnyUnary: func(_ context.Context, method string, _ any) (any, error) {
				return nil, status.Error(codes.NotFound, role+method)
			},
			AppendSession: func(samsav1.StreamService_AppendSessionServer) error {
				return status.Error(codes.NotFound, role+samsav1.StreamService_AppendSession_FullMethodName)
			},
			ReadSession: func(*samsav1.ReadSessionRequest, samsav1.StreamService_ReadSessionServer) error {
				return status.Error(codes.NotFound, role+samsav1.StreamService_ReadSession_FullMethodName)
			},
		})
	}
	table, err := route.NewTable(route.Services()...)
	require.NoError(t, err)
	for name, method := range table {
		require.ErrorContains(t, callWithName(t, r.Client, name), method.Role+name)
	}
}

// callWithName calls a method with whatever fields of its request are called
// bucket and stream.
func callWithName(t *testing.T, client *grpc.ClientConn, name string) error {
	service, method, _ := strings.Cut(name[1:], "/")
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	require.NoError(t, err)
	rpcMethod := descriptor.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method))
	request := dynamicpb.NewMessage(rpcMethod.Input())
	for field, value := range map[string]string{"bucket": "logs", "stream": "a"} {
		if f := rpcMethod.Input().Fields().ByName(protoreflect.Name(field)); f != nil {
			request.Set(f, protoreflect.ValueOfString(value))
		}
	}
	ss, err := client.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, name)
	require.NoError(t, err)
	require.NoError(t, ss.SendMsg(request))
	require.NoError(t, ss.CloseSend())
	return ss.RecvMsg(dynamicpb.NewMessage(rpcMethod.Output()))
}

func TestUnknownMethod_IsUnimplemented(t *testing.T) {
	r := routertest.New(t)
	for _, name := range []string{"/samsa.v1.StreamService/Rewind", "/samsa.internal.v1.WriterService/TakeShard", "/x/y"} {
		err := r.Client.Invoke(t.Context(), name, &samsav1.ReadRequest{}, &samsav1.ReadResponse{})
		require.Equal(t, codes.Unimplemented, status.Code(err), name)
	}
}

func TestMalformedRequest_IsInvalidArgumentAndReachesNobody(t *testing.T) {
	r := routertest.New(t)
	writer := r.Add("stream-writer", &routertest.Service{AnyUnary: answer(&samsav1.AppendResponse{}, nil)})

	err := r.Client.Invoke(t.Context(), samsav1.StreamService_Append_FullMethodName, rpc.NewFrame([]byte{0x0a, 9}), &rpc.Frame{}, grpc.ForceCodecV2(rpc.FrameCodec()))
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, code(err))
	_, err = r.Streams().Append(t.Context(), &samsav1.AppendRequest{Bucket: "logs", Stream: ".."})
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, code(err))
	require.Equal(t, "stream", rpc.Detail(err).GetField())
	require.Zero(t, writer.Calls.Load())
}

func TestMetadata_PassesBothWays(t *testing.T) {
	r := routertest.New(t)
	var seen metadata.MD
	var deadline time.Time
	r.Add("bucket", &routertest.Service{AnyUnary: func(ctx context.Context, _ string, _ any) (any, error) {
		seen, _ = metadata.FromIncomingContext(ctx)
		deadline, _ = ctx.Deadline()
		_ = grpc.SetHeader(ctx, metadata.Pairs("h", "1", rpc.RequestIDKey, "theirs"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("t", "2"))
		return &samsav1.ListStreamsResponse{HasMore: true}, nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "bucket", "logs", "x-request-id", "abc", "authorization", "Bearer s", "traceparent", "00-1", "k-bin", "\x00\xff")
	var header, trailer metadata.MD

	got, err := samsav1.NewBucketServiceClient(r.Client).ListStreams(ctx, &samsav1.ListStreamsRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))

	require.NoError(t, err)
	require.True(t, got.GetHasMore())
	for key, value := range map[string]string{"bucket": "logs", "x-request-id": "abc", "authorization": "Bearer s", "traceparent": "00-1", "k-bin": "\x00\xff"} {
		require.Equal(t, []string{value}, seen.Get(key), key)
	}
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline, 10*time.Second)
	require.Equal(t, []string{"1"}, header.Get("h"))
	require.Equal(t, []string{"abc"}, header.Get(rpc.RequestIDKey))
	require.Equal(t, []string{"2"}, trailer.Get("t"))
}

func TestTypedErrors_PassUntouchedButForTheRequestID(t *testing.T) {
	r := routertest.New(t)
	refusal := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "stale").With("fencing_token", "f")
	refusal.RequestID = "r1"
	r.Add("stream-writer", &routertest.Service{AnyUnary: answer(nil, refusal)})

	_, err := r.Streams().Append(t.Context(), appendRequest())
	require.True(t, proto.Equal(refusal.GRPCStatus().Proto(), status.Convert(err).Proto()), err)
}

func TestAppend_FollowsRefusalsAndDeadWriters(t *testing.T) {
	for title, first := range map[string]*routertest.Service{
		"not the owner": {AnyUnary: answer(nil, routertest.NotOwner(nil))},
		"unavailable":   {AnyUnary: answer(nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "full"))},
	} {
		t.Run(title, func(t *testing.T) {
			r := routertest.New(t)
			r.Add("stream-writer", first)
			r.Add("stream-writer", &routertest.Service{AnyUnary: answer(&samsav1.AppendResponse{EndSeqNum: 7}, nil)})
			got, err := r.Streams().Append(t.Context(), appendRequest())
			require.NoError(t, err)
			require.EqualValues(t, 7, got.GetEndSeqNum())
		})
	}
	t.Run("dead", func(t *testing.T) {
		r := routertest.New(t)
		r.Add("stream-writer", &routertest.Service{}).Die()
		r.Add("stream-writer", &routertest.Service{AnyUnary: answer(&samsav1.AppendResponse{EndSeqNum: 7}, nil)})
		_, err := r.Streams().Append(t.Context(), appendRequest())
		require.NoError(t, err)
	})
}

func TestNotOwner_NeverReachesTheClient(t *testing.T) {
	r := routertest.New(t)
	r.Add("stream-writer", &routertest.Service{AnyUnary: answer(nil, routertest.NotOwner(nil))})

	_, err := r.Streams().Append(t.Context(), appendRequest())
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
	require.False(t, proxy.IsNotOwner(err))
	require.True(t, hasRetryInfo(err))
}

func hasRetryInfo(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if _, ok := detail.(*errdetails.RetryInfo); ok {
			return true
		}
	}
	return false
}

func TestBrokenConnection_LeavesTheOutcomeOfAnAppendUnknown(t *testing.T) {
	r := routertest.New(t)
	var first *routertest.Service
	first = r.Add("stream-writer", &routertest.Service{AnyUnary: func(ctx context.Context, _ string, _ any) (any, error) {
		first.Die()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	second := r.Add("stream-writer", &routertest.Service{AnyUnary: answer(&samsav1.AppendResponse{}, nil)})

	_, err := r.Streams().Append(t.Context(), appendRequest())
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, code(err))
	require.Equal(t, codes.Unknown, status.Code(err))
	require.True(t, strings.HasSuffix(rpc.Detail(err).GetMessage(), "may or may not have taken place"), "it tells how: %v", err)
	require.Zero(t, second.Calls.Load(), "the append was sent twice")
}

func TestUnreachableService_IsNamedByItsRoleAlone(t *testing.T) {
	r := routertest.New(t)
	for _, role := range []string{"account", "stream-reader"} {
		r.Add(role, &routertest.Service{}).Die()
	}
	_, err := r.Streams().Read(t.Context(), &samsav1.ReadRequest{Bucket: "logs", Stream: "a"})
	require.Equal(t, "the stream-reader service can't be reached", rpc.Detail(err).GetMessage())
	_, err = samsav1.NewAccountServiceClient(r.Client).ListBuckets(t.Context(), &samsav1.ListBucketsRequest{})
	require.Equal(t, "the account service can't be reached", rpc.Detail(err).GetMessage())
}

func TestBrokenConnection_IsRepairedForReads(t *testing.T) {
	r := routertest.New(t)
	var first *routertest.Service
	first = r.Add("stream-reader", &routertest.Service{AnyUnary: func(ctx context.Context, _ string, _ any) (any, error) {
		first.Die()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	request := &samsav1.ReadRequest{Bucket: "logs", Stream: "a"}

	_, err := r.Streams().Read(t.Context(), request)
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
	require.True(t, hasRetryInfo(err))

	r.Add("stream-reader", &routertest.Service{AnyUnary: answer(&samsav1.ReadResponse{NextSeqNum: 9}, nil)})
	got, err := r.Streams().Read(t.Context(), request)
	require.NoError(t, err)
	require.EqualValues(t, 9, got.GetNextSeqNum())
}

func TestBrokenConnection_IsRepairedForTails(t *testing.T) {
	r := routertest.New(t)
	var first *routertest.Service
	first = r.Add("stream-writer", &routertest.Service{AnyUnary: func(ctx context.Context, _ string, _ any) (any, error) {
		first.Die()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	r.Add("stream-writer", &routertest.Service{AnyUnary: answer(&samsav1.CheckTailResponse{NextSeqNum: 9}, nil)})
	got, err := r.Streams().CheckTail(t.Context(), &samsav1.CheckTailRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	require.EqualValues(t, 9, got.GetNextSeqNum())
}

func TestNoMember_IsUnavailable(t *testing.T) {
	r := routertest.New(t)
	_, err := r.Streams().Read(t.Context(), &samsav1.ReadRequest{Bucket: "logs", Stream: "a"})
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
}

func TestStuckOwner_IsReportedAndTheAppendIsNotSentAgain(t *testing.T) {
	r := routertest.New(t)
	answerNow := make(chan struct{})
	writer := r.Add("stream-writer", &routertest.Service{AnyUnary: func(context.Context, string, any) (any, error) {
		<-answerNow
		return &samsav1.AppendResponse{}, nil
	}})
	done := make(chan error, 1)
	go func() {
		_, err := r.Streams().Append(t.Context(), appendRequest())
		done <- err
	}()
	require.Eventually(t, func() bool { return len(r.Reported()) > 0 }, 5*time.Second, time.Millisecond)
	close(answerNow)
	require.NoError(t, <-done)
	require.EqualValues(t, 1, writer.Calls.Load())
}

func TestStuckOwner_ThatLostItsShardLeavesTheAppendUnknown(t *testing.T) {
	r := routertest.New(t)
	writer := r.Add("stream-writer", &routertest.Service{AnyUnary: func(ctx context.Context, _ string, _ any) (any, error) {
		r.TakeOver()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	_, err := r.Streams().Append(t.Context(), appendRequest())
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, code(err))
	require.ErrorContains(t, err, "fell silent")
	require.EqualValues(t, 1, writer.Calls.Load())
}

// pauses acknowledges so many requests of a session and then falls silent; more
// come when goOn is closed.
func pauses(after int, goOn <-chan struct{}) func(samsav1.StreamService_AppendSessionServer) error {
	return func(ss samsav1.StreamService_AppendSessionServer) error {
		for i := 0; ; i++ {
			request, err := ss.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if i >= after {
				select {
				case <-goOn:
				case <-ss.Context().Done():
					return ss.Context().Err()
				}
			}
			if err := ss.Send(&samsav1.AppendSessionResponse{EndSeqNum: request.GetMatchSeqNum()}); err != nil {
				return err
			}
		}
	}
}

// openSession begins a session and sees that its first requests are acknowledged.
func openSession(t *testing.T, r *routertest.Rig, acks uint64) samsav1.StreamService_AppendSessionClient {
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	for i := range acks {
		require.NoError(t, session.Send(sessionRequest(i)))
		ack, err := session.Recv()
		require.NoError(t, err)
		require.Equal(t, i, ack.GetEndSeqNum())
	}
	return session
}

func TestAppendSession_EndsWhenItsOwnerFallsSilentAndLosesTheShard(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.SlowAnswer = time.Second }) // it falls silent after three answers
	r.Add("stream-writer", &routertest.Service{AppendSession: pauses(3, nil)})
	session := openSession(t, r, 3)
	require.Empty(t, r.Reported(), "nothing waits for an answer")
	r.TakeOver()
	require.NoError(t, session.Send(sessionRequest(3)))
	_, err := session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, code(err))
	require.Contains(t, r.Reported(), "stream-writer-0")
}

func TestAppendSession_WaitsForAnOwnerThatIsSlowAndKeepsTheShard(t *testing.T) {
	r := routertest.New(t)
	goOn := make(chan struct{})
	r.Add("stream-writer", &routertest.Service{AppendSession: pauses(1, goOn)})
	session := openSession(t, r, 1)
	require.NoError(t, session.Send(sessionRequest(1)))
	require.Eventually(t, func() bool { return len(r.Reported()) >= 3 }, 10*time.Second, time.Millisecond, "it is looked into again and again")
	close(goOn)
	ack, err := session.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 1, ack.GetEndSeqNum())
	require.NoError(t, session.CloseSend())
	_, err = session.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestAppendSession_HasTheNextOwnerLookedForWhenItsConnectionBreaks(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.SlowAnswer = time.Minute }) // not because it was slow
	writer := r.Add("stream-writer", &routertest.Service{AppendSession: pauses(1, nil)})
	session := openSession(t, r, 1)
	writer.Die()
	_, err := session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, code(err))
	require.Equal(t, []string{"stream-writer-0"}, r.Reported())
}

// echo acknowledges each request of a session with its match_seq_num.
func echo(ss samsav1.StreamService_AppendSessionServer) error {
	for {
		request, err := ss.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ss.Send(&samsav1.AppendSessionResponse{EndSeqNum: request.GetMatchSeqNum()}); err != nil {
			return err
		}
	}
}

func sessionRequest(i uint64) *samsav1.AppendSessionRequest {
	request := &samsav1.AppendSessionRequest{MatchSeqNum: &i}
	if i == 0 {
		request.Bucket, request.Stream = "logs", "a"
	}
	return request
}

func TestAppendSession_PipelinesAndDrainsAtHalfClose(t *testing.T) {
	r := routertest.New(t)
	r.Add("stream-writer", &routertest.Service{AppendSession: func(samsav1.StreamService_AppendSessionServer) error { return routertest.NotOwner(nil) }})
	r.Add("stream-writer", &routertest.Service{AppendSession: echo})

	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	for i := range uint64(50) {
		require.NoError(t, session.Send(sessionRequest(i)))
	}
	require.NoError(t, session.CloseSend())
	for i := range uint64(50) {
		ack, err := session.Recv()
		require.NoError(t, err)
		require.Equal(t, i, ack.GetEndSeqNum())
	}
	_, err = session.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestAppendSession_WithoutAMessageEndsWell(t *testing.T) {
	session, err := routertest.New(t).Streams().AppendSession(t.Context())
	require.NoError(t, err)
	require.NoError(t, session.CloseSend())
	_, err = session.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestAppendSession_IsNotRepeatedAfterAnAck(t *testing.T) {
	r := routertest.New(t)
	r.Add("stream-writer", &routertest.Service{AppendSession: func(ss samsav1.StreamService_AppendSessionServer) error {
		_, _ = ss.Recv()
		_ = ss.Send(&samsav1.AppendSessionResponse{})
		_, _ = ss.Recv()
		return routertest.NotOwner(nil)
	}})
	second := r.Add("stream-writer", &routertest.Service{AppendSession: echo})

	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	require.NoError(t, session.Send(sessionRequest(0)))
	_, err = session.Recv()
	require.NoError(t, err)
	require.NoError(t, session.Send(sessionRequest(1)))
	_, err = session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
	require.Zero(t, second.Calls.Load())
}

func TestAppendSession_BackendDyingLeavesTheOutcomeUnknown(t *testing.T) {
	r := routertest.New(t)
	writer := r.Add("stream-writer", &routertest.Service{AppendSession: echo})
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	require.NoError(t, session.Send(sessionRequest(0)))
	_, err = session.Recv()
	require.NoError(t, err)

	writer.Die()
	_, err = session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, code(err))
}

// The acknowledgements of what came before arrive first, and nothing is unknown.
func TestAppendSession_AMessageThatIsTooLargeEndsItAfterItsAcks(t *testing.T) {
	r := routertest.New(t)
	r.Add("stream-writer", &routertest.Service{AppendSession: echo})
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	for i := range uint64(3) {
		require.NoError(t, session.Send(sessionRequest(i)))
	}
	large := sessionRequest(3)
	large.Records = []*samsav1.AppendRecord{{Body: make([]byte, 5<<20)}}
	require.NoError(t, session.Send(large))
	for i := range uint64(3) {
		ack, err := session.Recv()
		require.NoError(t, err)
		require.Equal(t, i, ack.GetEndSeqNum())
	}
	_, err = session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, code(err), "%v", err)
	require.Equal(t, "message_too_large", rpc.Detail(err).GetMetadata()["reason"])
}

func TestRequestsThatAreTooLarge_AreTyped(t *testing.T) {
	r := routertest.New(t)
	for _, bytes := range []int{5 << 20, 24 << 20} {
		request := appendRequest()
		request.Records = []*samsav1.AppendRecord{{Body: make([]byte, bytes)}}
		_, err := r.Streams().Append(t.Context(), request)
		require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
		require.Equal(t, "4194304", rpc.Detail(err).GetMetadata()["limit_bytes"])
		require.NotEmpty(t, rpc.Detail(err).GetRequestId())
	}
}

func TestReadSession_BackendDyingIsUnavailable(t *testing.T) {
	r := routertest.New(t)
	reader := r.Add("stream-reader", &routertest.Service{ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		_ = ss.Send(&samsav1.ReadSessionResponse{})
		<-ss.Context().Done()
		return ss.Context().Err()
	}})
	session, err := r.Streams().ReadSession(t.Context(), &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	_, err = session.Recv()
	require.NoError(t, err)

	reader.Die()
	_, err = session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
}

func TestCancellation_ReachesTheBackend(t *testing.T) {
	r := routertest.New(t)
	ended := make(chan error, 1)
	r.Add("stream-reader", &routertest.Service{ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		_ = ss.Send(&samsav1.ReadSessionResponse{})
		<-ss.Context().Done()
		ended <- ss.Context().Err()
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	session, err := r.Streams().ReadSession(ctx, &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	_, err = session.Recv()
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestDrain_EndsSessionsWithAHintAfterTheirAcks(t *testing.T) {
	r := routertest.New(t)
	forwarded := make(chan struct{}, 2)
	drained := make(chan struct{})
	r.Add("stream-writer", &routertest.Service{AppendSession: func(ss samsav1.StreamService_AppendSessionServer) error {
		if err := ss.SendHeader(nil); err != nil {
			return err
		}
		for range 2 {
			if _, err := ss.Recv(); err != nil {
				return err
			}
			forwarded <- struct{}{}
		}
		_, err := ss.Recv()
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("want a half-close, got %w", err)
		}
		close(drained)
		_ = ss.Send(&samsav1.AppendSessionResponse{})
		return ss.Send(&samsav1.AppendSessionResponse{})
	}})
	r.Add("stream-reader", &routertest.Service{ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		_ = ss.Send(&samsav1.ReadSessionResponse{})
		<-ss.Context().Done()
		return ss.Context().Err()
	}})
	reading, err := r.Streams().ReadSession(t.Context(), &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "a"})
	require.NoError(t, err)
	_, err = reading.Recv()
	require.NoError(t, err)
	appending, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	for i := range uint64(2) {
		require.NoError(t, appending.Send(sessionRequest(i)))
		<-forwarded
	}

	r.Proxy.Drain()

	_, err = reading.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
	require.True(t, hasRetryInfo(err))
	<-drained
	for range 2 {
		_, err = appending.Recv()
		require.NoError(t, err)
	}
	_, err = appending.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err))
	require.True(t, hasRetryInfo(err))
}

// A backend that stops taking messages stops the client before much piles up.
func TestAppendSession_PushesBack(t *testing.T) {
	r := routertest.New(t)
	routertest.RequirePushBack(t, r, r.Streams())
}

func TestManySessions_Interleave(t *testing.T) {
	r := routertest.New(t)
	r.Add("stream-writer", &routertest.Service{AppendSession: echo})
	var sessions sync.WaitGroup
	for range 200 {
		sessions.Go(func() {
			session, err := r.Streams().AppendSession(t.Context())
			if !errors.Is(err, nil) {
				t.Error(err)
				return
			}
			for i := range uint64(20) {
				if err := session.Send(sessionRequest(i)); err != nil {
					t.Error(err)
				}
				ack, err := session.Recv()
				if err != nil || ack.GetEndSeqNum() != i {
					t.Error(ack, err)
				}
			}
			_ = session.CloseSend()
			if _, err := session.Recv(); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
	}
	sessions.Wait()
}
