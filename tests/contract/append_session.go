package contract

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// appending is an append session, which REST does not have.
type appending struct {
	samsav1.StreamService_AppendSessionClient
	*at
}

func (s *Suite) appending(t *testing.T) *appending {
	t.Helper()
	a := s.stream(t, s.grpc, nil)
	session, err := s.grpc.AppendSession(call(t))
	require.NoError(t, err)
	return &appending{session, a}
}

// batch is a request that names the stream.
func (a *appending) batch(bodies ...string) *samsav1.AppendSessionRequest {
	return &samsav1.AppendSessionRequest{Bucket: a.bucket, Stream: a.stream, Records: records(bodies...)}
}

// put sends a request. A session that has ended says why in finish.
func (a *appending) put(t testing.TB, r *samsav1.AppendSessionRequest) {
	t.Helper()
	if err := a.Send(r); !errors.Is(err, io.EOF) {
		require.NoError(t, err)
	}
}

func (a *appending) ack(t testing.TB) *samsav1.AppendSessionResponse {
	t.Helper()
	ack, err := a.Recv()
	require.NoError(t, err)
	return ack
}

// finish half-closes and returns the acks to come and why the session ended.
func (a *appending) finish(t testing.TB) (acks []*samsav1.AppendSessionResponse, why error) {
	t.Helper()
	require.NoError(t, a.CloseSend())
	for {
		ack, err := a.Recv()
		if errors.Is(err, io.EOF) {
			return acks, nil
		}
		if err != nil {
			return acks, err
		}
		acks = append(acks, ack)
	}
}

// TestAppendSession_PipelinesWithOneAckEachInOrder; half-close drains.
func (s *Suite) TestAppendSession_PipelinesWithOneAckEachInOrder(t *testing.T) {
	a := s.appending(t)
	var want []string
	go func() {
		for i := range 300 {
			if a.Send(a.batch(fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))) != nil {
				return
			}
		}
		_ = a.CloseSend()
	}()
	for i := range uint64(300) {
		ack := a.ack(t)
		require.Equal(t, 2*i, ack.GetStartSeqNum())
		require.Equal(t, 2*i+2, ack.GetEndSeqNum())
		require.Equal(t, 2*i+2, ack.GetNextSeqNum())
		want = append(want, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
	}
	_, err := a.Recv()
	require.ErrorIs(t, err, io.EOF)
	got := a.all(t)
	require.Equal(t, want, bodies(got))
	requireOrder(t, got)
}

// TestAppendSession_AcknowledgesBeforeTheNextRequest: nobody has to send more to
// learn of what was sent.
func (s *Suite) TestAppendSession_AcknowledgesBeforeTheNextRequest(t *testing.T) {
	a := s.appending(t)
	for i := range uint64(20) {
		a.put(t, a.batch("x"))
		require.Equal(t, i, a.ack(t).GetStartSeqNum())
		require.Equal(t, i+1, a.tail(t).GetNextSeqNum())
	}
	acks, err := a.finish(t)
	require.NoError(t, err)
	require.Empty(t, acks)
}

// TestAppendSession_NamesStandInTheFirstRequest, repeated or empty after.
func (s *Suite) TestAppendSession_NamesStandInTheFirstRequest(t *testing.T) {
	a := s.appending(t)
	a.put(t, a.batch("a"))
	a.put(t, &samsav1.AppendSessionRequest{Records: records("b")})
	a.put(t, &samsav1.AppendSessionRequest{Bucket: a.bucket, Records: records("c")})
	a.put(t, &samsav1.AppendSessionRequest{Stream: a.stream, Records: records("d")})
	a.put(t, a.batch("e"))
	acks, err := a.finish(t)
	require.NoError(t, err)
	require.Len(t, acks, 5)
}

// TestAppendSession_OtherNamesLaterAreRefused, after the earlier acks.
func (s *Suite) TestAppendSession_OtherNamesLaterAreRefused(t *testing.T) {
	for field, other := range map[string]*samsav1.AppendSessionRequest{
		"bucket": {Bucket: s.unique(), Records: records("x")},
		"stream": {Stream: "other", Records: records("x")},
	} {
		a := s.appending(t)
		a.put(t, a.batch("a"))
		a.put(t, other)
		acks, err := a.finish(t)
		require.Equal(t, field, requireFailure(t, invalid, err).GetField())
		require.Len(t, acks, 1)
		require.Equal(t, []string{"a"}, bodies(a.all(t)))
	}
}

