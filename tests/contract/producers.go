package contract

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// numbered is a producer's batch.
func numbered(id string, seq uint64, bodies ...string) *samsav1.AppendRequest {
	return &samsav1.AppendRequest{Records: records(bodies...), ProducerId: &id, ProducerSeq: &seq}
}

// TestAppend_ResentProducerBatchAnswersWithItsFirstAck, and is there once.
func (s *Suite) TestAppend_ResentProducerBatchAnswersWithItsFirstAck(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		var acks []*samsav1.AppendResponse
		for i := range uint64(5) {
			acks = append(acks, a.append(t, numbered("p", 2*i, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))))
			a.fill(t, "another's")
		}
		before := a.tail(t).GetNextSeqNum()
		for i, first := range acks {
			again := a.append(t, numbered("p", uint64(2*i), fmt.Sprint(i, "a"), fmt.Sprint(i, "b")))
			require.Equal(t, first.GetStartSeqNum(), again.GetStartSeqNum())
			require.Equal(t, first.GetEndSeqNum(), again.GetEndSeqNum())
			require.Equal(t, first.GetStartSeqId(), again.GetStartSeqId())
			require.Equal(t, first.GetEndSeqId(), again.GetEndSeqId())
			require.Equal(t, first.GetStartTimestamp(), again.GetStartTimestamp())
			require.Equal(t, first.GetEndTimestamp(), again.GetEndTimestamp())
		}
		require.Equal(t, before, a.tail(t).GetNextSeqNum())
	})
}

// TestAppend_ResentOldProducerBatchIsOfUnknownOutcome: the last five are
// remembered.
func (s *Suite) TestAppend_ResentOldProducerBatchIsOfUnknownOutcome(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		for i := range uint64(6) {
			a.append(t, numbered("p", i, fmt.Sprint(i)))
		}
		unchanged := a.unchanged(t)
		_, err := a.try(t, numbered("p", 0, "0"))
		requireFailure(t, forgotten, err)
		a.append(t, numbered("p", 1, "1"))
		unchanged()
	})
}

// TestAppend_ProducerGapIsRefusedWithTheExpectedCount.
func (s *Suite) TestAppend_ProducerGapIsRefusedWithTheExpectedCount(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		_, err := a.try(t, numbered("p", 1, "x"))
		require.Equal(t, "0", requireFailure(t, producerGap, err).GetMetadata()["expected_producer_seq"])
		a.append(t, numbered("p", 0, "0", "1", "2"))
		unchanged := a.unchanged(t)
		_, err = a.try(t, numbered("p", 4, "x"))
		require.Equal(t, "3", requireFailure(t, producerGap, err).GetMetadata()["expected_producer_seq"])
		unchanged()
		a.append(t, numbered("p", 3, "3"))
		a.append(t, numbered("q", 0, "another producer's"))
	})
}

// TestAppend_ProducerIsCheckedBeforeTheConditions: a resend answers with its ack
// although its conditions do not hold any more.
func (s *Suite) TestAppend_ProducerIsCheckedBeforeTheConditions(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		conditional := func() *samsav1.AppendRequest {
			r := numbered("p", 0, "a")
			r.MatchSeqNum, r.FencingToken = new(uint64(0)), new("")
			return r
		}
		first := a.append(t, conditional())
		a.append(t, &samsav1.AppendRequest{Records: command("fence", []byte("token"))})
		again := a.append(t, conditional())
		require.Equal(t, first.GetStartSeqId(), again.GetStartSeqId())
		gap := numbered("p", 5, "x")
		gap.FencingToken = new("wrong")
		_, err := a.try(t, gap)
		requireFailure(t, producerGap, err)
		stale := numbered("p", 1, "x")
		stale.FencingToken = new("wrong")
		_, err = a.try(t, stale)
		requireToken(t, "token", err)
		a.append(t, numbered("p", 1, "b")) // a refused batch does not count
	})
}

// TestAppend_ProducerBatchInFlightIsAppendedOnce: resends that overtake the ack.
func (s *Suite) TestAppend_ProducerBatchInFlightIsAppendedOnce(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		const resends = 8
		for batch := range uint64(5) {
			acks := make([]*samsav1.AppendResponse, resends)
			var senders sync.WaitGroup
			for i := range acks {
				senders.Go(func() {
					r := numbered("p", batch, fmt.Sprint(batch))
					r.Bucket, r.Stream = a.bucket, a.stream
					var err error
					if acks[i], err = a.Append(call(t), r); err != nil {
						t.Error(err)
					}
				})
			}
			senders.Wait()
			for _, ack := range acks {
				require.Equal(t, batch, ack.GetStartSeqNum())
				require.Equal(t, acks[0].GetStartSeqId(), ack.GetStartSeqId())
			}
		}
		require.Equal(t, []string{"0", "1", "2", "3", "4"}, bodies(a.all(t)))
	})
}

// TestAppend_ForgottenProducerIsOfUnknownOutcome, also with its very first batch,
// while new producers go on working.
func (s *Suite) TestAppend_ForgottenProducerIsOfUnknownOutcome(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		const producers = 70
		for i := range producers {
			a.append(t, numbered(fmt.Sprint(i), 0, "x"))
		}
		unchanged := a.unchanged(t)
		for i := range producers - 64 {
			_, err := a.try(t, numbered(fmt.Sprint(i), 0, "x"))
			requireFailure(t, forgotten, err)
		}
		unchanged()
		a.append(t, numbered("new", 0, "x"))
	})
}

// TestAppend_SixtyFourProducersAreRemembered.
func (s *Suite) TestAppend_SixtyFourProducersAreRemembered(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		const producers = 64
		for i := range producers {
			require.EqualValues(t, i, a.append(t, numbered(fmt.Sprint(i), 0, "x")).GetStartSeqNum())
		}
		for i := range producers {
			require.EqualValues(t, i, a.append(t, numbered(fmt.Sprint(i), 0, "x")).GetStartSeqNum())
		}
		require.EqualValues(t, producers, a.tail(t).GetNextSeqNum())
	})
}
