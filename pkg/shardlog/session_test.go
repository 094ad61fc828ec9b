package shardlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestSession_FailsWithABatchThatTheEndOfTheLogCaught(t *testing.T) {
	store := map[string][]byte{}
	first := newScript(t, 1, store)
	first.own()
	session := &Session{}
	first.hold = isPut("log/")
	first.append("a", "s", session)
	first.step(Stop{})
	require.ErrorIs(t, first.refused("a"), ErrOutcomeUnknown)

	next := newScript(t, 2, store) // in the same process, for the same session
	next.own()
	next.append("b", "s", session)
	require.ErrorIs(t, next.refused("b"), ErrSessionFailed)
}

func TestSession_FailsWithABatchThatWaitedForATakeoverInVain(t *testing.T) {
	store := map[string][]byte{segment.ChainKey(0, 0): []byte("damaged")}
	s := newScript(t, 1, store)
	session := &Session{}
	s.hold = func(a Action) bool { _, ok := a.(Get); return ok }
	s.step(Take{Tag: "take"})
	s.append("a", "s", session)
	s.release()
	s.pass(time.Second)
	require.ErrorIs(t, s.refused("take"), ErrDamaged)
	require.ErrorIs(t, s.refused("a"), ErrDamaged)

	delete(store, segment.ChainKey(0, 0)) // as if it had been the network
	s.own()
	s.append("b", "s", session)
	require.ErrorIs(t, s.refused("b"), ErrSessionFailed)
}

func TestStop_LeavesNothingUnknownThatWasNeverPut(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.hold = func(a Action) bool { _, isLookup := a.(Lookup); return isLookup || isPut("log/")(a) }
	s.append("looked up", "other", nil)
	s.w.shards[0].learn(stream.Name{Bucket: "bucket", Stream: "s"}, s.row("s"))
	for _, tag := range []string{"put", "gathered"} {
		s.append(tag, "s", nil)
	}
	s.step(Stop{})
	require.ErrorIs(t, s.refused("put"), ErrOutcomeUnknown)
	require.ErrorIs(t, s.refused("gathered"), ErrDied)
	require.ErrorIs(t, s.refused("looked up"), ErrDied)
}

func TestSession_FailsWithARefusalThatIsStillToBeProved(t *testing.T) {
	s := newScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	session, wrong := &Session{}, stream.SeqNum(7)
	bad := record("bad", "s", session)
	bad.MatchSeqNum = &wrong
	s.hold = func(a Action) bool { _, ok := a.(Head); return ok }
	s.step(bad)
	s.append("late", "s", session)
	require.ErrorIs(t, s.refused("late"), ErrSessionFailed)
	s.release()
	require.ErrorAs(t, s.refused("bad"), new(*ConditionError))
}
