package shardlog

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

func (s *script) saw(is func(Action) bool) (n int) {
	for _, a := range s.seen {
		if is(a) {
			n++
		}
	}
	return n
}

func isOwned(a Action) bool { _, ok := a.(Owned); return ok }

func isLost(a Action) bool { _, ok := a.(Lost); return ok }

func TestRoll_KeepsSessionsWholeAndEndsTheLogItself(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.own()
	session := &Session{}
	s.append("first", "s", session)
	s.hold = isPut("log/")
	s.append("in flight", "s", session)
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	require.True(t, s.node.Rolling())
	s.append("waits", "s", session)
	require.NotContains(t, s.replies, "waits")
	s.release()
	s.pass(100 * time.Millisecond)
	for i, tag := range []string{"first", "in flight", "waits"} {
		require.EqualValues(t, i, s.acked(tag).First)
	}
	s.pass(5 * time.Second)
	require.False(t, s.node.Rolling())
	require.True(t, sealed(store, 1))
	require.Equal(t, 1, s.saw(func(a Action) bool { d, ok := a.(Died); return ok && d.Retired && d.Log == stream.Incarnation{1} }))
	require.Equal(t, 1, s.saw(isLost))
	require.Equal(t, 2, s.saw(isOwned))
	s.append("later", "s", session)
	require.EqualValues(t, 3, s.acked("later").First)
	require.False(t, sealed(store, 9))
}

func TestRoll_TakesLookupsAlong(t *testing.T) {
	s := newNodeScript(t, 1, map[string][]byte{})
	s.own()
	s.append("a", "s", nil)
	s.hold = func(a Action) bool { _, ok := a.(Lookup); return ok }
	s.append("b", "unknown", nil)
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	s.pass(time.Second)
	s.release()
	s.pass(time.Second)
	require.Zero(t, s.acked("b").First)
	require.Equal(t, stream.Incarnation{9}, s.node.current.cfg.Incarnation)
}

func TestRoll_IsIgnoredWhileOneIsUnderWayAndOnAnEmptyLog(t *testing.T) {
	s := newNodeScript(t, 1, map[string][]byte{})
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	require.False(t, s.node.Rolling())
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("chain/")
	s.step(Roll{Incarnation: stream.Incarnation{8}}, Roll{Incarnation: stream.Incarnation{7}})
	require.True(t, s.node.Rolling())
	require.Equal(t, stream.Incarnation{8}, s.node.current.cfg.Incarnation)
}

func TestRoll_IsGivenUpWhenTheNewIncarnationEndsAndTheOldOneGoesOn(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("chain/") // the new one has yet to take the shard
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	s.append("b", "s", nil)
	s.node.deliver(s.node.current, Stop{}) // the new one alone
	s.step(Tick{})
	require.False(t, s.node.Rolling())
	require.ErrorIs(t, s.refused("b"), ErrDied)
	s.held, s.hold = nil, nil
	s.pass(3 * time.Second) // the old one takes the shard back
	s.append("c", "s", nil)
	require.EqualValues(t, 1, s.acked("c").First)
	require.False(t, sealed(store, 1))
}

func TestSession_WaitsForItsAppendsInAnotherIncarnation(t *testing.T) {
	store := map[string][]byte{}
	s, rival := newNodeScript(t, 1, store), newScript(t, 2, store)
	s.own()
	session := &Session{}
	s.append("before", "s", session)
	s.hold = isPut("log/")
	s.append("lost", "s", session) // never reaches the store
	rival.own()
	rival.append("rival's", "s", nil)
	s.owner = ask(rival)
	s.step(Roll{Incarnation: stream.Incarnation{9}}) // gets the shard from the rival
	s.held = nil
	s.hold = isPut("log/01")
	s.pass(100 * time.Millisecond)
	require.Equal(t, stream.Incarnation{9}, s.node.current.shards[0].entry.Owner)
	s.node.old.shards[0].status = handed // requests go to the new incarnation
	s.append("after", "s", session)
	require.ErrorAs(t, s.refused("after"), new(*NotOwnerError), "the one before it may yet fail")
	s.append("another's", "s", nil)
	require.EqualValues(t, 2, s.acked("another's").First)
}

func TestRoll_KeepsOrderHoweverLongTheChainEntryTakes(t *testing.T) {
	s := newNodeScript(t, 1, map[string][]byte{})
	s.own()
	session := &Session{}
	s.append("a", "s", session)
	s.hold = isPut("chain/")
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	s.append("b", "s", session)
	s.pass(3 * time.Second) // longer than an owner waits for a successor
	s.append("c", "s", session)
	slices.Reverse(s.held) // a rival entry would come first
	s.release()
	s.pass(3 * time.Second)
	for i, tag := range []string{"a", "b", "c"} {
		require.EqualValues(t, i, s.acked(tag).First)
	}
}

func TestRetire_WaitsForWhatTheIncarnationHolds(t *testing.T) {
	store := map[string][]byte{}
	s := newScript(t, 1, store)
	s.own()
	s.w.retire()
	s.append("a", "s", nil)
	s.acked("a")
	s.hold = isPut("log/")
	s.step(HandOver{Tag: "hand over", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
	require.False(t, sealed(store, 1))
	s.release()
	require.NoError(t, s.replies["hand over"].Err)
	require.True(t, sealed(store, 1))
	s.step(Take{Tag: "take"})
	require.ErrorIs(t, s.refused("take"), ErrDied)
}

func TestRoll_IsIgnoredByANodeThatRetires(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("log/")
	s.append("b", "s", nil)
	s.step(Retire{})
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	require.False(t, s.node.Rolling())
	s.release()
	s.pass(time.Second)
	s.acked("b")
	require.False(t, s.node.Alive())
	require.True(t, sealed(store, 1))
}

func TestRoll_GoesOnWithOtherShardsWhenOneCanNotBeMoved(t *testing.T) {
	s := newNodeScript(t, 1, map[string][]byte{})
	cfg := s.w.cfg
	cfg.Shards = 3
	s.node = NewNode(cfg)
	s.w = s.node.current
	for id := range stream.Shard(3) {
		s.step(Take{Tag: id, Shard: id})
	}
	s.append("a", "s", nil)
	next := segment.ChainKey(0, 1)
	s.store[next] = []byte("damaged")
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	s.pass(10 * time.Second)
	require.Len(t, s.node.current.shards, 2)
	require.Equal(t, owned, s.node.old.shards[0].status)
	tries := s.saw(func(a Action) bool { g, ok := a.(Get); return ok && g.Key == next })
	require.Less(t, tries, 40*decodeTries, "in 10 s")
	delete(s.store, next)
	s.pass(2 * time.Second)
	require.Len(t, s.node.current.shards, 3)
	require.False(t, s.node.Rolling())
}
