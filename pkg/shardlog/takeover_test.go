package shardlog

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// ask has an AskOwner reach another script's writer, which answers or refuses.
func ask(owner *script) func(AskOwner) AskDone {
	return func(a AskOwner) AskDone {
		tag := &struct{ AskOwner }{a}
		owner.step(HandOver{Tag: tag, Shard: a.Entry.Shard, Epoch: a.Entry.Epoch, Incarnation: a.Entry.Owner})
		r, answered := owner.replies[tag]
		if !answered || r.Err != nil {
			return AskDone{Answer: OwnerGone}
		}
		return AskDone{Answer: OwnerHandedOver, End: r.End}
	}
}

func sealed(store map[string][]byte, log byte) bool {
	for key, body := range store {
		t, err := segment.DecodeTrailer(body[max(0, len(body)-segment.TrailerSize):])
		if err == nil && t.Kind == segment.KindSeal && strings.HasPrefix(key, "log/"+stream.Incarnation{log}.String()) {
			return true
		}
	}
	return false
}

func TestHandOver_IsAnsweredAgainWhileTheOwnerTakesTheShardBack(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	epoch := owner.w.shards[0].entry.Epoch
	owner.step(HandOver{Tag: "first", Shard: 0, Epoch: epoch, Incarnation: stream.Incarnation{1}})
	owner.hold = isPut("chain/")
	owner.pass(2 * time.Second) // nobody came
	require.Equal(t, taking, owner.w.shards[0].status)

	owner.step(HandOver{Tag: "again", Shard: 0, Epoch: epoch, Incarnation: stream.Incarnation{1}})
	require.NoError(t, owner.replies["again"].Err)
	require.Equal(t, owner.replies["first"].End, owner.replies["again"].End)

	rival.owner = ask(owner)
	rival.own()
	require.False(t, sealed(store, 1))
}

