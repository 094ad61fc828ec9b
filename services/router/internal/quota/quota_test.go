package quota_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/quota"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// identified is the check of the token: whoever says so is it.
func identified(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if id := metadata.ValueFromIncomingContext(ss.Context(), "id"); len(id) > 0 {
		ss = &as{ss, auth.WithToken(ss.Context(), &auth.Token{ID: id[0]})}
	}
	return handler(srv, ss)
}

type as struct {
	grpc.ServerStream
	ctx context.Context
}

func (a *as) Context() context.Context { return a.ctx }

func start(t *testing.T, c quota.Config) *routertest.Rig { return startWith(t, c, nil) }

func startWith(t *testing.T, c quota.Config, change func(*proxy.Config)) *routertest.Rig {
	r := routertest.NewPatient(t, change, identified, quota.New(c, nil).Intercept)
	r.Add("stream-writer", &routertest.Service{
		AnyUnary: func(context.Context, string, any) (any, error) { return &samsav1.AppendResponse{}, nil },
		AppendSession: func(ss samsav1.StreamService_AppendSessionServer) error {
			for {
				if _, err := ss.Recv(); err != nil {
					return nil //nolint:nilerr // the client is done
				}
				if err := ss.Send(&samsav1.AppendSessionResponse{}); err != nil {
					return err
				}
			}
		},
	})
	r.Add("stream-reader", &routertest.Service{
		AnyUnary: func(context.Context, string, any) (any, error) {
			return &samsav1.ReadResponse{Output: &samsav1.ReadResponse_Batch{Batch: batch(100)}}, nil
		},
		ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
			for range 3 {
				if err := ss.Send(&samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_Batch{Batch: batch(100)}}}); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return r
}

func batch(n int) *samsav1.SequencedRecordBatch {
	b := &samsav1.SequencedRecordBatch{}
	for range n {
		b.Records = append(b.Records, &samsav1.SequencedRecord{Body: []byte("x")})
	}
	return b
}

func token(t *testing.T, id string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "id", id)
}

func appendOf(n int) *samsav1.AppendRequest {
	r := &samsav1.AppendRequest{Bucket: "logs", Stream: "s"}
	for range n {
		r.Records = append(r.Records, &samsav1.AppendRecord{Body: []byte("x")})
	}
	return r
}

func requireLimited(t *testing.T, setting string, err error) {
	t.Helper()
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.Equal(t, setting, rpc.Detail(err).GetMetadata()["limit"])
	require.Positive(t, rpc.RetryAfter(err))
}

func TestRequests_AreRefusedPerToken(t *testing.T) {
	r := start(t, quota.Config{Rate: limit.Rate{Requests: 2}})
	a := token(t, "a")
	var err error
	for err == nil {
		_, err = r.Streams().CheckTail(a, &samsav1.CheckTailRequest{Bucket: "logs", Stream: "s"})
	}
	requireLimited(t, "router.token_requests_per_sec", err)
	_, err = r.Streams().Append(token(t, "b"), appendOf(1))
	require.NoError(t, err)
}

func TestRecordsAndBytes_OfAppendsAreCounted(t *testing.T) {
	r := start(t, quota.Config{Rate: limit.Rate{Records: 1}})
	_, err := r.Streams().Append(token(t, "a"), appendOf(500))
	require.NoError(t, err, "a bucket that is not empty lets a batch pass whole")
	_, err = r.Streams().Append(token(t, "a"), appendOf(1))
	requireLimited(t, "router.token_records_per_sec", err)
	require.Greater(t, rpc.RetryAfter(err), 400*time.Second)

	r = start(t, quota.Config{Rate: limit.Rate{Bytes: 1}})
	_, err = r.Streams().Append(token(t, "a"), appendOf(500))
	require.NoError(t, err)
	_, err = r.Streams().Append(token(t, "a"), appendOf(1))
	requireLimited(t, "router.token_bytes_per_sec", err)
}

func TestReads_AreChargedWhatTheyBring(t *testing.T) {
	r := start(t, quota.Config{Rate: limit.Rate{Records: 1}})
	read := func() error {
		_, err := r.Streams().Read(token(t, "a"), &samsav1.ReadRequest{Bucket: "logs", Stream: "s"})
		return err
	}
	require.NoError(t, read())
	requireLimited(t, "router.token_records_per_sec", read())
}

