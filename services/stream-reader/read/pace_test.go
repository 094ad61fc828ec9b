package read_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// beating notes the longest time between two responses.
func beating(longest *time.Duration) func(read.Output) error {
	last := time.Now()
	return func(read.Output) error {
		*longest = max(*longest, time.Since(last))
		last = time.Now()
		return nil
	}
}

func TestSession_PausesAsLongAsItIsTold(t *testing.T) {
	for _, pause := range []time.Duration{100 * time.Millisecond, 25 * time.Second} { // of a pipeline, and between two
		t.Run(pause.String(), func(t *testing.T) {
			inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
				r.stored(s, 20)
				var longest time.Duration
				began, frames := time.Now(), 0
				req := all(s.Name)
				req.Heartbeats = true
				beats := beating(&longest)
				one := r.pacedSession(req, pause, func(o read.Output) error {
					if o.Frame != nil {
						require.Equal(t, time.Duration(frames)*pause, time.Since(began))
						frames++
					}
					return beats(o)
				})
				time.Sleep(time.Hour)
				one.end()
				check(t, s, one.records)
				require.Len(t, one.records, 100)
				require.Len(t, one.tails, 1)
				require.LessOrEqual(t, longest, 10*time.Second)
			})
		})
	}
}

func TestSession_ThatPausesLeavesItsMemoryToOthers(t *testing.T) {
	inBubble(t, tight, func(t *testing.T, r *rig, s *fake.Stream) {
		r.stored(s, 40)
		var paused []*session
		for range 20 {
			paused = append(paused, r.pacedSession(all(s.Name), time.Hour, nil))
		}
		synctest.Wait()
		r.readsAll(t, s)
		for _, one := range paused {
			one.end()
			check(t, s, one.records)
			require.NotEmpty(t, one.records)
		}
	})
}

func TestSession_PausesWhileItFollows(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig, s *fake.Stream) {
		var longest time.Duration
		req := all(s.Name)
		req.Heartbeats = true
		one := r.pacedSession(req, 25*time.Second, beating(&longest))
		for range 3 {
			time.Sleep(time.Second)
			r.append(s, 1, 1)
		}
		synctest.Wait()
		require.Len(t, one.records, 1)
		time.Sleep(26 * time.Second)
		synctest.Wait()
		require.Len(t, one.records, 3, "what has come meanwhile comes together")
		require.LessOrEqual(t, longest, 10*time.Second)

		r.service.Stop()
		<-one.done
		require.ErrorIs(t, one.err, read.ErrStopping, "it does not finish its pause")
	})
}

func TestSession_BeatsWhileItWaitsForMemory(t *testing.T) {
	inBubble(t, func(c *rigConfig) {
		tight(c)
		c.read.CatchUpWait = 25 * time.Second
	}, func(t *testing.T, r *rig, s *fake.Stream) {
		r.stored(s, 60)
		holder := r.session(all(s.Name), func(read.Output) error { // takes too little to give way
			time.Sleep(900 * time.Millisecond)
			return nil
		})
		synctest.Wait()
		began := time.Now()
		req := all(s.Name)
		req.Heartbeats = true
		one := r.session(req, nil)
		<-one.done
		var overload *read.OverloadError
		require.ErrorAs(t, one.err, &overload)
		require.Equal(t, 25*time.Second, time.Since(began))
		require.Equal(t, 2, one.beats)
		holder.end()
	})
}
