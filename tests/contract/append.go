package contract

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// TestAppend_NumbersRecordsDenselyFromZero, and the answer says where they stand.
func (s *Suite) TestAppend_NumbersRecordsDenselyFromZero(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		empty := a.tail(t)
		require.Zero(t, empty.GetNextSeqNum())
		require.Zero(t, empty.GetLastTimestamp())
		var acks []*samsav1.AppendResponse
		next := uint64(0)
		for size := range uint64(5) {
			ack := a.fill(t, make([]string, size+1)...)
			require.Equal(t, next, ack.GetStartSeqNum())
			next += size + 1
			require.Equal(t, next, ack.GetEndSeqNum(), "exclusive")
			require.Equal(t, next, ack.GetNextSeqNum())
			require.Equal(t, ack.GetEndTimestamp(), ack.GetLastTimestamp())
			tail := a.tail(t)
			require.Equal(t, ack.GetNextSeqId(), tail.GetNextSeqId())
			require.Equal(t, ack.GetNextSeqNum(), tail.GetNextSeqNum())
			require.Equal(t, ack.GetLastTimestamp(), tail.GetLastTimestamp())
			acks = append(acks, ack)
		}
		got := a.all(t)
		require.Len(t, got, int(next))
		for _, ack := range acks {
			first, last := got[ack.GetStartSeqNum()], got[ack.GetEndSeqNum()-1]
			require.Equal(t, first.GetSeqId(), ack.GetStartSeqId())
			require.Equal(t, last.GetSeqId(), ack.GetEndSeqId(), "of the last record")
			require.Equal(t, first.GetTimestamp(), ack.GetStartTimestamp())
			require.Equal(t, last.GetTimestamp(), ack.GetEndTimestamp())
		}
		requireOrder(t, got)
	})
}

// requireOrder checks that seq_nums are dense, that seq_ids are UUIDv7s which rise
// as bytes and as text, and that timestamps never fall.
func requireOrder(t testing.TB, got []*samsav1.SequencedRecord) {
	t.Helper()
	for i, r := range got {
		id, err := uuid.Parse(r.GetSeqId())
		require.NoError(t, err)
		require.EqualValues(t, 7, id.Version())
		require.Equal(t, id.String(), r.GetSeqId(), "the canonical form")
		if i == 0 {
			continue
		}
		before := got[i-1]
		require.Equal(t, before.GetSeqNum()+1, r.GetSeqNum())
		require.Less(t, before.GetSeqId(), r.GetSeqId())
		earlier := uuid.MustParse(before.GetSeqId())
		require.Negative(t, slices.Compare(earlier[:], id[:]))
		require.LessOrEqual(t, before.GetTimestamp(), r.GetTimestamp())
	}
}

// TestAppend_IsReadableOnceAcknowledged, by everybody.
func (s *Suite) TestAppend_IsReadableOnceAcknowledged(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		for i := range uint64(30) {
			body := fmt.Sprint(i)
			a.fill(t, body)
			got := a.read(t, &samsav1.ReadRequest{Start: &samsav1.ReadRequest_SeqNum{SeqNum: i}}).GetBatch().GetRecords()
			require.Equal(t, []string{body}, bodies(got))
			require.Equal(t, i+1, a.tail(t).GetNextSeqNum())
		}
	})
}

// TestAppend_ConcurrentBatchesStayWhole and get positions of their own.
func (s *Suite) TestAppend_ConcurrentBatchesStayWhole(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		const appenders, batches, size = 8, 10, 7
		var workers sync.WaitGroup
		for worker := range appenders {
			workers.Go(func() {
				for batch := range batches {
					body := fmt.Sprintf("%d/%d", worker, batch)
					_, err := a.Append(call(t), &samsav1.AppendRequest{
						Bucket: a.bucket, Stream: a.stream, Records: records(slices.Repeat([]string{body}, size)...),
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		workers.Wait()
		got := a.all(t)
		requireOrder(t, got)
		require.Len(t, got, appenders*batches*size)
		seen := map[string]bool{}
		for run := range slices.Chunk(bodies(got), size) {
			require.Len(t, slices.Compact(slices.Clone(run)), 1, "a batch is in one piece: %v", run)
			require.False(t, seen[run[0]], "%s is there twice", run[0])
			seen[run[0]] = true
		}
	})
}

// TestAppend_IsAtomic: one bad record, and nothing of its batch is there.
func (s *Suite) TestAppend_IsAtomic(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: demand})
		good := &samsav1.AppendRecord{Timestamp: new(uint64(1)), Body: []byte("good")}
		unchanged := a.unchanged(t)
		for want, bad := range map[failure]*samsav1.AppendRecord{
			invalid:      {Timestamp: new(uint64(1)), Headers: []*samsav1.Header{{Value: []byte("no such command")}}},
			badTimestamp: {Body: []byte("without a timestamp")},
		} {
			_, err := a.try(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{good, bad, good}})
			requireFailure(t, want, err)
		}
		unchanged()
		require.Empty(t, a.all(t))
	})
}

