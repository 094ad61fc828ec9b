package contract

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

func fromSeqNum(n uint64) *samsav1.ReadRequest {
	return &samsav1.ReadRequest{Start: &samsav1.ReadRequest_SeqNum{SeqNum: n}}
}

func fromSeqID(id string) *samsav1.ReadRequest {
	return &samsav1.ReadRequest{Start: &samsav1.ReadRequest_SeqId{SeqId: id}}
}

func fromTimestamp(ms uint64) *samsav1.ReadRequest {
	return &samsav1.ReadRequest{Start: &samsav1.ReadRequest_Timestamp{Timestamp: ms}}
}

func fromTail(offset uint64) *samsav1.ReadRequest {
	return &samsav1.ReadRequest{Start: &samsav1.ReadRequest_TailOffset{TailOffset: offset}}
}

// timed makes a stream of ten records over four batches, with the timestamps 100,
// 100, 200, 200, … 500, and seq_nums for bodies.
func (s *Suite) timed(t *testing.T, d *door) *at {
	t.Helper()
	a := s.stream(t, d, nil)
	at := uint64(0)
	for _, size := range []uint64{1, 4, 2, 3} {
		var batch []*samsav1.AppendRecord
		for range size {
			batch = append(batch, &samsav1.AppendRecord{Timestamp: new(100 * (1 + at/2)), Body: fmt.Append(nil, at)})
			at++
		}
		a.append(t, &samsav1.AppendRequest{Records: batch})
	}
	return a
}

// requireRead checks which records a read gives, from first up to next.
func requireRead(t testing.TB, a *at, r *samsav1.ReadRequest, first, next uint64) *samsav1.ReadResponse {
	t.Helper()
	response := a.read(t, r)
	var want []uint64
	for n := first; n < next; n++ {
		want = append(want, n)
	}
	got := response.GetBatch().GetRecords()
	require.Equal(t, append([]uint64{}, want...), seqNums(got))
	for _, record := range got {
		require.Equal(t, fmt.Sprint(record.GetSeqNum()), string(record.GetBody()))
	}
	require.Equal(t, next, response.GetNextSeqNum())
	if first == next {
		require.NotEmpty(t, response.GetNextSeqId(), "nothing to read yet: next_seq_id, no error")
	}
	return response
}

// TestRead_StartsAtTheBeginningByDefault, and tells the tail when it came to it.
func (s *Suite) TestRead_StartsAtTheBeginningByDefault(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		response := requireRead(t, a, &samsav1.ReadRequest{}, 0, 10)
		tail := a.tail(t)
		require.Equal(t, tail.GetNextSeqId(), response.GetTail().GetNextSeqId())
		require.Equal(t, tail.GetNextSeqNum(), response.GetTail().GetNextSeqNum())
		require.Equal(t, tail.GetLastTimestamp(), response.GetTail().GetLastTimestamp())
		empty := s.stream(t, d, nil)
		requireRead(t, empty, &samsav1.ReadRequest{}, 0, 0)
	})
}

// TestRead_StartIsInclusive, be it a seq_num or a seq_id.
func (s *Suite) TestRead_StartIsInclusive(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		all := a.all(t)
		for n := range uint64(10) {
			requireRead(t, a, fromSeqNum(n), n, 10)
			requireRead(t, a, fromSeqID(all[n].GetSeqId()), n, 10)
		}
		requireRead(t, a, fromSeqID(a.tail(t).GetNextSeqId()), 10, 10)
	})
}

// TestRead_TimestampStartsAtTheFirstRecordOfThatTimeOrLater.
func (s *Suite) TestRead_TimestampStartsAtTheFirstRecordOfThatTimeOrLater(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for timestamp, first := range map[uint64]uint64{
			0: 0, 99: 0, 100: 0, 101: 2, 200: 2, 300: 4, 301: 6, 499: 8, 500: 8, 501: 10, math.MaxUint64: 10,
		} {
			requireRead(t, a, fromTimestamp(timestamp), first, 10)
		}
	})
}

// TestRead_TailOffsetCountsFromTheTailAndSaturates.
func (s *Suite) TestRead_TailOffsetCountsFromTheTailAndSaturates(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for offset, first := range map[uint64]uint64{0: 10, 1: 9, 9: 1, 10: 0, 11: 0, math.MaxUint64: 0} {
			requireRead(t, a, fromTail(offset), first, 10)
		}
	})
}

