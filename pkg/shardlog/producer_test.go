package shardlog

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

// timed is a UUIDv7 of that millisecond.
func timed(millis uint64, n int) string {
	return stream.NewSeqID(millis, stream.SeqNum(n), 0).String()
}

// first sends a producer's first batch and returns its answer.
func (s *script) first(producer string) Reply {
	tag := new(int)
	a := record(tag, "s", nil)
	a.ProducerID = producer
	s.step(a)
	return s.replies[tag]
}

// crowd sends the first batches of so many producers and returns their acks.
func (s *script) crowd(n int, id func(int) string) map[string]Ack {
	acks := map[string]Ack{}
	for i := range n {
		r := s.first(id(i))
		require.NoError(s.t, r.Err, id(i))
		acks[id(i)] = r.Ack
	}
	return acks
}

// resent sends first batches again: each is answered as before or is of unknown
// outcome, and nothing is appended.
func (s *script) resent(acks map[string]Ack) (known int) {
	tail := s.w.shards[0].durable.streams[s.row("s").ID].Tail
	for id, ack := range acks {
		r := s.first(id)
		if r.Err != nil {
			require.ErrorIs(s.t, r.Err, ErrOutcomeUnknown)
			continue
		}
		require.Equal(s.t, ack, r.Ack)
		known++
	}
	require.Equal(s.t, tail, s.w.shards[0].durable.streams[s.row("s").ID].Tail)
	return known
}

func TestProducers_ThatAreForgottenAppendNothingTwice(t *testing.T) {
	const many = producersKept + forgottenKept + 500
	now := uint64(1_700_000_000_000)
	for _, kind := range []struct {
		name string
		id   func(int) string
		most int // as many are told apart
	}{
		{"UUIDv7", func(i int) string { return timed(now+uint64(i), i) }, many},
		{"UUIDv7OfOneMillisecond", func(i int) string { return timed(now, i) }, producersKept + forgottenKept + 1},
		{"others", func(i int) string { return fmt.Sprint("producer ", i) }, producersKept + forgottenKept + 1},
	} {
		t.Run(kind.name, func(t *testing.T) {
			store := map[string][]byte{}
			s := newScript(t, 1, store)
			s.own()
			acks := s.crowd(kind.most, kind.id)
			require.Equal(t, producersKept, s.resent(acks))
			s = newScript(t, 2, store) // from the state and the footers
			s.own()
			require.Equal(t, producersKept, s.resent(acks))
		})
	}
}

func TestProducers_ThatAreNewWorkHoweverManyThereWere(t *testing.T) {
	now := uint64(1_700_000_000_000)
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.crowd(3000, func(i int) string { return timed(now+uint64(i), i) })
	require.NoError(t, s.first(timed(now+3000, 0)).Err)
	require.NoError(t, s.first(timed(now+2500, 7)).Err, "made before others that were faster")
	require.ErrorIs(t, s.first(timed(now, 7)).Err, ErrOutcomeUnknown, "it may be one of those forgotten")
	require.NoError(t, s.first("the first one without a time").Err)
}

func TestProducers_BeyondWhatCanBeToldApartAreOfUnknownOutcome(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.crowd(producersKept+forgottenKept+1, func(i int) string { return fmt.Sprint(i) })
	err := s.first("another").Err
	require.ErrorIs(t, err, ErrOutcomeUnknown)
	require.ErrorContains(t, err, "take a new UUIDv7")
	require.NoError(t, s.first(timed(1_700_000_000_000, 0)).Err)
}

func TestProducer_FromTheFutureIsRefused(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	now := s.now.UnixMilli()
	require.ErrorIs(t, s.first(timed(uint64(now)+2*futureProducer, 0)).Err, ErrProducerTime)
	ahead := timed(uint64(now)+futureProducer/2, 0)
	ack := s.first(ahead)
	require.NoError(t, ack.Err)
	s.now = s.now.Add(-24 * time.Hour) // known ones are not asked for their time
	require.Equal(t, ack.Ack, s.first(ahead).Ack)
}

func TestProducer_GapsOfNewOnesAreToldThoughOthersWereForgotten(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.crowd(100, func(i int) string { return fmt.Sprint(i) })
	later := record("gap", "s", nil)
	later.ProducerID, later.ProducerSeq = "new", 5
	s.step(later)
	gap := (*ProducerGapError)(nil)
	require.True(t, errors.As(s.refused("gap"), &gap))
	require.Zero(t, gap.Expected)
	forgotten := record("forgotten", "s", nil)
	forgotten.ProducerID, forgotten.ProducerSeq = "0", 1
	s.step(forgotten)
	require.ErrorIs(t, s.refused("forgotten"), ErrOutcomeUnknown)
}