func TestHandOver_WaitsForAChainEntryThatIsOnItsWay(t *testing.T) {
	owner := newScript(t, 1, map[string][]byte{})
	owner.hold = isPut("chain/")
	owner.step(Take{Tag: "take"})
	owner.step(HandOver{Tag: "hand over", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
	require.NotContains(t, owner.replies, "hand over")
	owner.release()
	require.NoError(t, owner.replies["hand over"].Err)
	require.NotZero(t, owner.replies["hand over"].End)
}

func TestTake_SealsNoOwnerThatTookTheShardAgainMeanwhile(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	rival.owner = func(a AskOwner) AskDone { // asked too late: the owner has a newer epoch
		if a.Entry.Epoch == 0 {
			owner.step(HandOver{Tag: "lost", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
			owner.pass(2 * time.Second)
		}
		return ask(owner)(a)
	}
	rival.own()
	require.EqualValues(t, 2, rival.w.shards[0].entry.Epoch)
	require.False(t, sealed(store, 1), "a healthy writer lost its log")
}

func TestReclaim_GoesOnAfterDamageOnTheWay(t *testing.T) {
	store := map[string][]byte{}
	s := newScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.step(HandOver{Tag: "lost", Shard: 0, Epoch: 0, Incarnation: stream.Incarnation{1}})
	last := segment.SlotKey(stream.Incarnation{1}, s.replies["lost"].End-1)
	good := store[last]
	store[last] = []byte("damaged")
	s.pass(1500 * time.Millisecond)
	require.NotEqual(t, owned, s.w.shards[0].status)
	store[last] = good
	s.pass(2 * time.Second)
	require.Equal(t, owned, s.w.shards[0].status)
	s.append("b", "s", nil)
	require.EqualValues(t, 1, s.acked("b").First)
}

func TestTake_ThatIsNeededDoesNotWaitForOneThatIsPlanned(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	rival.hold = func(a Action) bool { ask, ok := a.(AskOwner); return ok && ask.Planned }
	rival.step(Take{Tag: "planned", Planned: true})
	require.Len(t, rival.held, 1)
	rival.step(Take{Tag: "needed"})
	require.NoError(t, rival.replies["needed"].Err)
	require.Equal(t, stream.Incarnation{2}, rival.replies["needed"].Head.Owner)
	require.Equal(t, stream.Incarnation{2}, rival.replies["planned"].Head.Owner)
	rival.step(AskDone{Op: rival.held[0].(AskOwner).Op, Answer: OwnerKeeps}) // too late
	rival.append("a", "s", nil)
	require.Zero(t, rival.acked("a").First)
}

func TestTake_SealsNobodyAfterItsOwnLogWasSealed(t *testing.T) {
	store := map[string][]byte{}
	zombie, owner := newScript(t, 1, store), newScript(t, 2, store)
	zombie.own()
	owner.own() // while the first one was paused
	require.True(t, sealed(store, 1))
	zombie.w.dropShard(zombie.w.shards[0]) // one of many shards: it asks for another one
	zombie.step(Take{Tag: "take"})
	require.ErrorIs(t, zombie.refused("take"), ErrDied)
	require.False(t, sealed(store, 2), "a healthy writer lost its log")
	_, ok := store[segment.ChainKey(0, 2)]
	require.False(t, ok)
}

func TestTake_RefusesALogWhoseEndCannotBeTold(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	owner.append("a", "s", nil)
	slot := segment.SlotKey(stream.Incarnation{1}, 0)
	good := store[slot]
	store[slot] = []byte("damaged")
	rival.step(Take{Tag: "take"})
	rival.append("parked", "s", nil)
	rival.pass(10 * time.Second)
	require.ErrorIs(t, rival.refused("take"), ErrDamaged)
	require.ErrorContains(t, rival.refused("take"), slot)
	require.ErrorIs(t, rival.refused("parked"), ErrDamaged)
	store[slot] = good
	rival.own()
	rival.append("b", "s", nil)
	require.EqualValues(t, 1, rival.acked("b").First)
}

func isAsk(a Action) bool { _, ok := a.(AskOwner); return ok }

// handedOver is an owner that has let its shard go, and a rival that has asked for it
// whose chain entry is held back.
func handedOver(t *testing.T) (owner, rival *script) {
	store := map[string][]byte{}
	owner, rival = newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	rival.owner = ask(owner)
	rival.hold = isPut("chain/")
	rival.step(Take{Tag: "take"})
	require.Len(t, rival.held, 1)
	return owner, rival
}

func TestReclaim_LeavesTheShardToASuccessorWhoseEntryLandsMeanwhile(t *testing.T) {
	owner, rival := handedOver(t)
	looks := 0
	owner.hold = func(a Action) bool {
		g, ok := a.(Get)
		if ok && g.Key == segment.ChainKey(0, 1) {
			if looks++; looks == 2 { // it has seen that nobody took the shard
				rival.release()
			}
		}
		return false
	}
	owner.pass(2 * time.Second)
	require.Equal(t, 2, looks)
	require.Zero(t, owner.saw(isAsk))
	require.Equal(t, owned, rival.w.shards[0].status)
	require.False(t, sealed(owner.store, 2))
	owner.append("a", "s", nil)
	require.ErrorContains(t, owner.refused("a"), `owned by c`)
}

func TestReclaim_LeavesTheShardToASuccessorWhoseEntryComesFirst(t *testing.T) {
	owner, rival := handedOver(t)
	owner.hold = isPut("chain/")
	owner.pass(2 * time.Second)
	require.Len(t, owner.held, 1)
	rival.release()
	owner.release()
	require.Zero(t, owner.saw(isAsk))
	require.Equal(t, owned, rival.w.shards[0].status)
	require.NotContains(t, owner.w.shards, stream.Shard(0))
	require.False(t, sealed(owner.store, 2))
}

func TestReclaim_GoesOnAsATakeIfSomebodyAsksForTheShardMeanwhile(t *testing.T) {
	owner, rival := handedOver(t)
	owner.hold = func(a Action) bool { g, ok := a.(Get); return ok && g.Key == segment.ChainKey(0, 1) }
	owner.pass(1500 * time.Millisecond)
	owner.act(owner.held[0]) // nobody has taken the shard; it looks again
	owner.held = nil
	owner.step(Take{Tag: "take"})
	rival.release() // and dies
	owner.release()
	owner.pass(time.Second)
	require.NoError(t, owner.replies["take"].Err)
	require.Equal(t, stream.Incarnation{1}, owner.replies["take"].Head.Owner)
	require.True(t, sealed(owner.store, 2))
}

func TestTake_FollowsARivalThatWasFaster(t *testing.T) {
	store := map[string][]byte{}
	first, second := newScript(t, 1, store), newScript(t, 2, store)
	second.hold = isPut("chain/")
	second.step(Take{Tag: "take"})
	first.own()
	second.release()
	require.Equal(t, stream.Incarnation{1}, second.replies["take"].Head.Owner)
	require.Zero(t, second.saw(isAsk))
	require.False(t, sealed(store, 1))
}

func TestTake_HeedsAHandOverInAnswerToAnEarlierQuestion(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	owner.append("a", "s", nil)
	rival.hold = isAsk
	rival.step(Take{Tag: "planned", Planned: true})
	rival.step(Take{Tag: "needed"})
	require.Len(t, rival.held, 2)
	planned, needed := rival.held[0].(AskOwner), rival.held[1].(AskOwner)
	rival.held = nil
	rival.hold = func(a Action) bool { _, ok := a.(Head); return ok } // the proof before sealing takes long
	rival.step(AskDone{Op: needed.Op, Answer: OwnerGone})
	require.Len(t, rival.held, 1)
	answer := ask(owner)(planned)
	answer.Op = planned.Op
	rival.step(answer)
	require.Equal(t, stream.Incarnation{2}, rival.replies["planned"].Head.Owner)
	require.Equal(t, stream.Incarnation{2}, rival.replies["needed"].Head.Owner)
	rival.release()
	rival.pass(time.Second)
	require.False(t, sealed(store, 1))
	rival.append("b", "s", nil)
	require.EqualValues(t, 1, rival.acked("b").First)
}

func TestTake_IgnoresAHandOverOnceItSeals(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	rival.hold = isAsk
	rival.step(Take{Tag: "planned", Planned: true})
	rival.step(Take{Tag: "needed"})
	planned, needed := rival.held[0].(AskOwner), rival.held[1].(AskOwner)
	rival.held = nil
	rival.hold = isPut("log/01")
	rival.step(AskDone{Op: needed.Op, Answer: OwnerGone})
	require.NotEmpty(t, rival.held)
	rival.step(AskDone{Op: planned.Op, Answer: OwnerHandedOver, End: 1})
	require.NotContains(t, rival.replies, "needed")
	rival.release()
	require.True(t, sealed(store, 1))
	require.Equal(t, stream.Incarnation{2}, rival.replies["needed"].Head.Owner)
	rival.append("a", "s", nil)
	require.Zero(t, rival.acked("a").First)
}

func TestTake_IgnoresAHandOverOfAnEpochThatIsOver(t *testing.T) {
	store := map[string][]byte{}
	owner, rival := newScript(t, 1, store), newScript(t, 2, store)
	owner.own()
	rival.hold = isAsk
	rival.step(Take{Tag: "planned", Planned: true})
	rival.step(Take{Tag: "needed"})
	planned, needed := rival.held[0].(AskOwner), rival.held[1].(AskOwner)
	late := ask(owner)(planned)
	late.Op = planned.Op
	owner.pass(2 * time.Second) // it takes the shard back
	owner.append("a", "s", nil)
	owner.acked("a")
	rival.step(AskDone{Op: needed.Op, Answer: OwnerGone})
	require.EqualValues(t, 1, rival.held[2].(AskOwner).Entry.Epoch)
	rival.step(late)
	require.NotContains(t, rival.replies, "needed")
	rival.owner = ask(owner)
	rival.release()
	require.EqualValues(t, 2, rival.replies["needed"].Head.Epoch)
	rival.append("b", "s", nil)
	require.EqualValues(t, 1, rival.acked("b").First)
}

// longChain is a store in which a shard has had so many owners, all of them the same.
func longChain(epochs stream.Epoch) map[string][]byte {
	store := map[string][]byte{}
	for e := range epochs {
		entry := segment.ChainEntry{Shard: 0, Epoch: e, Owner: stream.Incarnation{1}, Instance: "b", Address: "x", Window: 2}
		store[segment.ChainKey(0, e)] = entry.Encode()
	}
	return store
}

// chainGets is how many chain entries were looked for.
func chainGets(s *script) int {
	return s.saw(func(a Action) bool { g, ok := a.(Get); return ok && strings.HasPrefix(g.Key, segment.ChainsPrefix) })
}

func TestTake_ReadsLittleOfALongChainThatItHasAHintOf(t *testing.T) {
	for name, hint := range map[string]stream.Epoch{"the head": 999, "close below": 997} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 2, longChain(1000))
			s.step(Take{Tag: "take", Hint: hint})
			s.pass(time.Second)
			require.EqualValues(t, 1000, s.replies["take"].Head.Epoch)
			require.Less(t, chainGets(s), 8)
		})
	}
}

func TestTake_FindsTheHeadWhateverTheHint(t *testing.T) {
	for _, hint := range []stream.Epoch{0, 1, 40, 1000, 1 << 40} {
		s := newScript(t, 2, longChain(41))
		s.step(Take{Tag: "take", Hint: hint})
		s.pass(time.Second)
		require.EqualValues(t, 41, s.replies["take"].Head.Epoch)
	}
}

func TestNode_PassesTheHeadsThatItKnowsOnToTheNext(t *testing.T) {
	heads := map[stream.Shard]segment.ChainEntry{}
	first := newNodeScript(t, 2, longChain(1000))
	first.w.cfg.Heads = heads
	first.node = NewNode(first.w.cfg)
	first.step(Take{Tag: "take", Hint: 999})
	first.step(Stop{})
	require.False(t, first.node.Alive())
	second := newNodeScript(t, 3, first.store)
	second.w.cfg.Heads = heads
	second.node = NewNode(second.w.cfg)
	second.step(Take{Tag: "take"})
	second.pass(time.Second)
	require.EqualValues(t, 1001, second.replies["take"].Head.Epoch)
	require.Less(t, chainGets(second), 8)
}
