package read_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/logindex"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// inBubble runs a test with a fresh rig and a stream, in synthetic time.
func inBubble(t *testing.T, change func(*rigConfig), test func(t *testing.T, r *rig, s *fake.Stream)) {
	synctest.Test(t, func(t *testing.T) {
		c := defaultRig()
		if change != nil {
			change(&c)
		}
		cluster := fake.New()
		r := newRig(t, cluster, c)
		defer r.close()
		test(t, r, cluster.Create(fake.Name(0)))
	})
}

func TestSession_StartsAtTheTailAndFollows(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 3, 1)
		req := all(s.Name)
		req.Start = live.Start{Kind: live.AtTailOffset}
		one := r.session(req, nil)
		time.Sleep(tick)
		synctest.Wait()
		require.Equal(t, []live.Tail{{Next: 3, LastTimestamp: 1, LastIDMillis: 1}}, one.tails)

		r.append(s, 2, 2)
		synctest.Wait()

		one.end()
		check(t, s, one.records)
		require.Len(t, one.records, 2)
		require.Len(t, one.tails, 1, "caught up is said once")
	})
}

func TestSession_SaysCaughtUpOnceAfterStoredRecords(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		for range 10 {
			r.append(s, 3, 1)
		}
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		one.end()

		require.Len(t, one.records, 30)
		require.Len(t, one.tails, 1)
	})
}

func TestSession_SharesOneFollower(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 1, 1)
		var sessions []*session
		for range 50 {
			sessions = append(sessions, r.session(all(s.Name), nil))
		}
		time.Sleep(time.Second)
		require.Equal(t, 1, r.cluster.Bus.Subscriptions())
		asked := r.cluster.Asked()
		for range 20 {
			r.append(s, 2, 1)
			time.Sleep(10 * time.Millisecond)
		}
		for _, one := range sessions {
			one.end()
			require.Len(t, one.records, 41)
		}
		require.Equal(t, asked, r.cluster.Asked(), "notifications alone bring live records")
		require.Zero(t, r.cluster.Bus.Subscriptions(), "the last session out ends the subscription")
	})
}

func TestSession_LiveWhileNATSIsSilent(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.cluster.Bus.SetFaults(fake.Faults{Silent: true})
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.append(s, 2, 1)
		time.Sleep(400 * time.Millisecond)
		one.end()
		require.Len(t, one.records, 2)
	})
}

func TestSession_RepairsALostNotificationByTheNextBeacon(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.cluster.Append(s, true, records(0, 2, 1, 1))
		time.Sleep(150 * time.Millisecond)
		one.end()
		require.Len(t, one.records, 2)
	})
}

func TestSession_SeesWhatAnOwnerMadeDurableBeforeItDied(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.cluster.Append(s, true, records(0, 2, 1, 1))
		r.cluster.Takeover(fake.Shard(s.Name))
		time.Sleep(150 * time.Millisecond)
		one.end()
		require.Len(t, one.records, 2)
	})
}

func TestSession_BeatsWhileThereIsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		req := all(s.Name)
		req.Heartbeats = true
		one := r.session(req, nil)
		silent := r.session(all(s.Name), nil)
		time.Sleep(61 * time.Second)
		one.end()
		silent.end()
		require.Equal(t, 6, one.beats)
		require.Zero(t, silent.beats)
	})
}

func TestSession_EndsAfterWaitWithoutARecord(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		req := all(s.Name)
		req.Wait = time.Second
		one := r.session(req, nil)
		began := time.Now()
		time.Sleep(600 * time.Millisecond)
		r.append(s, 1, 1)
		<-one.done
		require.NoError(t, one.err)
		require.Len(t, one.records, 1)
		require.Equal(t, 1600*time.Millisecond, time.Since(began))
	})
}

func TestSession_EndsWithADeletedStream(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		pending := errors.New("deletion pending")
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.cluster.Delete(s, pending)
		<-one.done
		require.ErrorIs(t, one.err, pending)
	})
}

func TestSession_EndsWithADeletedStreamThatNobodyAnnounced(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		pending := errors.New("deletion pending")
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.cluster.Bus.SetFaults(fake.Faults{Drop: 1})
		r.cluster.Delete(s, pending)
		<-one.done
		require.ErrorIs(t, one.err, pending)
	})
}

func TestSession_EndsWhenItsNameGoesToAnotherStream(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 1, 1)
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		again := r.cluster.Create(s.Name)
		r.append(again, 5, 1)
		<-one.done
		require.ErrorIs(t, one.err, live.ErrReplaced)
		require.Len(t, one.records, 1)
	})
}

func TestSession_EndsWhenTheReaderStops(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.service.Stop()
		<-one.done
		require.ErrorIs(t, one.err, read.ErrStopping)
		_, err := r.service.Read(t.Context(), all(s.Name))
		require.ErrorIs(t, err, read.ErrStopping)
	})
}

