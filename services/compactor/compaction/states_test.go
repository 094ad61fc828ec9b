package compaction

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// ownerWorld is a shard whose owner writes state after state, each of which the next
// slot names.
func ownerWorld(t *testing.T) (*world, *worldLog) {
	w := newWorld(t, 1, memIndex)
	w.streams = nil
	return w, w.owner[0]
}

// state puts one, and returns its slot; the owner learns of it if it is named.
func (w *world) ownerPuts(l *worldLog, named bool) stream.Slot {
	ref := segment.StateRef{Shard: 0, Epoch: w.epoch[0] - 1, Slot: l.next}
	w.putState(ref)
	if named {
		w.named[0] = ref
	}
	return ref.Slot
}

func (w *world) writeSlots(l *worldLog, n int) {
	for range n {
		w.append(l, w.segment(l, l.next))
	}
}

// states is the slots of shard 0's states that stand, of its newest epoch and below.
func (w *world) states() (out []stream.Slot) {
	for _, key := range keys(w.t.(*testing.T), w.store) {
		if ref, ok := segment.ParseStateKey(key); ok && ref.Shard == 0 {
			out = append(out, ref.Slot)
		}
	}
	return out
}

func TestStates_FewAreKept(t *testing.T) {
	w, l := ownerWorld(t)
	for range 50 {
		w.writeSlots(l, 4)
		w.ownerPuts(l, true)
	}
	c := w.compactor(w.store, w.index)
	require.NoError(t, c.Collect(t.Context()))
	require.Len(t, w.states(), 50, "readers may yet use them")
	w.now = w.now.Add(testGrace)
	require.NoError(t, c.Collect(t.Context()))
	require.Equal(t, []stream.Slot{192, 196, 200}, w.states())
	l = w.newLog()
	w.take(0, l)
	for range 50 {
		w.writeSlots(l, 4)
		w.ownerPuts(l, true)
	}
	w.now = w.now.Add(testGrace)
	require.NoError(t, c.Collect(t.Context()))
	require.Equal(t, []stream.Slot{200, 192, 196, 200}, w.states(), "and the one that the head names")
}

// The owner let the shard go while a state was on its way; the slots behind name
// that one, but who asks the owner takes the shard with the one before it. A rival
// that sealed the log instead has put its own, and died.
func TestStates_WhereverThePartEndsItsStateIsKept(t *testing.T) {
	w, l := ownerWorld(t)
	var kept stream.Slot
	for range 4 {
		w.writeSlots(l, 4)
		kept = w.ownerPuts(l, true)
	}
	w.writeSlots(l, 3)
	w.ownerPuts(l, false) // lands, though its owner thinks that it has failed
	w.writeSlots(l, 3)
	flying := segment.StateRef{Shard: 0, Epoch: 0, Slot: w.ownerPuts(l, false)}
	w.writeSlots(l, 1)
	w.handed[0] = l.next
	w.named[0] = flying
	w.writeSlots(l, 20)
	w.putTaken(0, l.next)
	w.now = w.now.Add(2 * testGrace)
	require.NoError(t, w.compactor(w.store, w.index).Collect(t.Context()))
	require.Equal(t, kept, w.states()[0])
	w.checkTakeable()
}

// Nothing is known of a part whose slots can't be read: nothing of it goes.
func TestStates_StayWhereTheLogIsUnreadable(t *testing.T) {
	w, l := ownerWorld(t)
	for range 10 {
		w.writeSlots(l, 4)
		w.ownerPuts(l, true)
	}
	w.now = w.now.Add(time.Hour)
	require.NoError(t, w.store.Mem.Delete(t.Context(), segment.SlotKey(l.id, l.next-1)))
	_ = w.compactor(w.store, w.index).Collect(t.Context())
	require.Len(t, w.states(), 10)
}
