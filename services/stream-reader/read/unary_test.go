package read_test

import (
	"sync"
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

func (r *rig) read(req read.Request) (read.Result, []uint64, error) {
	result, err := r.service.Read(r.t.Context(), req)
	var seqs []uint64
	if result.Frame != nil {
		for _, record := range decode(r.t, result.Frame) {
			seqs = append(seqs, record.SeqNum)
		}
	}
	return result, seqs, err
}

func TestRead_DeliversToTheTail(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 5)
		result, seqs, err := r.read(all(s.Name))
		require.NoError(t, err)
		require.Equal(t, []uint64{0, 1, 2}, seqs)
		require.EqualValues(t, 3, result.Next)
		require.Equal(t, &live.Tail{Next: 3, LastTimestamp: 5, LastIDMillis: 5}, result.Tail)
	})
}

func TestRead_AtTheTailNamesTheNextID(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 5)
		req := all(s.Name)
		req.Start = at(3)
		result, seqs, err := r.read(req)
		require.NoError(t, err)
		require.Empty(t, seqs)
		require.Equal(t, stream.NewSeqID(5, 3, s.ID.Salt()), result.NextID)
		require.NotNil(t, result.Tail)
	})
}

func TestRead_PastTheTailIsRefusedOrClamped(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 5)
		req := all(s.Name)
		req.Start = at(4)
		_, _, err := r.read(req)
		var past *read.PastTailError
		require.ErrorAs(t, err, &past)
		require.EqualValues(t, 3, past.Tail.Next)
		require.Equal(t, stream.NewSeqID(5, 3, s.ID.Salt()), past.NextID)

		req.Clamp = true
		result, seqs, err := r.read(req)
		require.NoError(t, err)
		require.Empty(t, seqs)
		require.EqualValues(t, 3, result.Next)
	})
}

func TestRead_TailOffsetSaturates(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 5)
		for offset, want := range map[uint64]int{0: 0, 2: 2, 3: 3, 1 << 60: 3} {
			req := all(s.Name)
			req.Start = live.Start{Kind: live.AtTailOffset, Value: offset}
			_, seqs, err := r.read(req)
			require.NoError(t, err)
			require.Len(t, seqs, want)
		}
	})
}

func TestRead_OfNothingNamesTheRecordAtTheStart(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 5)
		r.append(s, 3, 9)
		early := uint64(5)
		for name, limits := range map[string]frame.Limits{
			"count 0": {Bytes: frame.Unlimited},
			"bytes 0": {Count: frame.Unlimited},
			"until":   {Count: frame.Unlimited, Bytes: frame.Unlimited, Until: &early},
		} {
			req := all(s.Name)
			req.Start, req.Limits = at(1), limits
			result, seqs, err := r.read(req)
			require.NoError(t, err, name)
			require.Empty(t, seqs, name)
			require.Equal(t, stream.NewSeqID(5, 1, s.ID.Salt()), result.NextID, name)
			require.EqualValues(t, 1, result.Next, name)
			require.Nil(t, result.Tail, name)
		}
	})
}

// The position is the first record at or past the timestamp, wherever in its block.
func TestRead_OfNothingFromATimestampNamesItsRecord(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		batch := records(0, 10, 1, 10)
		for i := range batch {
			batch[i].Timestamp = uint64(i + 1)
		}
		r.cluster.Append(s, false, batch)
		early := uint64(5)
		for name, limits := range map[string]frame.Limits{
			"count 0": {Bytes: frame.Unlimited},
			"bytes 0": {Count: frame.Unlimited},
			"until":   {Count: frame.Unlimited, Bytes: frame.Unlimited, Until: &early},
		} {
			for timestamp, want := range map[uint64]uint64{8: 7, 10: 9, 11: 10} {
				req := all(s.Name)
				req.Start, req.Limits = live.Start{Kind: live.AtTimestamp, Value: timestamp}, limits
				result, seqs, err := r.read(req)
				require.NoError(t, err, name)
				require.Empty(t, seqs, name)
				require.Equal(t, want, uint64(result.Next), name)
				require.Equal(t, stream.NewSeqID(1, stream.SeqNum(want), s.ID.Salt()), result.NextID, name)
				require.Equal(t, want == 10, result.Tail != nil, name)
				if limits.Until != nil {
					continue // a session at the tail waits for an earlier one
				}
				var ids []stream.SeqID
				one := r.session(req, func(o read.Output) error {
					ids = append(ids, o.NextID)
					return nil
				})
				<-one.done
				require.NoError(t, one.err, name)
				require.Equal(t, []stream.SeqID{result.NextID}, ids, name)
				require.Equal(t, want == 10, len(one.tails) > 0, name)
			}
		}
	})
}

func TestRead_StopsInsideABlock(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 5, 5)
		r.append(s, 5, 7)
		until := uint64(7)
		for name, limits := range map[string]frame.Limits{
			"count": {Count: 3, Bytes: frame.Unlimited},
			"until": {Count: frame.Unlimited, Bytes: frame.Unlimited, Until: &until},
		} {
			req := all(s.Name)
			req.Limits = limits
			result, seqs, err := r.read(req)
			require.NoError(t, err, name)
			require.Len(t, seqs, int(result.Next), name)
			require.NotEmpty(t, seqs, name)
		}
	})
}