// TestAppend_FencingTokenIsComparedOnlyIfSent: a stream starts with "".
func (s *Suite) TestAppend_FencingTokenIsComparedOnlyIfSent(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.append(t, &samsav1.AppendRequest{Records: records("a"), FencingToken: new("")})
		_, err := a.try(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: new("owner-1")})
		requireToken(t, "", err)
		a.append(t, &samsav1.AppendRequest{Records: command("fence", []byte("owner-1")), FencingToken: new("")})
		unchanged := a.unchanged(t)
		for _, stale := range []string{"", "owner-0", "owner-11"} {
			_, err = a.try(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: &stale})
			requireToken(t, "owner-1", err)
		}
		unchanged()
		a.append(t, &samsav1.AppendRequest{Records: records("b"), FencingToken: new("owner-1")})
		a.append(t, &samsav1.AppendRequest{Records: records("c")})
		// A fence counts from the batch after its own.
		a.append(t, &samsav1.AppendRequest{
			Records: append(append(records("d"), command("fence", []byte("owner-2"))...), records("e")...), FencingToken: new("owner-1"),
		})
		_, err = a.try(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: new("owner-1")})
		requireToken(t, "owner-2", err)
		a.append(t, &samsav1.AppendRequest{Records: command("fence", nil), FencingToken: new("owner-2")})
		a.append(t, &samsav1.AppendRequest{Records: records("f"), FencingToken: new("")})
		require.Equal(t, []string{"a", "owner-1", "b", "c", "d", "owner-2", "e", "", "f"}, bodies(a.all(t)))
	})
}

// requireToken checks a failed condition on the fencing token.
func requireToken(t testing.TB, actual string, err error) {
	t.Helper()
	detail := requireFailure(t, conditionFailed, err)
	require.Equal(t, "fencing_token", detail.GetField())
	got, there := detail.GetMetadata()["fencing_token"]
	require.True(t, there, "the actual token is in the detail: %v", detail)
	require.Equal(t, actual, got)
}

// requireNext checks a failed condition on the position, which that field gave.
func requireNext(t testing.TB, field string, tail *samsav1.CheckTailResponse, err error) {
	t.Helper()
	detail := requireFailure(t, conditionFailed, err)
	require.Equal(t, field, detail.GetField())
	require.Equal(t, fmt.Sprint(tail.GetNextSeqNum()), detail.GetMetadata()["next_seq_num"])
	require.Equal(t, tail.GetNextSeqId(), detail.GetMetadata()["next_seq_id"])
}

// TestAppend_FencingTokenIsComparedBeforePosition.
func (s *Suite) TestAppend_FencingTokenIsComparedBeforePosition(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		_, err := a.try(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: new("wrong"), MatchSeqNum: new(uint64(7))})
		requireToken(t, "", err)
		_, err = a.try(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: new(""), MatchSeqNum: new(uint64(7))})
		requireNext(t, "match_seq_num", a.tail(t), err)
	})
}

// TestAppend_MatchSeqNumMustBeTheNext.
func (s *Suite) TestAppend_MatchSeqNumMustBeTheNext(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.append(t, &samsav1.AppendRequest{Records: records("a", "b"), MatchSeqNum: new(uint64(0))})
		tail := a.tail(t)
		for _, wrong := range []uint64{0, 1, 3, 1 << 48, ^uint64(0)} {
			_, err := a.try(t, &samsav1.AppendRequest{Records: records("x"), MatchSeqNum: &wrong})
			requireNext(t, "match_seq_num", tail, err)
		}
		a.append(t, &samsav1.AppendRequest{Records: records("c"), MatchSeqNum: new(uint64(2))})
		require.Equal(t, []string{"a", "b", "c"}, bodies(a.all(t)))
	})
}