// TestRead_TrimmedStartMovesToTheFirstRecordKept, whatever the start.
func (s *Suite) TestRead_TrimmedStartMovesToTheFirstRecordKept(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		old := a.all(t)[1].GetSeqId()
		a.append(t, &samsav1.AppendRequest{Records: command("trim", seqNum(4))})
		for _, r := range []*samsav1.ReadRequest{{}, fromSeqNum(0), fromSeqNum(3), fromSeqNum(4), fromSeqID(old), fromTimestamp(1), fromTail(1000)} {
			got := a.read(t, r).GetBatch().GetRecords()
			require.Equal(t, []uint64{4, 5, 6, 7, 8, 9, 10}, seqNums(got), "%v", r)
		}
	})
}

// TestRead_AtTheTailIsNoError.
func (s *Suite) TestRead_AtTheTailIsNoError(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		response := requireRead(t, a, fromSeqNum(10), 10, 10)
		require.Equal(t, a.tail(t).GetNextSeqId(), response.GetNextSeqId())
		require.EqualValues(t, 10, response.GetTail().GetNextSeqNum())
	})
}

// TestRead_PastTheTailIsOutOfRangeWithTheTail.
func (s *Suite) TestRead_PastTheTailIsOutOfRangeWithTheTail(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		tail := a.tail(t)
		for _, n := range []uint64{11, 1000, 1 << 48, math.MaxUint64} {
			_, err := a.tryRead(t, fromSeqNum(n))
			detail := requireFailure(t, pastTail, err)
			require.Equal(t, "10", detail.GetMetadata()["next_seq_num"])
			require.Equal(t, tail.GetNextSeqId(), detail.GetMetadata()["next_seq_id"])
		}
	})
}

// TestRead_ClampTakesPastTheTailAsTheTail.
func (s *Suite) TestRead_ClampTakesPastTheTailAsTheTail(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for _, n := range []uint64{11, math.MaxUint64} {
			r := fromSeqNum(n)
			r.Clamp = true
			requireRead(t, a, r, 10, 10)
		}
		inside := fromSeqNum(8)
		inside.Clamp = true
		requireRead(t, a, inside, 8, 10)
	})
}

// TestRead_CountLimits: 0 reads nothing.
func (s *Suite) TestRead_CountLimits(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for _, count := range []uint64{0, 1, 5, 9, 10, 11, math.MaxUint64} {
			r := fromSeqNum(0)
			r.Limit = &samsav1.ReadLimit{Count: &count}
			requireRead(t, a, r, 0, min(count, 10))
			r = fromSeqNum(3)
			r.Limit = &samsav1.ReadLimit{Count: &count}
			requireRead(t, a, r, 3, 3+min(count, 7))
		}
	})
}

// TestRead_ByteLimits: metered, at least one record unless 0.
func (s *Suite) TestRead_ByteLimits(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for limit, count := range map[uint64]uint64{0: 0, 1: 1, 9: 1, 17: 1, 18: 2, 19: 2, 89: 9, 90: 10, math.MaxUint64: 10} {
			r := fromSeqNum(0)
			r.Limit = &samsav1.ReadLimit{Bytes: &limit}
			requireRead(t, a, r, 0, count)
		}
		r := fromSeqNum(0)
		r.Limit = &samsav1.ReadLimit{Bytes: new(uint64(45)), Count: new(uint64(2))}
		requireRead(t, a, r, 0, 2)
	})
}

// TestRead_UntilIsAnExclusiveTimestamp.
func (s *Suite) TestRead_UntilIsAnExclusiveTimestamp(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		for until, next := range map[uint64]uint64{0: 0, 100: 0, 101: 2, 200: 2, 201: 4, 500: 8, 501: 10, math.MaxUint64: 10} {
			r := fromSeqNum(0)
			r.Until = &until
			requireRead(t, a, r, 0, next)
		}
		r := fromTimestamp(200)
		r.Until = new(uint64(400))
		requireRead(t, a, r, 2, 6)
	})
}

// TestRead_WaitFollowsTheTail for a new record, and gives up in time.
func (s *Suite) TestRead_WaitFollowsTheTail(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		waits := fromSeqNum(10)
		waits.WaitMs = 100
		requireRead(t, a, waits, 10, 10)

		waits.WaitMs = uint64(patience.Milliseconds())
		waits.Limit = &samsav1.ReadLimit{Count: new(uint64(1))}
		answer := make(chan *samsav1.ReadResponse, 1)
		waits.Bucket, waits.Stream = a.bucket, a.stream
		go func() {
			response, err := a.Read(call(t), waits)
			if err != nil {
				t.Error(err)
			}
			answer <- response
		}()
		// Whether the read waits already or comes too late to wait: it gets the record.
		a.fill(t, "10")
		require.Equal(t, []string{"10"}, bodies((<-answer).GetBatch().GetRecords()))
	})
}

