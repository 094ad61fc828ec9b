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