func TestSession_MoreThanAllowedAreRefused(t *testing.T) {
	inBubble(t, func(c *rigConfig) { c.read.MaxSessions = 2 }, func(t *testing.T, r *rig, s *fake.Stream) {
		a, b := r.session(all(s.Name), nil), r.session(all(s.Name), nil)
		time.Sleep(tick)
		third := r.session(all(s.Name), nil)
		<-third.done
		var overload *read.OverloadError
		require.ErrorAs(t, third.err, &overload)
		a.end()
		b.end()
	})
}

// The owner dies before it announced a block, which is then damaged in the store:
// whoever waits for it is told, and what comes behind it goes on.
func TestSession_EndsAtADamagedBlockThatWasNotAnnounced(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.cluster.InlineBytes = 0
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.append(s, 3, 1)
		synctest.Wait()
		r.cluster.Append(s, true, records(3, 2, 1, 1))
		key, offset := r.cluster.Damage(s)
		r.cluster.Takeover(fake.Shard(s.Name))
		<-one.done
		var damage *logindex.DamageError
		require.ErrorAs(t, one.err, &damage)
		require.Equal(t, key, damage.Key)
		require.Equal(t, offset, damage.Offset)
		require.Len(t, one.records, 3)

		req := all(s.Name)
		req.Start = at(5)
		behind := r.session(req, nil)
		time.Sleep(time.Second)
		r.append(s, 2, 1)
		time.Sleep(time.Second)
		behind.end()
		require.Len(t, behind.records, 2)
	})
}

func TestSession_FollowersOfADamagedBlockThatIsInTheirWayGoOnBehindIt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.cluster.InlineBytes = 0
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		synctest.Wait() // the beacon of this instant comes before the block
		r.cluster.Append(s, true, records(0, 2, 1, 1))
		r.cluster.Damage(s)
		req := all(s.Name)
		req.Start = at(2)
		behind := r.session(req, nil) // shares the follower that stands before the block
		time.Sleep(time.Second)
		r.append(s, 2, 1)
		time.Sleep(time.Second)
		<-one.done
		require.Error(t, one.err)
		behind.end()
		require.Len(t, behind.records, 2)
	})
}

func TestSession_EndsWhenTheOwnerRefusesToServeDamage(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		one := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		refused := &live.RefusedError{Err: errors.New("a slot is missing")}
		r.cluster.Refuse(s, refused)
		<-one.done
		require.ErrorIs(t, one.err, refused)
	})
}

// A slow client holds up nobody, loses nothing, and finds its way back.
func TestSession_ThatIsSlowCatchesUpFromBlocks(t *testing.T) {
	inBubble(t, func(c *rigConfig) { c.live.RingBytes = 2000 }, func(t *testing.T, r *rig, s *fake.Stream) {
		slow := r.session(all(s.Name), func(read.Output) error {
			time.Sleep(3 * time.Second)
			return nil
		})
		fast := r.session(all(s.Name), nil)
		for range 300 {
			r.append(s, 5, 1)
			time.Sleep(20 * time.Millisecond)
		}
		synctest.Wait()
		require.Len(t, fast.records, 1500)
		time.Sleep(time.Minute)
		slow.end()
		fast.end()
		check(t, s, slow.records)
		require.Len(t, slow.records, 1500)
		require.Greater(t, len(slow.tails), 1, "it says so each time it has caught up")
	})
}

func TestSession_EndsAtItsLimits(t *testing.T) {
	until := uint64(7)
	for name, c := range map[string]struct {
		limits frame.Limits
		want   int
	}{
		"count":                   {frame.Limits{Count: 4, Bytes: frame.Unlimited, Wire: frame.Unlimited}, 4},
		"count of nothing":        {frame.Limits{Count: 0, Bytes: frame.Unlimited, Wire: frame.Unlimited}, 0},
		"bytes of three and some": {frame.Limits{Count: frame.Unlimited, Bytes: 3*20 + 19, Wire: frame.Unlimited}, 3},
		"bytes below the first":   {frame.Limits{Count: frame.Unlimited, Bytes: 1, Wire: frame.Unlimited}, 1},
		"no bytes":                {frame.Limits{Count: frame.Unlimited, Bytes: 0, Wire: frame.Unlimited}, 0},
		"until":                   {frame.Limits{Count: frame.Unlimited, Bytes: frame.Unlimited, Wire: frame.Unlimited, Until: &until}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
				for n := range 3 { // stored
					r.append(s, 1, uint64(n+1))
				}
				req := all(s.Name)
				req.Limits = c.limits
				one := r.session(req, nil)
				for n := 3; n < 10; n++ { // live
					time.Sleep(tick)
					r.append(s, 1, uint64(n+1))
				}
				<-one.done
				require.NoError(t, one.err)
				require.Len(t, one.records, c.want)
				check(t, s, one.records)
			})
		})
	}
}