// TestAppend_MatchSeqNumLetsOneOfManyIn: each position is won once.
func (s *Suite) TestAppend_MatchSeqNumLetsOneOfManyIn(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		const racers, rounds = 6, 5
		wins := make([][]string, rounds)
		for round := range rounds {
			var mu sync.Mutex
			var workers sync.WaitGroup
			for racer := range racers {
				workers.Go(func() {
					body := fmt.Sprintf("%d won %d", racer, round)
					_, err := a.Append(call(t), &samsav1.AppendRequest{
						Bucket: a.bucket, Stream: a.stream, Records: records(body), MatchSeqNum: new(uint64(round)),
					})
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						wins[round] = append(wins[round], body)
					} else if !conditionFailed.is(err) {
						t.Error(err)
					}
				})
			}
			workers.Wait()
			require.Len(t, wins[round], 1)
		}
		require.Equal(t, slices.Concat(wins...), bodies(a.all(t)))
	})
}

// TestAppend_MatchSeqIDMustBeTheNext: compared by salt and seq_num, so that an id
// of another stream is refused and the millisecond does not matter.
func (s *Suite) TestAppend_MatchSeqIDMustBeTheNext(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		first := a.append(t, &samsav1.AppendRequest{Records: records("a"), MatchSeqId: new(a.tail(t).GetNextSeqId())})
		tail := a.tail(t)
		unchanged := a.unchanged(t)
		_, err := a.try(t, &samsav1.AppendRequest{Records: records("x"), MatchSeqId: new(first.GetStartSeqId())})
		requireNext(t, "match_seq_id", tail, err)
		other := s.stream(t, d, nil)
		other.fill(t, "a")
		_, err = a.try(t, &samsav1.AppendRequest{Records: records("x"), MatchSeqId: new(other.tail(t).GetNextSeqId())})
		requireFailure(t, badSeqID, err)
		for _, malformed := range []string{"", "x", strings.Repeat("0", 32), "00000000-0000-4000-8000-000000000000", tail.GetNextSeqId() + "0"} {
			_, err = a.try(t, &samsav1.AppendRequest{Records: records("x"), MatchSeqId: &malformed})
			require.Equal(t, "match_seq_id", requireFailure(t, badSeqID, err).GetField(), "%q", malformed)
		}
		unchanged()
		later := uuid.MustParse(tail.GetNextSeqId())
		later[5]++ // the millisecond's last byte
		a.append(t, &samsav1.AppendRequest{Records: records("b"), MatchSeqId: new(later.String())})
	})
}

// TestAppend_FailedConditionReflectsWhatWasAcknowledged, never an older state.
func (s *Suite) TestAppend_FailedConditionReflectsWhatWasAcknowledged(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		for i := range uint64(20) {
			a.fill(t, "x")
			_, err := a.try(t, &samsav1.AppendRequest{Records: records("y"), MatchSeqNum: new(uint64(1000))})
			require.Equal(t, fmt.Sprint(i+1), requireFailure(t, conditionFailed, err).GetMetadata()["next_seq_num"])
		}
	})
}

// stamp appends a record with a timestamp and returns the one that it got.
func (a *at) stamp(t testing.TB, timestamp *uint64) uint64 {
	t.Helper()
	return a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Timestamp: timestamp}}}).GetStartTimestamp()
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

// TestAppend_ArrivalModeOverwritesTimestamps.
func (s *Suite) TestAppend_ArrivalModeOverwritesTimestamps(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: arrival, AllowFutureTimestamps: new(true)})
		for _, given := range []*uint64{nil, new(uint64(1)), new(now() + 1e9)} {
			before := now()
			got := a.stamp(t, given)
			require.GreaterOrEqual(t, got, before-1)
			require.LessOrEqual(t, got, now()+1)
		}
	})
}

// TestAppend_ClientPreferModeTakesTheClientsTimestamp if it gives one.
func (s *Suite) TestAppend_ClientPreferModeTakesTheClientsTimestamp(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: prefer})
		require.EqualValues(t, 0, a.stamp(t, new(uint64(0))), "the epoch is a time, too")
		require.EqualValues(t, 1000, a.stamp(t, new(uint64(1000))))
		before := now()
		require.GreaterOrEqual(t, a.stamp(t, nil), before-1)
	})
}

// TestAppend_ClientRequireModeDemandsTimestamps.
func (s *Suite) TestAppend_ClientRequireModeDemandsTimestamps(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: demand})
		_, err := a.try(t, &samsav1.AppendRequest{Records: records("x")})
		requireFailure(t, badTimestamp, err)
		require.EqualValues(t, 1000, a.stamp(t, new(uint64(1000))))
		require.EqualValues(t, 1, a.tail(t).GetNextSeqNum())
	})
}

