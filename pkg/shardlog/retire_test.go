package shardlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// sealedAt tells whether a seal stands in a slot.
func sealedAt(t *testing.T, store map[string][]byte, log byte, slot stream.Slot) bool {
	body, ok := store[segment.SlotKey(stream.Incarnation{log}, slot)]
	if !ok {
		return false
	}
	trailer, err := segment.DecodeTrailer(body[len(body)-segment.TrailerSize:])
	require.NoError(t, err)
	return trailer.Kind == segment.KindSeal
}

func TestLeave_SealsTheLogOnceWhatIsInFlightIsAcknowledged(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("log/")
	s.append("b", "s", nil)
	s.step(Retire{})
	s.step(Take{Tag: "take", Shard: 0})
	require.False(t, sealedAt(t, store, 1, 1))
	s.release()
	require.EqualValues(t, 1, s.acked("b").First)
	require.True(t, sealedAt(t, store, 1, 2))
	require.False(t, s.node.Alive())
}

func TestLeave_EndsBothIncarnationsOfARoll(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("chain/") // the new one has yet to take the shard
	s.step(Roll{Incarnation: stream.Incarnation{9}})
	require.True(t, s.node.Rolling())
	s.step(Retire{})
	s.release()
	s.pass(3 * time.Second)
	require.False(t, s.node.Alive())
	require.True(t, sealed(store, 1))
	require.True(t, sealed(store, 9))
}

func TestLeave_LeavesNothingBehindOfALogThatWasNeverUsed(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.step(Retire{})
	require.False(t, s.node.Alive())
	require.Empty(t, store)
}

func TestLeave_SealsTheSlotAfterASegmentThatCameFirst(t *testing.T) {
	store := map[string][]byte{}
	s := newNodeScript(t, 1, store)
	s.own()
	s.append("a", "s", nil)
	s.hold = isPut("log/")
	s.step(Retire{}) // the seal is on its way into slot 1
	seal := s.held
	s.held = nil
	s.append("b", "s", nil) // and so is b
	s.hold = nil
	s.release()
	s.held = seal
	s.release()
	s.pass(time.Second)
	require.EqualValues(t, 1, s.acked("b").First)
	require.False(t, sealedAt(t, store, 1, 1))
	require.True(t, sealedAt(t, store, 1, 2))
	require.False(t, s.node.Alive())
}

func TestSeal_EndsALogAtItsFirstFreeSlot(t *testing.T) {
	store := map[string][]byte{}
	gone := newScript(t, 1, store)
	gone.own()
	gone.append("a", "s", nil)
	gone.append("b", "s", nil)
	segmentAt := func(slot stream.Slot) {
		s := segment.Segment{Header: segment.Header{Log: stream.Incarnation{1}, Slot: slot, Window: 2}}
		store[segment.SlotKey(stream.Incarnation{1}, slot)] = s.Encode()
	}
	segmentAt(3) // never acknowledged: slot 2 is free
	s := newScript(t, 2, store)
	s.step(Seal{Tag: "seal", Log: stream.Incarnation{1}, Window: 2})
	require.NoError(t, s.replies["seal"].Err)
	require.EqualValues(t, 2, s.replies["seal"].End)
	require.True(t, sealedAt(t, store, 1, 2))
	s.step(Seal{Tag: "again", Log: stream.Incarnation{1}, Window: 2})
	require.EqualValues(t, 2, s.replies["again"].End)
}
