package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// reading is a read session.
type reading struct {
	grpc.ServerStreamingClient[samsav1.ReadSessionResponse]
	stop context.CancelFunc
}

func (a *at) session(t testing.TB, r *samsav1.ReadSessionRequest) *reading {
	t.Helper()
	r.Bucket, r.Stream = a.bucket, a.stream
	ctx, stop := context.WithTimeout(context.Background(), patience)
	t.Cleanup(stop)
	session, err := a.ReadSession(ctx, r)
	require.NoError(t, err)
	return &reading{session, stop}
}

func (r *reading) next(t testing.TB) *samsav1.ReadSessionResponse {
	t.Helper()
	response, err := r.Recv()
	require.NoError(t, err)
	return response
}

// records reads so many records.
func (r *reading) records(t testing.TB, count int) []*samsav1.SequencedRecord {
	t.Helper()
	var got []*samsav1.SequencedRecord
	for len(got) < count {
		got = append(got, r.next(t).GetOutput().GetBatch().GetRecords()...)
	}
	require.Len(t, got, count)
	return got
}

// upToTail reads until the session says that it has caught up.
func (r *reading) upToTail(t testing.TB) []*samsav1.SequencedRecord {
	t.Helper()
	var got []*samsav1.SequencedRecord
	for {
		response := r.next(t)
		got = append(got, response.GetOutput().GetBatch().GetRecords()...)
		if response.GetTail() != nil {
			return got
		}
	}
}

// end reads until the session ends, and returns why; nil: a limit.
func (r *reading) end(t testing.TB) error {
	t.Helper()
	for {
		_, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// all reads until the session ends at a limit.
func (r *reading) all(t testing.TB) []*samsav1.SequencedRecord {
	t.Helper()
	got := []*samsav1.SequencedRecord{}
	for {
		response, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return got
		}
		require.NoError(t, err)
		got = append(got, response.GetOutput().GetBatch().GetRecords()...)
	}
}

func sessionFrom(n uint64) *samsav1.ReadSessionRequest {
	return &samsav1.ReadSessionRequest{Start: &samsav1.ReadSessionRequest_SeqNum{SeqNum: n}}
}

// TestReadSession_StartsAtTheTailByDefault and follows it live.
func (s *Suite) TestReadSession_StartsAtTheTailByDefault(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		session := a.session(t, &samsav1.ReadSessionRequest{})
		require.Empty(t, session.upToTail(t))
		a.fill(t, "10", "11")
		a.fill(t, "12")
		require.Equal(t, []uint64{10, 11, 12}, seqNums(session.records(t, 3)))
	})
}

// TestReadSession_CatchesUpSaysSoAndFollows: the tail tells where.
func (s *Suite) TestReadSession_CatchesUpSaysSoAndFollows(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		session := a.session(t, sessionFrom(2))
		var got []*samsav1.SequencedRecord
		var tail *samsav1.Tail
		for tail == nil {
			response := session.next(t)
			got, tail = append(got, response.GetOutput().GetBatch().GetRecords()...), response.GetTail()
		}
		require.Equal(t, []uint64{2, 3, 4, 5, 6, 7, 8, 9}, seqNums(got))
		require.EqualValues(t, 10, tail.GetNextSeqNum())
		require.EqualValues(t, 500, tail.GetLastTimestamp())
		require.Equal(t, a.tail(t).GetNextSeqId(), tail.GetNextSeqId())
		for i := range 20 {
			a.fill(t, fmt.Sprint(10+i))
			require.Equal(t, []string{fmt.Sprint(10 + i)}, bodies(session.records(t, 1)))
		}
	})
}

// TestReadSession_StartsWhereItIsTold, as Read does.
func (s *Suite) TestReadSession_StartsWhereItIsTold(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		id := a.all(t)[6].GetSeqId()
		for first, r := range map[uint64]*samsav1.ReadSessionRequest{
			0: sessionFrom(0),
			5: sessionFrom(5),
			6: {Start: &samsav1.ReadSessionRequest_SeqId{SeqId: id}},
			8: {Start: &samsav1.ReadSessionRequest_Timestamp{Timestamp: 401}},
			7: {Start: &samsav1.ReadSessionRequest_TailOffset{TailOffset: 3}},
		} {
			got := a.session(t, r).upToTail(t)
			require.Equal(t, first, got[0].GetSeqNum())
			require.Len(t, got, int(10-first))
		}
		for _, r := range []*samsav1.ReadSessionRequest{
			{Start: &samsav1.ReadSessionRequest_Timestamp{Timestamp: 501}}, {Start: &samsav1.ReadSessionRequest_TailOffset{}}, sessionFrom(10),
		} {
			require.Empty(t, a.session(t, r).upToTail(t))
		}
	})
}