// TestAppend_FutureTimestampsAreCappedToArrival unless they are allowed.
func (s *Suite) TestAppend_FutureTimestampsAreCappedToArrival(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		for _, mode := range []samsav1.TimestampingMode{prefer, demand} {
			future := now() + 1e9
			a := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: mode})
			require.LessOrEqual(t, a.stamp(t, &future), now()+1)
			b := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: mode, AllowFutureTimestamps: new(true)})
			require.Equal(t, future, b.stamp(t, &future))
			require.Equal(t, future, b.tail(t).GetLastTimestamp())
		}
	})
}

// TestAppend_TimestampsAreRaisedToStayNonDecreasing, within a batch and over
// batches.
func (s *Suite) TestAppend_TimestampsAreRaisedToStayNonDecreasing(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		var batch []*samsav1.AppendRecord
		for _, timestamp := range []uint64{10, 5, 20, 15, 30} {
			batch = append(batch, &samsav1.AppendRecord{Timestamp: &timestamp})
		}
		ack := a.append(t, &samsav1.AppendRequest{Records: batch})
		require.EqualValues(t, 10, ack.GetStartTimestamp())
		require.EqualValues(t, 30, ack.GetEndTimestamp())
		require.EqualValues(t, 30, a.stamp(t, new(uint64(7))))
		var got []uint64
		for _, r := range a.all(t) {
			got = append(got, r.GetTimestamp())
		}
		require.Equal(t, []uint64{10, 10, 20, 20, 30, 30}, got)
	})
}

// TestAppend_TimestampsFarInTheFutureAreCapped, or replaced, however far.
func (s *Suite) TestAppend_TimestampsFarInTheFutureAreCapped(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		for _, mode := range []samsav1.TimestampingMode{
			samsav1.TimestampingMode_TIMESTAMPING_MODE_ARRIVAL,
			samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_PREFER,
			samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_REQUIRE,
		} {
			a := s.stream(t, d, &samsav1.StreamConfig{TimestampingMode: mode})
			arrival := now()
			for _, far := range []uint64{arrival * 1000, ^uint64(0)} {
				require.InDelta(t, arrival, a.stamp(t, &far), 60_000, mode)
			}
		}
	})
}

// TestAppend_TimestampsOutOfRangeAreRefused: they would not fit a seq_id.
func (s *Suite) TestAppend_TimestampsOutOfRangeAreRefused(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{AllowFutureTimestamps: new(true)})
		unchanged := a.unchanged(t)
		_, err := a.try(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Timestamp: new(^uint64(0))}}})
		requireFailure(t, badTimestamp, err)
		unchanged()
	})
}

func seqNum(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// TestAppend_TrimCommandMovesTheHeadAndNeverBack: to the smaller of what it says
// and its own position + 1.
func (s *Suite) TestAppend_TrimCommandMovesTheHeadAndNeverBack(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.fill(t, "0", "1", "2", "3")
		for _, step := range []struct{ to, first uint64 }{{2, 2}, {1, 2}, {0, 2}, {3, 3}} {
			a.append(t, &samsav1.AppendRequest{Records: command("trim", seqNum(step.to))})
			require.Equal(t, step.first, a.all(t)[0].GetSeqNum(), "after a trim to %d", step.to)
		}
		ack := a.append(t, &samsav1.AppendRequest{Records: append(command("trim", seqNum(^uint64(0))), records("kept")...)})
		require.Equal(t, []string{"kept"}, bodies(a.all(t)), "a trim goes at most to its own position + 1")
		require.EqualValues(t, 9, ack.GetStartSeqNum()+1, "trimming renumbers nothing")
		a.append(t, &samsav1.AppendRequest{Records: command("trim", seqNum(^uint64(0)))})
		require.Empty(t, a.all(t))
		require.EqualValues(t, 11, a.tail(t).GetNextSeqNum())
		require.EqualValues(t, 11, a.fill(t, "next").GetStartSeqNum())
	})
}

