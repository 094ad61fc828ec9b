package read_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// tight has memory for one who catches up, in frames of a few records.
func tight(c *rigConfig) {
	c.read.CatchUpBytes, c.read.FrameBytes = 1, 300
	c.live.RingBytes = 1
}

// stored appends records in many slots before anybody reads.
func (r *rig) stored(s *fake.Stream, slots int) {
	for n := range slots {
		r.append(s, 5, uint64(n))
	}
}

// readsAll has a session that never waits read the stream to its tail.
func (r *rig) readsAll(t *testing.T, s *fake.Stream) {
	one := r.session(all(s.Name), nil)
	synctest.Wait()
	require.NotEmpty(t, one.tails, "%d records, %v", len(one.records), one.err)
	one.end()
	check(t, s, one.records)
	require.Len(t, one.records, int(r.cluster.Len(s)-s.Trim))
}

func TestSession_ThatStallsLeavesItsMemoryToOthers(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
		r.stored(s, 40)
		goOn := make(chan struct{})
		var stalled []*session
		for range 20 {
			one := r.session(all(s.Name), func(read.Output) error { <-goOn; return nil })
			time.Sleep(1500 * time.Millisecond)
			stalled = append(stalled, one)
		}
		r.readsAll(t, s)

		close(goOn)
		time.Sleep(time.Minute)
		for _, one := range stalled {
			one.end()
			check(t, s, one.records)
			require.Len(t, one.records, 200)
			require.Len(t, one.tails, 1)
		}
	})
}

// Whenever a client stalls, and whatever it wants, it gets what it would have got.
func TestSession_ThatStallsSkipsAndRepeatsNothing(t *testing.T) {
	until := uint64(17)
	none := frame.NoLimits()
	with := func(change func(*frame.Limits)) frame.Limits {
		l := none
		change(&l)
		return l
	}
	for name, limits := range map[string]frame.Limits{
		"all":          none,
		"count":        with(func(l *frame.Limits) { l.Count = 77 }),
		"bytes":        with(func(l *frame.Limits) { l.Bytes = 2000 }),
		"until":        with(func(l *frame.Limits) { l.Until = &until }),
		"a few frames": with(func(l *frame.Limits) { l.Count = 9 }),
	} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) { stallAndCompare(t, r, s, limits, seed) })
			})
		}
	}
}

func stallAndCompare(t *testing.T, r *rig, s *fake.Stream, limits frame.Limits, seed uint64) {
	r.stored(s, 40)
	rng := rand.New(rand.NewPCG(seed, 3))
	req := all(s.Name)
	req.Limits, req.Heartbeats = limits, true
	req.Start = []live.Start{at(0), at(3), {Kind: live.AtTimestamp, Value: 2}}[rng.IntN(3)]
	steady := r.session(req, nil)
	time.Sleep(time.Second)
	stalls := r.session(req, func(read.Output) error {
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
		return nil
	})
	time.Sleep(5 * time.Minute)
	steady.end()
	stalls.end()

	require.NotEmpty(t, steady.records)
	require.Equal(t, steady.err, stalls.err)
	require.Equal(t, steady.tails, stalls.tails)
	check(t, s, stalls.records)
	require.Len(t, stalls.records, len(steady.records))
	require.Equal(t, steady.records[0].SeqNum, stalls.records[0].SeqNum)
}

func TestSession_ThatStallsSkipsWhatIsTrimmedMeanwhile(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
		r.stored(s, 40)
		goOn := make(chan struct{})
		one := r.session(all(s.Name), func(read.Output) error { <-goOn; return nil })
		time.Sleep(2 * time.Second)
		r.cluster.Trim(s, 150)
		r.stored(s, 1)
		close(goOn)
		time.Sleep(time.Minute)
		one.end()
		check(t, s, one.records)
		require.EqualValues(t, 0, one.records[0].SeqNum, "it was on its way")
		require.Less(t, len(one.records), 70)
		require.EqualValues(t, 204, one.records[len(one.records)-1].SeqNum)
	})
}

func TestSession_ThatIsEndedWhileItStallsHoldsNothing(t *testing.T) {
	for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
				r.stored(s, 40)
				gone := make(chan struct{})
				one := r.session(all(s.Name), func(read.Output) error {
					<-gone
					return context.Canceled
				})
				time.Sleep(after)
				one.cancel()
				close(gone)
				<-one.done
				require.ErrorIs(t, one.err, context.Canceled)
				r.readsAll(t, s)
			})
		})
	}
}

// A client that comes back while others have all the memory is told to come again.
func TestSession_ThatStallsAndFindsNoMemoryIsRefused(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
		r.stored(s, 40)
		goOn := make(chan struct{})
		one := r.session(all(s.Name), func(read.Output) error { <-goOn; return nil })
		time.Sleep(2 * time.Second)
		r.session(all(s.Name), func(read.Output) error { // takes too little to give way, and does not stall
			time.Sleep(900 * time.Millisecond)
			return nil
		})
		synctest.Wait()
		close(goOn)
		<-one.done
		var overload *read.OverloadError
		require.True(t, errors.As(one.err, &overload), "%v", one.err)
		check(t, s, one.records)
		time.Sleep(5 * time.Minute)
	})
}
