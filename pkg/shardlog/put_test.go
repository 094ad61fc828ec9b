package shardlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// configured gives the script's writer another configuration, before it does anything.
func (s *script) configured(change func(*Config)) *script {
	cfg := s.w.cfg
	change(&cfg)
	s.w = New(cfg)
	return s
}

// answers keeps what is chosen from the store and answers it, or holds it if answer
// gives nil.
func (s *script) answers(chosen func(Action) bool, answer func(Action) Event) {
	s.held = nil
	s.hold = func(a Action) bool {
		if !chosen(a) {
			return false
		}
		e := answer(a)
		if e == nil {
			return true
		}
		s.events = append(s.events, e)
		return true
	}
}

func fails(a Action) Event { return PutDone{Op: a.(Put).Op, Outcome: Failed} }

func stays(Action) Event { return nil }

func TestPut_ThatFailsIsRepeatedEverLessOftenWhateverSucceedsBesideIt(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{}).configured(func(c *Config) { c.RetryDelay = 20 * time.Millisecond })
	s.own()
	s.answers(isPut("log/"), fails)
	s.append("a", "s", nil)
	for i := range 500 {
		s.step(Inspect{Tag: i, Name: stream.Name{Bucket: "bucket", Stream: "s"}, Prove: true}) // a HEAD that succeeds
		s.pass(20 * time.Millisecond)
	}
	require.Less(t, s.saw(isPut("log/")), 20, "puts in 10 s")
	s.hold = nil
	s.pass(2 * time.Second)
	require.Zero(t, s.acked("a").First)
}

func TestPut_OfALogThatTimesOutGoesAloneUntilOneLands(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{}).configured(func(c *Config) { c.Window = 4 })
	s.own()
	s.answers(isPut("log/"), stays)
	for i := range 6 {
		s.append(i, "s", nil)
		s.pass(10 * time.Millisecond)
	}
	require.Len(t, s.held, 4)
	timeOut := func() {
		held := s.held
		s.held = nil
		for _, a := range held {
			s.step(PutDone{Op: a.(Put).Op, Outcome: Failed, TimedOut: true})
		}
	}
	timeOut()
	for timeouts := 1; timeouts < 4; timeouts++ {
		s.pass(10 * time.Second) // long enough for all to be due, and to be hedged
		require.Len(t, s.held, 1, "puts under way")
		require.Equal(t, segment.SlotKey(stream.Incarnation{1}, 0), s.held[0].(Put).Key)
		require.Equal(t, timeouts, s.held[0].(Put).Timeouts)
		timeOut()
	}
	s.pass(10 * time.Second)
	for landed := 1; landed < 4; landed++ { // each that lands makes room for one more
		first := s.held[0]
		s.held = s.held[1:]
		s.act(first)
		s.step()
		s.pass(time.Millisecond)
		require.EqualValues(t, landed-1, s.acked(landed-1).First)
		require.Len(t, s.held, min(landed+1, 5-landed))
	}
	s.release()
	s.pass(time.Second)
	require.EqualValues(t, 5, s.acked(5).First)
}

func TestPut_ThatIsRepeatedIsHedgedLikeTheFirst(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.answers(isPut("log/"), stays)
	s.append("a", "s", nil)
	s.pass(leastHedgeDelay * 3 / 4)
	s.step(fails(s.held[0]))
	s.held = nil
	s.pass(leastHedgeDelay / 2)
	require.Len(t, s.held, 1, "the first attempt is over")
	s.pass(leastHedgeDelay)
	require.Len(t, s.held, 2)
	s.pass(10 * leastHedgeDelay)
	require.Len(t, s.held, 2, "once for each attempt")
	for _, a := range s.held {
		s.step(fails(a))
	}
	s.held = nil
	s.pass(2 * leastHedgeDelay)
	require.Len(t, s.held, 2)
	s.release()
	require.Zero(t, s.acked("a").First)
}

func TestPut_WhoseSlotIsTakenIsReadAgainRatherThanSentAgain(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.answers(isPut("log/"), func(a Action) Event { // it lands, and the reply is lost
		s.store[a.(Put).Key] = a.(Put).Body()
		return fails(a)
	})
	s.append("a", "s", nil)
	reads := 0
	s.answers(func(a Action) bool { _, ok := a.(Get); return ok }, func(a Action) Event {
		reads++
		if reads%2 == 0 {
			return GetDone{Op: a.(Get).Op, Outcome: Found, Body: []byte("garbled")}
		}
		return GetDone{Op: a.(Get).Op, Outcome: Failed}
	})
	s.pass(time.Second)
	require.NotContains(t, s.replies, "a")
	require.Greater(t, reads, 5)
	require.Equal(t, 2, s.saw(isPut("log/")))
	s.hold = nil
	s.pass(time.Second)
	require.Zero(t, s.acked("a").First)
	require.Equal(t, 2, s.saw(isPut("log/")))
}

func TestPut_WhoseSlotTurnsOutToBeFreeIsSentAgain(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	first := true
	s.answers(isPut("log/"), func(a Action) Event {
		if first { // a stale answer
			first = false
			return PutDone{Op: a.(Put).Op, Outcome: Exists}
		}
		s.act(a)
		return nil
	})
	s.append("a", "s", nil)
	s.pass(time.Second)
	require.Zero(t, s.acked("a").First)
}
