package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// streams is a StreamService made of functions.
type streams struct {
	samsav1.UnimplementedStreamServiceServer
	tail   func(context.Context) error
	append func(context.Context) error
	read   func(grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error
}

func (s *streams) CheckTail(ctx context.Context, _ *samsav1.CheckTailRequest) (*samsav1.CheckTailResponse, error) {
	return &samsav1.CheckTailResponse{}, s.tail(ctx)
}

func (s *streams) Append(ctx context.Context, _ *samsav1.AppendRequest) (*samsav1.AppendResponse, error) {
	return &samsav1.AppendResponse{}, s.append(ctx)
}

func (s *streams) ReadSession(_ *samsav1.ReadSessionRequest, ss grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error {
	return s.read(ss)
}

// serve runs a server on an in-process listener for the test's life.
func serve(t *testing.T, inproc *Inproc, name string, register func(*grpc.Server), c ServerConfig, options ...grpc.ServerOption) {
	t.Helper()
	server := NewServer(c, options...)
	register(server)
	ln, err := Listen(t.Context(), InprocPrefix+name, inproc)
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})
}

func serveStreams(t *testing.T, s *streams, c ServerConfig) samsav1.StreamServiceClient {
	t.Helper()
	inproc := NewInproc()
	serve(t, inproc, "writer", func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, s) }, c)
	return samsav1.NewStreamServiceClient(dial(t, DialerConfig{Inproc: inproc}, "inproc:writer"))
}

func dial(t *testing.T, c DialerConfig, address string) *grpc.ClientConn {
	t.Helper()
	d := NewDialer(c)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	conn, err := d.Conn(address)
	require.NoError(t, err)
	return conn
}

func TestServer_TypesErrorsWithTheCallersRequestID(t *testing.T) {
	client := serveStreams(t, &streams{tail: func(ctx context.Context) error {
		require.Equal(t, "req-7", RequestID(ctx))
		return Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "no stream")
	}}, ServerConfig{})
	var header metadata.MD
	_, err := client.CheckTail(WithRequestID(t.Context(), "req-7"), &samsav1.CheckTailRequest{}, grpc.Header(&header))
	require.Equal(t, codes.NotFound, status.Code(err))
	require.Equal(t, "req-7", Detail(err).GetRequestId())
	require.Equal(t, []string{"req-7"}, header.Get(RequestIDKey))
}

func TestServer_MakesARequestIDForWhoeverSentNoSaneOne(t *testing.T) {
	client := serveStreams(t, &streams{tail: func(context.Context) error { return nil }}, ServerConfig{})
	for _, sent := range []string{"", "two words", strings.Repeat("x", 129)} {
		var header metadata.MD
		ctx := metadata.AppendToOutgoingContext(t.Context(), RequestIDKey, sent)
		_, err := client.CheckTail(ctx, &samsav1.CheckTailRequest{}, grpc.Header(&header))
		require.NoError(t, err)
		require.Len(t, header.Get(RequestIDKey), 1)
		require.Len(t, header.Get(RequestIDKey)[0], 36)
	}
}

func TestServer_RecoversFromPanicsWithoutLeaking(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	boom := func(context.Context) error { panic("secret") }
	client := serveStreams(t, &streams{
		tail: boom, append: boom,
		read: func(grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error { panic("secret") },
	}, ServerConfig{Log: zap.New(core)})

	_, err := client.CheckTail(WithRequestID(t.Context(), "r1"), &samsav1.CheckTailRequest{})
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, Detail(err).GetCode())
	require.NotContains(t, err.Error(), "secret")
	require.Contains(t, err.Error(), "r1")

	_, err = client.Append(t.Context(), &samsav1.AppendRequest{})
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, Detail(err).GetCode(), "a panic may come after the append took place")

	session, err := client.ReadSession(t.Context(), &samsav1.ReadSessionRequest{})
	require.NoError(t, err)
	_, err = session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, Detail(err).GetCode())

	panics := logs.FilterMessage("handler panicked")
	require.Equal(t, 3, panics.Len())
	require.Equal(t, "r1", panics.All()[0].ContextMap()["request_id"])
	require.Equal(t, "secret", panics.All()[0].ContextMap()["panic"])
}