func TestSession_StartsAtATimestampThatIsStillToCome(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 2, 10)
		req := all(s.Name)
		req.Start = live.Start{Kind: live.AtTimestamp, Value: 100}
		one := r.session(req, nil)
		time.Sleep(tick)
		r.append(s, 2, 50)
		r.append(s, 2, 100)
		time.Sleep(tick)
		one.end()
		require.Len(t, one.records, 2)
		require.EqualValues(t, 4, one.records[0].SeqNum)
	})
}

func TestSession_JumpsToWhatIsKept(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		r.append(s, 10, 1)
		r.cluster.Trim(s, 6)
		one := r.session(all(s.Name), nil)
		time.Sleep(tick)
		one.end()
		require.Len(t, one.records, 4)
		require.EqualValues(t, 6, one.records[0].SeqNum)
	})
}

// All that a session lacked is trimmed away while it catches up.
func TestSession_SkipsWhatIsTrimmedBehindItsBack(t *testing.T) {
	inBubble(t, func(c *rigConfig) { c.live.RingBytes = 1 }, func(t *testing.T, r *rig, s *fake.Stream) {
		slow := r.session(all(s.Name), func(read.Output) error {
			time.Sleep(time.Second)
			return nil
		})
		for range 20 {
			r.append(s, 5, 1)
			time.Sleep(20 * time.Millisecond)
		}
		r.cluster.Trim(s, 100)
		time.Sleep(time.Minute)
		r.append(s, 1, 1)
		time.Sleep(time.Minute)
		slow.end()
		check(t, s, slow.records)
		require.EqualValues(t, 100, slow.records[len(slow.records)-1].SeqNum)
	})
}

// Of the block that the trim point lies in, what is before it is left out, too.
func TestSession_GoesOnAtTheTrimPointWithinABlock(t *testing.T) {
	config := defaultRig()
	config.read.CatchUpBytes = 4 << 20 // so that little is fetched in advance
	r := newRig(t, fake.New(), config)
	defer r.close()
	s := r.cluster.Create(fake.Name(0))
	const count, trim = 120, 101
	for n := 0; n < count; n += 2 {
		r.cluster.Append(s, true, []fake.Record{{Timestamp: 1, IDMillis: 1, Body: noise(100_000, n)}, {Timestamp: 1, IDMillis: 1, Body: noise(100_000, n+1)}})
	}
	finished := make(chan struct{})
	session := r.session(all(s.Name), func(o read.Output) error {
		r.cluster.Trim(s, trim)
		if o.Frame != nil && o.Frame.Next == count {
			close(finished)
		}
		return nil
	})
	<-finished
	session.end()
	check(t, s, session.records)
	require.Less(t, session.records[0].SeqNum, uint64(trim))
	require.Less(t, len(session.records), count, "some were trimmed before they were fetched")
}

// What one session has read stands in memory: of another's bytes the owner sends those
// of the first window alone, before it is known that they are here.
func TestSession_HasNoBytesSentThatAreInMemory(t *testing.T) {
	cluster := fake.New()
	cluster.InlineBytes = 1 << 20
	r := newRig(t, cluster, defaultRig())
	defer r.close()
	s := cluster.Create(fake.Name(0))
	const slots, slotBytes = 100, 100_000
	grow := func() {
		for n := range slots {
			cluster.Append(s, true, []fake.Record{{Timestamp: 1, IDMillis: 1, Body: noise(slotBytes, n)}})
		}
	}
	carried := func() int {
		before := cluster.Carried()
		request := all(s.Name)
		request.Limits.Count = uint64(cluster.Len(s))
		one := r.session(request, nil)
		<-one.done
		require.NoError(t, one.err)
		require.Len(t, one.records, int(cluster.Len(s)))
		check(t, s, one.records)
		return cluster.Carried() - before
	}
	grow()
	require.GreaterOrEqual(t, carried(), slots*slotBytes)
	require.Less(t, carried(), slots*slotBytes/4)
	grow()
	require.GreaterOrEqual(t, carried(), slots*slotBytes, "what nobody has read comes along again")
}

// What a stalled session costs is a few responses, whether it follows or catches up.
func TestSession_CutsLiveResponsesAsStoredOnes(t *testing.T) {
	config := defaultRig()
	cluster := fake.New()
	r := newRig(t, cluster, config)
	defer r.close()
	s := cluster.Create(fake.Name(0))
	const batches, perBatch = 3, 20
	request := all(s.Name)
	request.Limits.Count = batches * perBatch
	most, caughtUp := 0, make(chan struct{})
	one := r.session(request, func(o read.Output) error {
		if o.Tail != nil {
			close(caughtUp)
		}
		if o.Frame != nil {
			most = max(most, o.Frame.Size())
		}
		return nil
	})
	<-caughtUp
	for range batches {
		r.cluster.Append(s, false, records(int(cluster.Len(s)), perBatch, 1, 50_000))
	}
	<-one.done
	require.NoError(t, one.err)
	require.Len(t, one.records, batches*perBatch)
	check(t, s, one.records)
	require.LessOrEqual(t, most, config.read.FrameBytes)
}

// noise is a body that does not compress.
func noise(size, seed int) []byte {
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}