// TestReadSession_PastTheTailIsOutOfRangeUnlessClamped.
func (s *Suite) TestReadSession_PastTheTailIsOutOfRangeUnlessClamped(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for _, n := range []uint64{11, math.MaxUint64} {
			err := a.session(t, sessionFrom(n)).end(t)
			require.Equal(t, "10", requireFailure(t, pastTail, err).GetMetadata()["next_seq_num"])
			clamped := sessionFrom(n)
			clamped.Clamp = true
			session := a.session(t, clamped)
			require.Empty(t, session.upToTail(t))
			a.fill(t, "x")
			require.Len(t, session.records(t, 1), 1)
			a = s.timed(t, d)
		}
	})
}

// TestReadSession_EndsAtItsLimits: over all that it gives, caught up or live.
func (s *Suite) TestReadSession_EndsAtItsLimits(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		limited := func(first uint64, change func(*samsav1.ReadSessionRequest)) *reading {
			r := sessionFrom(first)
			change(r)
			return a.session(t, r)
		}
		for _, count := range []uint64{0, 1, 10} {
			got := limited(0, func(r *samsav1.ReadSessionRequest) { r.Limit = &samsav1.ReadLimit{Count: &count} }).all(t)
			require.Len(t, got, int(count))
		}
		for limit, count := range map[uint64]int{0: 0, 1: 1, 45: 5} {
			got := limited(0, func(r *samsav1.ReadSessionRequest) { r.Limit = &samsav1.ReadLimit{Bytes: &limit} }).all(t)
			require.Len(t, got, count, "%d bytes", limit)
		}
		require.Len(t, limited(0, func(r *samsav1.ReadSessionRequest) { r.Until = new(uint64(300)) }).all(t), 4)

		live := limited(8, func(r *samsav1.ReadSessionRequest) { r.Limit = &samsav1.ReadLimit{Count: new(uint64(4))} })
		require.Len(t, live.upToTail(t), 2)
		a.fill(t, "10", "11", "12")
		require.Equal(t, []uint64{10, 11}, seqNums(live.all(t)))
	})
}

// TestReadSession_UntilEndsItWhenALaterRecordComes.
func (s *Suite) TestReadSession_UntilEndsItWhenALaterRecordComes(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		r := sessionFrom(8)
		r.Until = new(uint64(600))
		session := a.session(t, r)
		require.Len(t, session.upToTail(t), 2)
		a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Timestamp: new(uint64(599))}, {Timestamp: new(uint64(600))}}})
		require.Equal(t, []uint64{10}, seqNums(session.all(t)))
	})
}

// TestReadSession_WaitEndsItWithoutNewRecords.
func (s *Suite) TestReadSession_WaitEndsItWithoutNewRecords(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		r := sessionFrom(0)
		r.WaitMs = 300
		require.Len(t, a.session(t, r).all(t), 10)
	})
}

// TestReadSession_ManyFollowersSeeTheSame, in order, without gap or repeat.
func (s *Suite) TestReadSession_ManyFollowersSeeTheSame(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		const followers, batches, size = 6, 60, 10
		var readers sync.WaitGroup
		for range followers {
			session := a.session(t, &samsav1.ReadSessionRequest{})
			require.Empty(t, session.upToTail(t))
			readers.Go(func() {
				for next := uint64(0); next < batches*size; {
					response, err := session.Recv()
					if err != nil {
						t.Error(err)
						return
					}
					for _, r := range response.GetOutput().GetBatch().GetRecords() {
						if r.GetSeqNum() != next || string(r.GetBody()) != fmt.Sprint(next) {
							t.Errorf("got record %d %q instead of %d", r.GetSeqNum(), r.GetBody(), next)
							return
						}
						next++
					}
				}
			})
		}
		for batch := range batches {
			var texts []string
			for i := range size {
				texts = append(texts, fmt.Sprint(batch*size+i))
			}
			a.fill(t, texts...)
		}
		readers.Wait()
	})
}

