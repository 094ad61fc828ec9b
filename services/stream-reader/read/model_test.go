package read_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// expected is what the contract says a read delivers, straight from the model.
func expected(s *fake.Stream, req read.Request) (seqs []uint64, next uint64) {
	tail := uint64(len(s.Records))
	next = max(min(req.Start.Value, tail), uint64(s.Trim))
	switch req.Start.Kind {
	case live.AtTailOffset:
		next = max(tail-min(tail, req.Start.Value), uint64(s.Trim))
	case live.AtTimestamp:
		for next = uint64(s.Trim); next < tail && s.Records[next].Timestamp < req.Start.Value; next++ {
		}
	}
	var used uint64
	for ; next < tail; next++ {
		r, l := s.Records[next], req.Limits
		if l.Until != nil && r.Timestamp >= *l.Until || uint64(len(seqs)) >= l.Count || l.Bytes == 0 ||
			len(seqs) > 0 && used+r.Metered() > l.Bytes {
			break
		}
		used += r.Metered()
		seqs = append(seqs, next)
	}
	return seqs, next
}

func randomRequest(rng *rand.Rand, s *fake.Stream, last uint64) read.Request {
	req := read.Request{Name: s.Name, Limits: frame.NoLimits(), Clamp: true}
	req.Start = live.Start{Kind: []live.StartKind{live.AtSeqNum, live.AtTimestamp, live.AtTailOffset}[rng.IntN(3)]}
	req.Start.Value = rng.Uint64N(uint64(len(s.Records)) + 3)
	if req.Start.Kind == live.AtTimestamp {
		req.Start.Value = rng.Uint64N(last + 3)
	}
	if rng.IntN(2) == 0 {
		req.Limits.Count = rng.Uint64N(30)
	}
	if rng.IntN(2) == 0 {
		req.Limits.Bytes = rng.Uint64N(600)
	}
	if rng.IntN(2) == 0 {
		until := rng.Uint64N(last + 2)
		req.Limits.Until = &until
	}
	return req
}

func TestRead_AgreesWithTheModel(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
			r.cluster.IndexBytes = 300 + rng.Int64N(2000)
			r.cluster.InlineBytes = rng.IntN(400)
			r.cluster.Takeover(fake.Shard(s.Name))
			timestamp := uint64(1)
			for range 1 + rng.IntN(30) {
				timestamp += rng.Uint64N(4)
				batch := records(len(s.Records), 1+rng.IntN(6), timestamp, rng.IntN(smallBody))
				for i := range batch {
					timestamp += rng.Uint64N(2)
					batch[i].Timestamp = timestamp
				}
				r.cluster.Append(s, false, batch)
				if rng.IntN(10) == 0 {
					r.cluster.Takeover(fake.Shard(s.Name))
				}
			}
			if rng.IntN(2) == 0 {
				r.cluster.Trim(s, stream.SeqNum(rng.IntN(len(s.Records))))
			}
			for range 40 {
				req := randomRequest(rng, s, timestamp)
				want, next := expected(s, req)
				what := fmt.Sprintf("seed %d: %+v", seed, req)

				result, seqs, err := r.read(req)

				require.NoError(t, err, what)
				require.Equal(t, want, seqs, what)
				require.EqualValues(t, next, result.Next, what)
				require.Equal(t, next == uint64(len(s.Records)), result.Tail != nil, what)
				if len(want) == 0 {
					require.EqualValues(t, next, result.NextID.SeqNum(), what)
				}
			}
		})
	}
}