func TestSessions_AreSlowedDown(t *testing.T) {
	r := start(t, quota.Config{Rate: limit.Rate{Records: 200}})
	begun := time.Now()
	session, err := r.Streams().ReadSession(token(t, "a"), &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "s"})
	require.NoError(t, err)
	for range 3 {
		_, err := session.Recv()
		require.NoError(t, err)
	}
	_, err = session.Recv() // the third batch has put the token into debt
	require.Error(t, err)
	require.GreaterOrEqual(t, time.Since(begun), 400*time.Millisecond)

	begun = time.Now()
	appends, err := r.Streams().AppendSession(token(t, "b"))
	require.NoError(t, err)
	for range 3 {
		a := appendOf(200)
		require.NoError(t, appends.Send(&samsav1.AppendSessionRequest{Bucket: a.Bucket, Stream: a.Stream, Records: a.Records}))
		_, err := appends.Recv()
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, time.Since(begun), 900*time.Millisecond)
	require.NoError(t, appends.CloseSend())
}

// TestReadSession_ThatIsSlowedDownIsNotTakenForStalled, and its client hears that it
// lives.
func TestReadSession_ThatIsSlowedDownIsNotTakenForStalled(t *testing.T) {
	r := startWith(t, quota.Config{Rate: limit.Rate{Records: 100}}, func(c *proxy.Config) {
		c.Stall, c.Heartbeat = 700*time.Millisecond, 50*time.Millisecond // the pauses take a second
	})
	session, err := r.Streams().ReadSession(token(t, "a"), &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "s", Heartbeats: true})
	require.NoError(t, err)
	batches, beats := 0, 0
	for {
		response, err := session.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if response.GetOutput() != nil {
			batches++
		} else {
			beats++
		}
	}
	require.Equal(t, 3, batches)
	require.Positive(t, beats)
}

func TestSessionsAndStreams_OfATokenAreBounded(t *testing.T) {
	r := start(t, quota.Config{Sessions: 3, Streams: 1})
	open := func(ctx context.Context, stream string) error {
		session, err := r.Streams().AppendSession(ctx)
		require.NoError(t, err)
		_ = session.Send(&samsav1.AppendSessionRequest{Bucket: "logs", Stream: stream, Records: appendOf(1).Records})
		_, err = session.Recv()
		return err
	}
	ctx, leave := context.WithCancel(token(t, "a"))
	require.NoError(t, open(ctx, "s"))
	require.NoError(t, open(ctx, "s"))
	requireLimited(t, "router.token_streams", open(ctx, "t"))
	require.NoError(t, open(ctx, "s"))
	requireLimited(t, "router.token_sessions", open(ctx, "s"))
	require.NoError(t, open(token(t, "b"), "t"))
	leave()
	require.Eventually(t, func() bool { return open(token(t, "a"), "t") == nil }, 10*time.Second, 10*time.Millisecond)
}

// arriving is a session with one message, about a stream.
type arriving struct {
	grpc.ServerStream
	ctx    context.Context
	stream string
}

func (a *arriving) Context() context.Context { return a.ctx }

func (a *arriving) RecvMsg(m any) error {
	message, err := proto.Marshal(&samsav1.AppendSessionRequest{Bucket: "logs", Stream: a.stream})
	*m.(*rpc.Frame) = *rpc.NewFrame(message)
	return err
}

// A handler that waited long enough returns while the message may still arrive.
func TestStream_OfAMessageThatComesAfterTheCallTakesNoPlace(t *testing.T) {
	q := quota.New(quota.Config{Streams: 1}, nil)
	session := func(stream string, handle func(grpc.ServerStream) error) error {
		info := &grpc.StreamServerInfo{FullMethod: samsav1.StreamService_AppendSession_FullMethodName}
		return q.Intercept(nil, &arriving{ctx: t.Context(), stream: stream}, info, func(_ any, ss grpc.ServerStream) error { return handle(ss) })
	}
	receive := func(ss grpc.ServerStream) error { return ss.RecvMsg(&rpc.Frame{}) }
	var left grpc.ServerStream
	require.NoError(t, session("s", func(ss grpc.ServerStream) error {
		left = ss
		return nil
	}))
	require.Error(t, receive(left))
	require.NoError(t, session("t", receive))
}