// TestAppend_MalformedCommandsAreRefused: an empty header name is for commands
// alone.
func (s *Suite) TestAppend_MalformedCommandsAreRefused(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.fill(t, "a")
		unchanged := a.unchanged(t)
		empty := &samsav1.Header{Value: []byte("fence")}
		named := &samsav1.Header{Name: []byte("name")}
		for what, bad := range map[string]*samsav1.AppendRecord{
			"unknown command":         {Headers: []*samsav1.Header{{Value: []byte("Fence")}}},
			"no command":              {Headers: []*samsav1.Header{{}}},
			"beside another, first":   {Headers: []*samsav1.Header{empty, named}},
			"beside another, second":  {Headers: []*samsav1.Header{named, empty}},
			"two of them":             {Headers: []*samsav1.Header{empty, empty}},
			"trim without a seq_num":  {Headers: []*samsav1.Header{{Value: []byte("trim")}}},
			"trim with a short one":   {Headers: []*samsav1.Header{{Value: []byte("trim")}}, Body: make([]byte, 7)},
			"trim with a long one":    {Headers: []*samsav1.Header{{Value: []byte("trim")}}, Body: make([]byte, 9)},
			"fence that is no text":   {Headers: []*samsav1.Header{empty}, Body: []byte{0xff, 'x'}},
			"trim with a number text": {Headers: []*samsav1.Header{{Value: []byte("trim")}}, Body: []byte("1")},
		} {
			_, err := a.try(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{bad}})
			require.True(t, invalid.is(err), "%s: %v", what, err)
		}
		unchanged()
	})
}

// TestAppend_CreatesMissingStreamsOnlyIfTheBucketSaysSo.
func (s *Suite) TestAppend_CreatesMissingStreamsOnlyIfTheBucketSaysSo(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		missing := &at{door: d, bucket: s.bucket(t, &samsav1.BucketConfig{CreateStreamOnRead: new(true)}), stream: "s"}
		_, err := missing.try(t, &samsav1.AppendRequest{Records: records("x")})
		requireFailure(t, notFound, err)
		_, err = (&at{door: d, bucket: s.unique(), stream: "s"}).try(t, &samsav1.AppendRequest{Records: records("x")})
		requireFailure(t, notFound, err)

		bucket := s.bucket(t, &samsav1.BucketConfig{
			CreateStreamOnAppend: new(true), DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: express},
		})
		made := &at{door: d, bucket: bucket, stream: "a/b"}
		require.Zero(t, made.fill(t, "first").GetStartSeqNum())
		require.Equal(t, express, made.config(t).GetStorageClass(), "it inherits the bucket's default")
		list, err := d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: bucket})
		require.NoError(t, err)
		require.Len(t, list.GetStreams(), 1)
		_, err = made.named("other").tryRead(t, &samsav1.ReadRequest{})
		requireFailure(t, notFound, err)
	})
}

// TestAppend_ManyAtOnceCreateOneStream.
func (s *Suite) TestAppend_ManyAtOnceCreateOneStream(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := &at{door: d, bucket: s.bucket(t, &samsav1.BucketConfig{CreateStreamOnAppend: new(true)}), stream: "s"}
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				if _, err := a.Append(call(t), &samsav1.AppendRequest{Bucket: a.bucket, Stream: a.stream, Records: records("x")}); err != nil {
					t.Error(err)
				}
			})
		}
		workers.Wait()
		require.Len(t, a.all(t), 8)
	})
}

// TestAppend_RefusedBatchCreatesNoStream: bad input changes nothing.
func (s *Suite) TestAppend_RefusedBatchCreatesNoStream(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := &at{door: d, bucket: s.bucket(t, &samsav1.BucketConfig{CreateStreamOnAppend: new(true)}), stream: "s"}
		_, err := a.try(t, &samsav1.AppendRequest{})
		requireFailure(t, invalid, err)
		_, err = a.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: a.stream})
		requireFailure(t, notFound, err)
	})
}

// TestAppend_CancelledCallLeavesTheStreamWhole: the batch is there or not, once,
// and what comes after works.
func (s *Suite) TestAppend_CancelledCallLeavesTheStreamWhole(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := a.Append(cancelled, &samsav1.AppendRequest{Bucket: a.bucket, Stream: a.stream, Records: records("never sent")})
		require.Error(t, err)
		for i := range 20 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*200*time.Microsecond) // any moment of the call
			_, err := a.Append(ctx, &samsav1.AppendRequest{Bucket: a.bucket, Stream: a.stream, Records: records(fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))})
			cancel()
			if err == nil {
				require.Contains(t, bodies(a.all(t)), fmt.Sprint(i, "b"))
			}
		}
		a.fill(t, "last")
		got := bodies(a.all(t))
		require.Contains(t, got, "last") // a cancelled one may land behind it
		require.NotContains(t, got, "never sent")
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(got))), len(got), "something is there twice")
		others := slices.DeleteFunc(got, func(body string) bool { return body == "last" })
		for pair := range slices.Chunk(others, 2) {
			require.Equal(t, strings.TrimSuffix(pair[0], "a"), strings.TrimSuffix(pair[1], "b"), "a batch is whole")
		}
	})
}