// TestReadSession_SlowReaderMissesNothing: the reader's backpressure must neither
// lose records nor hold up the writer.
func (s *Suite) TestReadSession_SlowReaderMissesNothing(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		session := a.session(t, &samsav1.ReadSessionRequest{})
		require.Empty(t, session.upToTail(t))
		// Nothing is read meanwhile; it is far more than connections buffer.
		const batches = 24
		for i := range batches {
			body := fmt.Appendf(make([]byte, 0, 1<<20), "%08d", i)
			a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Body: body[:1<<20-8]}}})
		}
		for i, r := range session.records(t, batches) {
			require.EqualValues(t, i, r.GetSeqNum())
			require.Equal(t, fmt.Sprintf("%08d", i), string(r.GetBody()[:8]))
		}
	})
}

// TestReadSession_TrimWhileFollowingDoesNotDisturb.
func (s *Suite) TestReadSession_TrimWhileFollowingDoesNotDisturb(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		session := a.session(t, &samsav1.ReadSessionRequest{})
		require.Empty(t, session.upToTail(t))
		a.fill(t, "a")
		a.append(t, &samsav1.AppendRequest{Records: command("trim", seqNum(1))})
		a.fill(t, "b")
		got := session.records(t, 3)
		require.Equal(t, []uint64{0, 1, 2}, seqNums(got))
	})
}

// TestReadSession_MissingStreamIsNotFoundUnlessReadsCreate.
func (s *Suite) TestReadSession_MissingStreamIsNotFoundUnlessReadsCreate(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		missing := &at{door: d, bucket: s.bucket(t, nil), stream: "s"}
		requireFailure(t, notFound, missing.session(t, &samsav1.ReadSessionRequest{}).end(t))
		bucket := s.bucket(t, &samsav1.BucketConfig{CreateStreamOnRead: new(true)})
		made := &at{door: d, bucket: bucket, stream: "s"}
		session := made.session(t, &samsav1.ReadSessionRequest{})
		require.Empty(t, session.upToTail(t))
		made.fill(t, "first")
		require.Equal(t, []string{"first"}, bodies(session.records(t, 1)))
	})
}

// TestReadSession_BadSeqIDsAreRefused.
func (s *Suite) TestReadSession_BadSeqIDsAreRefused(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a, other := s.timed(t, d), s.timed(t, d)
		for _, id := range []string{"", "x", other.all(t)[0].GetSeqId()} {
			err := a.session(t, &samsav1.ReadSessionRequest{Start: &samsav1.ReadSessionRequest_SeqId{SeqId: id}}).end(t)
			requireFailure(t, badSeqID, err)
		}
	})
}

// TestReadSession_HeartbeatsComeAtLeastEvery15Seconds: empty responses.
func (s *Suite) TestReadSession_HeartbeatsComeAtLeastEvery15Seconds(t *testing.T) {
	if s.options.Short {
		return // two quarters of a minute
	}
	a := s.stream(t, s.grpc, nil)
	session := a.session(t, &samsav1.ReadSessionRequest{Heartbeats: true})
	require.Empty(t, session.upToTail(t))
	begun := time.Now()
	beat := session.next(t)
	require.Nil(t, beat.GetOutput())
	require.Nil(t, beat.GetTail())
	require.LessOrEqual(t, time.Since(begun), 15*time.Second+5*time.Second, "with room for a busy machine")
	a.fill(t, "x")
	require.Len(t, session.records(t, 1), 1)
}

// TestReadSession_ClientMayGoAtAnyTime: cancelling ends it, and only it.
func (s *Suite) TestReadSession_ClientMayGoAtAnyTime(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		stays := a.session(t, &samsav1.ReadSessionRequest{})
		require.Empty(t, stays.upToTail(t))
		for range 10 {
			goes := a.session(t, &samsav1.ReadSessionRequest{})
			require.Empty(t, goes.upToTail(t))
			goes.stop()
			require.Error(t, goes.end(t))
		}
		a.fill(t, "x")
		require.Len(t, stays.records(t, 1), 1)
	})
}