// TestAppendSession_WithoutNamesIsRefused.
func (s *Suite) TestAppendSession_WithoutNamesIsRefused(t *testing.T) {
	for _, first := range []*samsav1.AppendSessionRequest{
		{Records: records("x")},
		{Bucket: s.unique(), Records: records("x")},
		{Bucket: "Bad_Name", Stream: "s", Records: records("x")},
		{Bucket: s.unique(), Stream: "..", Records: records("x")},
	} {
		a := s.appending(t)
		a.put(t, first)
		acks, err := a.finish(t)
		requireFailure(t, invalid, err)
		require.Empty(t, acks)
	}
}

// TestAppendSession_MissingStreamIsNotFoundOrCreated, as for Append.
func (s *Suite) TestAppendSession_MissingStreamIsNotFoundOrCreated(t *testing.T) {
	a := s.appending(t)
	a.put(t, &samsav1.AppendSessionRequest{Bucket: a.bucket, Stream: "missing", Records: records("x")})
	_, err := a.finish(t)
	requireFailure(t, notFound, err)
	b := s.appending(t)
	bucket := s.bucket(t, &samsav1.BucketConfig{CreateStreamOnAppend: new(true)})
	b.put(t, &samsav1.AppendSessionRequest{Bucket: bucket, Stream: "missing", Records: records("x")})
	acks, err := b.finish(t)
	require.NoError(t, err)
	require.Len(t, acks, 1)
}

// TestAppendSession_FirstFailureEndsItAfterTheEarlierAcks: whatever was sent after
// the failed batch is not appended, even if it would have been fine alone.
func (s *Suite) TestAppendSession_FirstFailureEndsItAfterTheEarlierAcks(t *testing.T) {
	for want, bad := range map[failure]*samsav1.AppendSessionRequest{
		invalid:         {},
		conditionFailed: {Records: records("x"), MatchSeqNum: new(uint64(0))},
		producerGap:     {Records: records("x"), ProducerId: new("p"), ProducerSeq: new(uint64(9))},
		badSeqID:        {Records: records("x"), MatchSeqId: new("x")},
	} {
		a := s.appending(t)
		for i := range 10 {
			a.put(t, a.batch(fmt.Sprint(i)))
		}
		a.put(t, bad)
		for range 10 {
			a.put(t, a.batch("after the failure"))
		}
		acks, err := a.finish(t)
		requireFailure(t, want, err)
		require.Len(t, acks, 10)
		a.fill(t, "by itself")
		require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "by itself"}, bodies(a.all(t)))
	}
}

// TestAppendSession_ConditionsHoldForPipelinedBatches: each sees those before it.
func (s *Suite) TestAppendSession_ConditionsHoldForPipelinedBatches(t *testing.T) {
	a := s.appending(t)
	for i := range uint64(50) {
		r := a.batch(fmt.Sprint(i))
		r.MatchSeqNum = &i
		a.put(t, r)
	}
	acks, err := a.finish(t)
	require.NoError(t, err)
	require.Len(t, acks, 50)
}

// TestAppendSession_ResentProducerBatchesAnswerWithTheirFirstAcks.
func (s *Suite) TestAppendSession_ResentProducerBatchesAnswerWithTheirFirstAcks(t *testing.T) {
	a := s.appending(t)
	send := func(i uint64) {
		r := a.batch(fmt.Sprint(i))
		r.ProducerId, r.ProducerSeq = new("p"), &i
		a.put(t, r)
	}
	order := []uint64{0, 1, 2, 0, 1, 2, 3, 2, 3, 4}
	for _, i := range order {
		send(i)
	}
	acks, err := a.finish(t)
	require.NoError(t, err)
	for at, i := range order {
		require.Equal(t, i, acks[at].GetStartSeqNum())
	}
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, bodies(a.all(t)))
}

// TestAppendSession_WithoutRequestsEndsWell.
func (s *Suite) TestAppendSession_WithoutRequestsEndsWell(t *testing.T) {
	a := s.appending(t)
	acks, err := a.finish(t)
	require.NoError(t, err)
	require.Empty(t, acks)
}

// TestAppendSession_LargeBatchesFlow: far more than any window holds.
func (s *Suite) TestAppendSession_LargeBatchesFlow(t *testing.T) {
	a := s.appending(t)
	const batches = 48
	body := make([]byte, 1<<20-8)
	go func() {
		for i := range batches {
			large := append([]byte(fmt.Sprintf("%08d", i)), body[8:]...)
			r := &samsav1.AppendSessionRequest{Bucket: a.bucket, Stream: a.stream, Records: []*samsav1.AppendRecord{{Body: large}}}
			if a.Send(r) != nil {
				return
			}
		}
		_ = a.CloseSend()
	}()
	for i := range uint64(batches) {
		require.Equal(t, i, a.ack(t).GetStartSeqNum())
	}
	for i, r := range a.all(t) {
		require.Equal(t, fmt.Sprintf("%08d", i), string(r.GetBody()[:8]))
		require.Len(t, r.GetBody(), len(body))
	}
}