// TestRead_MissingStreamIsNotFoundUnlessReadsCreate.
func (s *Suite) TestRead_MissingStreamIsNotFoundUnlessReadsCreate(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		missing := &at{door: d, bucket: s.bucket(t, &samsav1.BucketConfig{CreateStreamOnAppend: new(true)}), stream: "s"}
		_, err := missing.tryRead(t, &samsav1.ReadRequest{})
		requireFailure(t, notFound, err)
		made := &at{door: d, bucket: s.bucket(t, &samsav1.BucketConfig{CreateStreamOnRead: new(true)}), stream: "s"}
		requireRead(t, made, &samsav1.ReadRequest{}, 0, 0)
		requireSame(t, systemDefault(), made.config(t))
		_, err = made.named("other").try(t, &samsav1.AppendRequest{Records: records("x")})
		requireFailure(t, notFound, err)
	})
}

// TestRead_BadSeqIDsAreRefused: malformed ones, and those of other streams.
func (s *Suite) TestRead_BadSeqIDsAreRefused(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a, other := s.timed(t, d), s.timed(t, d)
		for _, id := range []string{"", "x", "00000000-0000-0000-0000-000000000000", other.all(t)[0].GetSeqId(), a.tail(t).GetNextSeqId() + "x"} {
			_, err := a.tryRead(t, fromSeqID(id))
			require.Equal(t, "seq_id", requireFailure(t, badSeqID, err).GetField(), "%q", id)
		}
	})
}

// TestRead_CommandsAreRecordsLikeOthers.
func (s *Suite) TestRead_CommandsAreRecordsLikeOthers(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.append(t, &samsav1.AppendRequest{Records: command("fence", []byte("token"))})
		got := a.all(t)
		require.Len(t, got, 1)
		require.Len(t, got[0].GetHeaders(), 1)
		require.Empty(t, got[0].GetHeaders()[0].GetName())
		require.Equal(t, "fence", string(got[0].GetHeaders()[0].GetValue()))
		require.Equal(t, "token", string(got[0].GetBody()))
	})
}

// TestRead_LongStreamsComeInSeveralReads, which go on where the last one ended.
func (s *Suite) TestRead_LongStreamsComeInSeveralReads(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		want := 0
		for range 12 {
			batch := make([]*samsav1.AppendRecord, 100)
			for i := range batch {
				batch[i] = &samsav1.AppendRecord{Body: fmt.Appendf(make([]byte, 0, 10000), "%010000d", want)}
				want++
			}
			a.append(t, &samsav1.AppendRequest{Records: batch})
		}
		got := a.all(t)
		require.Len(t, got, want)
		for i, r := range got {
			require.Equal(t, fmt.Sprintf("%010000d", i), string(r.GetBody()))
		}
		requireOrder(t, got)
	})
}

// TestExpiry_TrimShowsAtTheHead: to readers of every kind, and the numbers stay.
func (s *Suite) TestExpiry_TrimShowsAtTheHead(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.timed(t, d)
		a.append(t, &samsav1.AppendRequest{Records: command("trim", seqNum(10))})
		require.Equal(t, []uint64{10}, seqNums(a.all(t)))
		session := a.session(t, &samsav1.ReadSessionRequest{Start: &samsav1.ReadSessionRequest_SeqNum{}})
		require.Equal(t, []uint64{10}, seqNums(session.upToTail(t)))
	})
}

// TestExpiry_RetentionIsKeptAndChangedWithTheStream.
func (s *Suite) TestExpiry_RetentionIsKeptAndChangedWithTheStream(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		age := uint64((48 * time.Hour).Seconds())
		a := s.stream(t, d, &samsav1.StreamConfig{RetentionAgeSeconds: &age})
		require.Equal(t, age, a.config(t).GetRetentionAgeSeconds())
		_, err := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
			Bucket: a.bucket, Stream: a.stream, Config: &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(0))},
		})
		require.NoError(t, err)
		require.NotNil(t, a.config(t).RetentionAgeSeconds)
		require.Zero(t, a.config(t).GetRetentionAgeSeconds(), "0 keeps for ever")
		a.fill(t, "kept")
		require.Len(t, a.all(t), 1)
	})
}
