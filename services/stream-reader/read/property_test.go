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

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// storm is one run: random work, faults and sessions on a few streams.
type storm struct {
	*rig
	rng       *rand.Rand
	streams   []*fake.Stream
	timestamp uint64
	sessions  []*stormSession
}

type stormSession struct {
	*session
	stream  *fake.Stream
	request read.Request
	tail    stream.SeqNum // when it began
}

// Whatever happens, every session sees what the model says: dense, in order,
// complete up to the tail, and its limits to the record.
func TestSession_SeesEveryRecordOnceWhateverHappens(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runStorm(t, uint64(seed)) })
		})
	}
}

func runStorm(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	c := defaultRig()
	c.live.RingBytes, c.live.TotalBytes = 200+rng.Int64N(2000), 1000
	c.live.RepairBytes = 1 + rng.Int64N(500)
	c.live.Concurrency = 1 + rng.IntN(3)
	c.read.FrameBytes, c.read.Stall = 1+rng.IntN(500), 200*time.Millisecond
	c.live.FrameBytes = c.read.FrameBytes
	cluster := fake.New()
	cluster.IndexBytes = 300 + rng.Int64N(3000)
	cluster.InlineBytes = []int{0, 60, 1 << 20}[rng.IntN(3)]
	s := &storm{rig: newRig(t, cluster, c), rng: rng, timestamp: 1}
	defer s.close()
	for n := range 3 {
		s.streams = append(s.streams, cluster.Create(fake.Name(n)))
	}
	for range 150 {
		s.step()
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
	}
	cluster.Bus.SetFaults(fake.Faults{})
	for shard := range stream.Shard(fake.Shards) {
		cluster.SetDown(shard, false)
	}
	// One quiet second of beacons brings everything to light; slow ones need more.
	time.Sleep(90 * time.Second)
	s.verify()
}

func (s *storm) step() {
	n := s.streams[s.rng.IntN(len(s.streams))]
	shard := fake.Shard(n.Name)
	switch s.rng.IntN(20) {
	case 0:
		s.cluster.Takeover(shard)
	case 1:
		// The owner dies between durability and announcement.
		s.append(n, true)
		s.cluster.Takeover(shard)
	case 2:
		s.cluster.SetDown(shard, s.rng.IntN(2) == 0)
	case 3:
		s.cluster.Bus.SetFaults(fake.Faults{
			Seed: s.rng.Uint64(), Drop: s.rng.Float64(), Double: s.rng.Float64(),
			Late: time.Duration(s.rng.Int64N(int64(200 * time.Millisecond))), Silent: s.rng.IntN(3) == 0,
		})
	case 4:
		if tail := s.cluster.Len(n); s.rng.IntN(3) == 0 {
			s.cluster.Trim(n, stream.SeqNum(s.rng.Uint64N(uint64(tail)+1)))
		}
	case 5, 6, 7:
		s.start(n)
	default:
		s.append(n, false)
	}
}

func (s *storm) append(n *fake.Stream, quiet bool) {
	s.timestamp += s.rng.Uint64N(3)
	first := int(s.cluster.Len(n))
	batches := make([][]fake.Record, 1+s.rng.IntN(2))
	for i := range batches {
		batches[i] = records(first, 1+s.rng.IntN(4), s.timestamp, s.rng.IntN(smallBody))
		first += len(batches[i])
	}
	s.cluster.Append(n, quiet, batches...)
}

func (s *storm) start(n *fake.Stream) {
	tail := s.cluster.Len(n)
	req := read.Request{Name: n.Name, Limits: frame.NoLimits(), Clamp: true, Heartbeats: s.rng.IntN(2) == 0}
	switch s.rng.IntN(3) {
	case 0:
		req.Start = at(s.rng.Uint64N(uint64(tail) + 2))
	case 1:
		req.Start = live.Start{Kind: live.AtTailOffset, Value: s.rng.Uint64N(5)}
	case 2:
		req.Start = live.Start{Kind: live.AtTimestamp, Value: s.rng.Uint64N(s.timestamp + 5)}
	}
	if s.rng.IntN(3) == 0 {
		req.Limits.Count = 1 + s.rng.Uint64N(40)
	}
	if s.rng.IntN(4) == 0 {
		until := s.timestamp + s.rng.Uint64N(20)
		req.Limits.Until = &until
	}
	slow := time.Duration(0)
	if s.rng.IntN(2) == 0 {
		slow = time.Duration(s.rng.IntN(300)) * time.Millisecond
	}
	one := &stormSession{stream: n, request: req, tail: tail}
	one.session = s.session(req, func(read.Output) error {
		time.Sleep(slow)
		return nil
	})
	s.sessions = append(s.sessions, one)
}

func (s *storm) verify() {
	for i, one := range s.sessions {
		ended := false
		select {
		case <-one.done:
			ended = true
		default:
		}
		one.end()
		if errors.Is(one.err, fake.ErrDown) {
			check(s.t, one.stream, one.records)
			continue // refused, or cut short, while the owner was down
		}
		what := fmt.Sprintf("session %d: %+v", i, one.request)
		check(s.t, one.stream, one.records)
		one.verifyStart(s.t, what)
		one.verifyEnd(s.t, what, ended)
	}
}

// verifyStart checks the first record that came, if one should have.
func (s *stormSession) verifyStart(t require.TestingT, what string) {
	if len(s.records) == 0 {
		return
	}
	first, trim := s.records[0].SeqNum, uint64(s.stream.Trim)
	switch s.request.Start.Kind {
	case live.AtSeqNum:
		want := min(s.request.Start.Value, uint64(s.tail))
		require.True(t, first == want || s.request.Start.Value > uint64(s.tail) && first <= s.request.Start.Value ||
			first > want && first <= trim, what)
	case live.AtTimestamp:
		require.GreaterOrEqual(t, s.records[0].Timestamp, s.request.Start.Value, what)
		if first > trim {
			require.Less(t, s.stream.Records[first-1].Timestamp, s.request.Start.Value, what)
		}
	}
}

// verifyEnd checks that a session has everything up to its limit or the tail.
func (s *stormSession) verifyEnd(t require.TestingT, what string, ended bool) {
	l := s.request.Limits
	if ended {
		require.NoError(t, s.err, what)
	}
	require.LessOrEqual(t, uint64(len(s.records)), l.Count, what)
	if uint64(len(s.records)) == l.Count {
		require.True(t, ended, what)
		return
	}
	tail := len(s.stream.Records)
	next := tail
	if len(s.records) > 0 {
		next = int(s.records[len(s.records)-1].SeqNum) + 1
	}
	if l.Until != nil && tail > 0 && s.stream.Records[tail-1].Timestamp >= *l.Until {
		require.True(t, ended, what)
		if len(s.records) > 0 {
			// What it did not get was trimmed or is not wanted.
			next = min(max(next, int(s.stream.Trim)), tail-1)
			require.GreaterOrEqual(t, s.stream.Records[next].Timestamp, *l.Until, what)
			require.Less(t, s.records[len(s.records)-1].Timestamp, *l.Until, what)
		}
		return
	}
	require.False(t, ended, what)
	require.ErrorIs(t, s.err, context.Canceled, what)
	require.Equal(t, tail, next, what)
	require.NotEmpty(t, s.tails, what)
	require.EqualValues(t, tail, max(int(s.tails[len(s.tails)-1].Next), next), what)
}