func TestServer_TypesUnknownMethods(t *testing.T) {
	inproc := NewInproc()
	serve(t, inproc, "empty", func(*grpc.Server) {}, ServerConfig{})
	client := samsav1.NewStreamServiceClient(dial(t, DialerConfig{Inproc: inproc}, "inproc:empty"))
	_, err := client.CheckTail(t.Context(), &samsav1.CheckTailRequest{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, Detail(err).GetCode())
}

func TestServer_CountsKnownMethodsAlone(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	require.NoError(t, err)
	client := serveStreams(t, &streams{tail: func(context.Context) error { return nil }}, ServerConfig{Metrics: m})
	_, err = client.CheckTail(t.Context(), &samsav1.CheckTailRequest{})
	require.NoError(t, err)
	require.Equal(t, 1, testutil.CollectAndCount(reg, "grpc_server_handling_seconds"))

	inproc := NewInproc()
	serve(t, inproc, "empty", func(*grpc.Server) {}, ServerConfig{Metrics: m})
	conn := dial(t, DialerConfig{Inproc: inproc, Metrics: m}, "inproc:empty")
	err = conn.Invoke(t.Context(), "/made.Up/Name", &samsav1.CheckTailRequest{}, &samsav1.CheckTailResponse{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
	require.Equal(t, 1, testutil.CollectAndCount(reg, "grpc_server_handling_seconds"))
}

func TestTraces_FollowACallAndKnowItsRequestID(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	inproc := NewInproc()
	s := &streams{tail: func(context.Context) error { return nil }}
	serve(t, inproc, "writer", func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, s) }, ServerConfig{Tracer: tracer})
	client := samsav1.NewStreamServiceClient(dial(t, DialerConfig{Inproc: inproc, Tracer: tracer}, "inproc:writer"))
	_, err := client.CheckTail(WithRequestID(t.Context(), "r9"), &samsav1.CheckTailRequest{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(spans.Ended()) == 2 }, 5*time.Second, time.Millisecond)
	require.Equal(t, spans.Ended()[0].SpanContext().TraceID(), spans.Ended()[1].SpanContext().TraceID())
	require.Contains(t, append(spans.Ended()[0].Attributes(), spans.Ended()[1].Attributes()...), attribute.String("samsa.request_id", "r9"))
}

func TestDialer_KeepsOneConnectionForAnAddress(t *testing.T) {
	d := NewDialer(DialerConfig{})
	one, err := d.Conn("127.0.0.1:1")
	require.NoError(t, err)
	two, err := d.Conn("127.0.0.1:1")
	require.NoError(t, err)
	require.Same(t, one, two)
	d.Forget("127.0.0.1:1")
	three, err := d.Conn("127.0.0.1:1")
	require.NoError(t, err)
	require.NotSame(t, one, three)
	require.NoError(t, d.Close())
	_, err = d.Conn("127.0.0.1:1")
	require.ErrorIs(t, err, ErrDialerClosed)
}

func TestDialer_FailsFastAndComesBackByItself(t *testing.T) {
	inproc := NewInproc()
	client := samsav1.NewStreamServiceClient(dial(t, DialerConfig{Inproc: inproc}, "inproc:late"))
	_, err := client.CheckTail(t.Context(), &samsav1.CheckTailRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Nil(t, Detail(err), "a bare transport error")

	s := &streams{tail: func(context.Context) error { return nil }}
	serve(t, inproc, "late", func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, s) }, ServerConfig{})
	_, err = client.CheckTail(t.Context(), &samsav1.CheckTailRequest{}, grpc.WaitForReady(true))
	require.NoError(t, err)
}

func TestDialer_DialsSockets(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0", nil)
	require.NoError(t, err)
	server := NewServer(ServerConfig{})
	samsav1.RegisterStreamServiceServer(server, &streams{tail: func(context.Context) error { return nil }})
	done := make(chan error)
	go func() { done <- server.Serve(ln) }()
	defer func() {
		server.Stop()
		require.NoError(t, <-done)
	}()
	client := samsav1.NewStreamServiceClient(dial(t, DialerConfig{}, ln.Addr().String()))
	_, err = client.CheckTail(t.Context(), &samsav1.CheckTailRequest{})
	require.NoError(t, err)
}

func TestDialer_SendsRolesToHealthyInstancesOnly(t *testing.T) {
	inproc := NewInproc()
	hits := map[string]int{}
	statuses := map[string]*health.Server{}
	for _, name := range []string{"a", "b"} {
		statuses[name] = health.NewServer()
		s := &streams{tail: func(context.Context) error { hits[name]++; return nil }}
		serve(t, inproc, name, func(g *grpc.Server) {
			samsav1.RegisterStreamServiceServer(g, s)
			healthv1.RegisterHealthServer(g, statuses[name])
		}, ServerConfig{})
	}
	roles := manual.NewBuilderWithScheme("samsa")
	roles.InitialState(resolver.State{Endpoints: []resolver.Endpoint{
		{Addresses: []resolver.Address{{Addr: "inproc:a"}}}, {Addresses: []resolver.Address{{Addr: "inproc:b"}}},
	}})
	client := samsav1.NewStreamServiceClient(dial(t, DialerConfig{Inproc: inproc, Resolvers: []resolver.Builder{roles}}, "samsa:///stream-writer"))
	call := func() {
		_, err := client.CheckTail(t.Context(), &samsav1.CheckTailRequest{})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { call(); return hits["a"] > 0 && hits["b"] > 0 }, 5*time.Second, time.Millisecond)

	statuses["a"].SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	require.Eventually(t, func() bool {
		before := hits["a"]
		for range 4 {
			call()
		}
		return hits["a"] == before
	}, 5*time.Second, time.Millisecond)
}

