package proxy_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

func TestFirstMessage_ThatDoesNotComeEndsTheCall(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.FirstMessage = 20 * time.Millisecond })
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	_, err = session.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.Equal(t, "router.first_message_timeout_ms", rpc.Detail(err).GetMetadata()["limit"])
}

// Health and reflection take no token.
func TestOwnCalls_OfStrangersWhoSendNothingEnd(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.FirstMessage = 20 * time.Millisecond })
	for range 40 { // more than may wait at a time
		stream, err := reflectionv1.NewServerReflectionClient(r.Client).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		defer func() {
			_, err := stream.Recv()
			require.Equal(t, "router.first_message_timeout_ms", rpc.Detail(err).GetMetadata()["limit"], "%v", err)
		}()
	}
}

func TestAppendSession_ThatIsIdleEndsAfterItsAcks(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.Idle = 50 * time.Millisecond })
	r.Add("stream-writer", &routertest.Service{AppendSession: echo})
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	require.NoError(t, session.Send(sessionRequest(0)))
	_, err = session.Recv()
	require.NoError(t, err)
	_, err = session.Recv()
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err), "%v", err)
	require.Equal(t, "idle", rpc.Detail(err).GetMetadata()["reason"])
	require.True(t, hasRetryInfo(err))
}

// A client that stalls is let go, and its reader too; when it comes to itself it has
// what was on its way, and then the reason.
func TestReadSession_ThatStallsIsEnded(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.Stall = 200 * time.Millisecond })
	ended := make(chan struct{})
	r.Add("stream-reader", &routertest.Service{
		ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
			defer close(ended)
			response := &samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_Batch{
				Batch: &samsav1.SequencedRecordBatch{Records: []*samsav1.SequencedRecord{{Body: make([]byte, 64<<10)}}}}}}
			for {
				if err := ss.Send(response); err != nil {
					return err
				}
			}
		},
	})
	session, err := r.Streams().ReadSession(t.Context(), &samsav1.ReadSessionRequest{Bucket: "logs", Stream: "s"})
	require.NoError(t, err)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		require.Fail(t, "the reader still sends")
	}
	for err == nil {
		_, err = session.Recv()
	}
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.Equal(t, "stalled", rpc.Detail(err).GetMetadata()["reason"])
	require.True(t, hasRetryInfo(err))
}

// Acknowledgements that nobody takes stop the writer, and that the rest of what the
// client sends.
func TestAppendSession_WhoseAcksAreNotTakenIsEnded(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.Stall = 200 * time.Millisecond })
	ended := make(chan struct{})
	r.Add("stream-writer", &routertest.Service{AppendSession: func(ss samsav1.StreamService_AppendSessionServer) error {
		defer close(ended)
		ack := &samsav1.AppendSessionResponse{StartSeqId: strings.Repeat("x", 64<<10)}
		for {
			if err := ss.Send(ack); err != nil {
				return err
			}
		}
	}})
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		fill(t, session, 1000)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		require.Fail(t, "the writer still sends")
	}
	for err == nil {
		_, err = session.Recv()
	}
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, code(err), "%v", err)
	require.Equal(t, "stalled", rpc.Detail(err).GetMetadata()["reason"])
	<-filled
}

// takesLate is a writer that takes nothing until release is closed.
func takesLate(release <-chan struct{}) func(samsav1.StreamService_AppendSessionServer) error {
	return func(ss samsav1.StreamService_AppendSessionServer) error {
		if err := ss.SendHeader(nil); err != nil {
			return err
		}
		<-release
		return echo(ss)
	}
}

// fill sends more than fits on the way to a writer that takes nothing, as fast as it
// goes, and half-closes.
func fill(t *testing.T, session samsav1.StreamService_AppendSessionClient, messages uint64) {
	for i := range messages {
		request := sessionRequest(i)
		request.Records = []*samsav1.AppendRecord{{Body: make([]byte, 1<<20)}}
		if session.Send(request) != nil {
			return
		}
	}
	if err := session.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestAppendSession_IsNotIdleWhileItsOwnerTakesNothing(t *testing.T) {
	idle := time.Second
	r := routertest.NewPatient(t, func(c *proxy.Config) { c.Idle = idle })
	release := make(chan struct{})
	r.Add("stream-writer", &routertest.Service{AppendSession: takesLate(release)})
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	time.AfterFunc(5*idle/2, func() { close(release) })
	go fill(t, session, 30)
	for i := range uint64(30) {
		ack, err := session.Recv()
		require.NoError(t, err)
		require.Equal(t, i, ack.GetEndSeqNum())
	}
	_, err = session.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestDrain_LetsAMessageOnItsWayArrive(t *testing.T) {
	r := routertest.New(t)
	release := make(chan struct{})
	r.Add("stream-writer", &routertest.Service{AppendSession: takesLate(release)})
	session, err := r.Streams().AppendSession(t.Context())
	require.NoError(t, err)
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		fill(t, session, 1000)
	}()
	_, err = session.Header()
	require.NoError(t, err)
	r.Proxy.Drain()
	close(release)
	for i := uint64(0); ; i++ {
		ack, err := session.Recv()
		if err != nil {
			require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, code(err), "%v", err)
			break
		}
		require.Equal(t, i, ack.GetEndSeqNum())
	}
	<-filled
}

// What waits for backends that are slow is bounded; the rest is refused before it is
// sent on.
func TestCalls_AreRefusedWhenTooMuchWaits(t *testing.T) {
	r := routertest.NewPatient(t, func(c *proxy.Config) {
		c.Room = limit.NewRoom(60_000, "bytes of calls", "router.max_inflight_bytes", nil)
	})
	answerNow := make(chan struct{})
	writer := r.Add("stream-writer", &routertest.Service{AppendSession: echo, AnyUnary: func(context.Context, string, any) (any, error) {
		<-answerNow
		return &samsav1.AppendResponse{}, nil
	}})
	waiting := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := r.Streams().Append(t.Context(), appendRequest())
			waiting <- err
		}()
	}
	require.Eventually(t, func() bool { return writer.Calls.Load() == 2 }, 10*time.Second, time.Millisecond)
	_, err := r.Streams().Append(t.Context(), appendRequest())
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, code(err), "%v", err)
	require.Equal(t, "router.max_inflight_bytes", rpc.Detail(err).GetMetadata()["limit"])
	require.True(t, hasRetryInfo(err))
	require.EqualValues(t, 2, writer.Calls.Load())
	openSession(t, r, 1)

	close(answerNow)
	for range 2 {
		require.NoError(t, <-waiting)
	}
	_, err = r.Streams().Append(t.Context(), appendRequest())
	require.NoError(t, err)
}