func TestRead_RefusesAnIDOfAnotherStream(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 5)
		req := all(s.Name)
		id := stream.NewSeqID(5, 1, s.ID.Salt()^1)
		req.Start = live.Start{Kind: live.AtSeqID, SeqID: id, Value: 1}
		_, _, err := r.read(req)
		var foreign *read.ForeignIDError
		require.ErrorAs(t, err, &foreign)
		require.Equal(t, id, foreign.ID)
	})
}

func TestRead_WaitsForWhatIsMissing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 1, 5)
		go func() {
			for range 5 {
				time.Sleep(300 * time.Millisecond)
				r.append(s, 1, 5)
			}
		}()
		began := time.Now()
		req := all(s.Name)
		req.Wait = time.Second
		result, seqs, err := r.read(req)
		require.NoError(t, err)
		require.Equal(t, []uint64{0, 1, 2, 3}, seqs)
		require.Equal(t, time.Second, time.Since(began))
		require.EqualValues(t, 4, result.Tail.Next)

		req.Limits.Count = 5
		result, seqs, err = r.read(req)
		require.NoError(t, err)
		require.Len(t, seqs, 5)
		require.Less(t, time.Since(began), 1500*time.Millisecond, "a limit that is met ends waiting")
		require.EqualValues(t, 5, result.Next)
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func TestRead_ThatWaitsLeavesTheMemoryToOthers(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 5, 1)
		poll := all(s.Name)
		poll.Start, poll.Wait = at(5), time.Hour
		poll.Limits.Count = 1
		var polls sync.WaitGroup
		for range 10 {
			polls.Go(func() {
				_, seqs, err := r.read(poll)
				require.NoError(t, err)
				require.Equal(t, []uint64{5}, seqs)
			})
		}
		synctest.Wait()
		_, seqs, err := r.read(all(s.Name))
		require.NoError(t, err)
		require.Len(t, seqs, 5)
		r.append(s, 1, 1)
		polls.Wait()
	})
}

func TestRead_ThatWaitsPaysForWhatItHasGathered(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 5, 1)
		poll := all(s.Name)
		poll.Wait = time.Minute
		var polls sync.WaitGroup
		polls.Go(func() {
			_, seqs, err := r.read(poll)
			require.NoError(t, err)
			require.Len(t, seqs, 5)
		})
		synctest.Wait()
		_, _, err := r.read(all(s.Name))
		var overload *read.OverloadError
		require.ErrorAs(t, err, &overload)
		polls.Wait()
		_, _, err = r.read(all(s.Name))
		require.NoError(t, err)
	})
}

func TestRead_OneResponseHasAMebibyteAtMost(t *testing.T) {
	cluster := fake.New()
	r := newRig(t, cluster, defaultRig())
	defer r.close()
	s := cluster.Create(fake.Name(0))
	for n := range 10 {
		cluster.Append(s, true, records(2*n, 2, 1, 200_000))
	}
	req, total := all(s.Name), 0
	for {
		result, seqs, err := r.read(req)
		require.NoError(t, err)
		if result.Frame != nil {
			require.LessOrEqual(t, result.Frame.Size(), frame.MaxBytes)
			require.Len(t, seqs, 5)
		}
		total += len(seqs)
		req.Start = at(uint64(result.Next))
		if result.Tail != nil {
			break
		}
	}
	require.Equal(t, 20, total)
}

// What the owner no longer has in memory comes from footers, across owners.
func TestRead_OfRecordsThatNoOwnerRemembers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		for n := range 30 {
			r.append(s, 2, uint64(n))
			if n%10 == 9 {
				r.cluster.Takeover(fake.Shard(s.Name))
			}
		}
		_, seqs, err := r.read(all(s.Name))
		require.NoError(t, err)
		require.Len(t, seqs, 60)

		req := all(s.Name)
		req.Start = live.Start{Kind: live.AtTimestamp, Value: 17}
		_, seqs, err = r.read(req)
		require.NoError(t, err)
		require.EqualValues(t, 34, seqs[0])
		require.Len(t, seqs, 26)
	})
}

// What is trimmed while a read waits makes no hole in its answer.
func TestRead_EndsWhereRecordsWereTrimmedMeanwhile(t *testing.T) {
	inBubble(t, func(c *rigConfig) { c.live.RingBytes = 1 }, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 10, 1)
		req := all(s.Name)
		req.Wait = time.Minute
		type answer struct {
			result read.Result
			seqs   []uint64
			err    error
		}
		answers := make(chan answer)
		go func() {
			result, seqs, err := r.read(req)
			answers <- answer{result, seqs, err}
		}()
		time.Sleep(time.Second)
		for range 20 {
			r.append(s, 5, 2)
		}
		r.cluster.Trim(s, 60)
		got := <-answers
		require.NoError(t, got.err)
		require.GreaterOrEqual(t, len(got.seqs), 10)
		for i, seq := range got.seqs {
			require.EqualValues(t, i, seq)
		}
		require.EqualValues(t, len(got.seqs), got.result.Next)
	})
}