func TestInproc_NamesAreTakenOnceAndFreedOnClose(t *testing.T) {
	inproc := NewInproc()
	first, err := inproc.Listen("x")
	require.NoError(t, err)
	require.Equal(t, "inproc:x", first.Addr().String())
	_, err = inproc.Listen("x")
	require.ErrorContains(t, err, "address already in use")
	require.NoError(t, first.Close())
	_, err = inproc.DialContext(t.Context(), "x")
	require.ErrorContains(t, err, "connection refused")
	second, err := inproc.Listen("x")
	require.NoError(t, err)
	require.NoError(t, second.Close())
	_, err = Listen(t.Context(), "inproc:x", nil)
	require.ErrorContains(t, err, "no in-process listeners")
	var opError *net.OpError
	_, err = Listen(t.Context(), "127.0.0.1:99999", nil)
	require.ErrorAs(t, err, &opError)
}

func TestFrames_PassThroughUnread(t *testing.T) {
	inproc := NewInproc()
	big := strings.Repeat("x", 300_000)
	s := &streams{read: func(ss grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error {
		for range 3 {
			if err := ss.Send(&samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_NextSeqId{NextSeqId: big}}}); err != nil {
				return err
			}
		}
		return Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "gone")
	}}
	serve(t, inproc, "reader", func(g *grpc.Server) { samsav1.RegisterStreamServiceServer(g, s) }, ServerConfig{})
	upstream := dial(t, DialerConfig{Inproc: inproc}, "inproc:reader")
	serve(t, inproc, "router", func(g *grpc.Server) { healthv1.RegisterHealthServer(g, health.NewServer()) }, ServerConfig{},
		grpc.ForceServerCodecV2(FrameCodec()), grpc.UnknownServiceHandler(forward(t, upstream)))

	conn := dial(t, DialerConfig{Inproc: inproc}, "inproc:router")
	session, err := samsav1.NewStreamServiceClient(conn).ReadSession(t.Context(), &samsav1.ReadSessionRequest{Bucket: "b", Stream: "s"})
	require.NoError(t, err)
	for range 3 {
		got, err := session.Recv()
		require.NoError(t, err)
		require.Equal(t, big, got.GetOutput().GetNextSeqId())
	}
	_, err = session.Recv()
	require.Equal(t, codes.NotFound, status.Code(err))
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, Detail(err).GetCode())

	checked, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err, "other services of the same server speak protobuf")
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, checked.GetStatus())
}

// forward is the smallest possible router.
func forward(t *testing.T, upstream *grpc.ClientConn) grpc.StreamHandler {
	return func(_ any, ss grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(ss)
		var request Frame
		if err := ss.RecvMsg(&request); err != nil {
			return err
		}
		var decoded samsav1.ReadSessionRequest
		if err := FrameCodec().Unmarshal(request.data, &decoded); err != nil {
			return err
		}
		if decoded.GetStream() != "s" || len(request.Bytes()) != request.Len() {
			return errors.New("the frame is not the request")
		}
		out, err := upstream.NewStream(ss.Context(), &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodecV2(FrameCodec()))
		if err != nil {
			return err
		}
		if err := errors.Join(out.SendMsg(&request), out.CloseSend()); err != nil {
			return err
		}
		request.Free()
		for {
			var answer Frame
			if err := out.RecvMsg(&answer); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			err := ss.SendMsg(&answer)
			answer.Free()
			if err != nil {
				return err
			}
		}
	}
}

// A proxy takes a header for the sign that a session was accepted.
func TestStream_HasAHeaderOnlyOnceItAnswers(t *testing.T) {
	refuse := true
	client := serveStreams(t, &streams{read: func(ss grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error {
		if refuse {
			return Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "not here")
		}
		return ss.Send(&samsav1.ReadSessionResponse{})
	}}, ServerConfig{})

	refused, err := client.ReadSession(t.Context(), &samsav1.ReadSessionRequest{})
	require.NoError(t, err)
	header, err := refused.Header()
	require.NoError(t, err)
	require.Nil(t, header)
	_, err = refused.Recv()
	require.NotEmpty(t, Detail(err).GetRequestId())

	refuse = false
	accepted, err := client.ReadSession(t.Context(), &samsav1.ReadSessionRequest{})
	require.NoError(t, err)
	_, err = accepted.Recv()
	require.NoError(t, err)
	header, err = accepted.Header()
	require.NoError(t, err)
	require.Len(t, header.Get(RequestIDKey), 1)
}
