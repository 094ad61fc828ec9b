package compaction

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// abandonedWorld has a log with some slots whose writer was killed after its shards
// had gone to another one. What stands above the first free slot was never
// acknowledged.
func abandonedWorld(t *testing.T, seed uint64) (*world, *worldLog) {
	w := newWorld(t, seed, memIndex)
	w.options.SealAge = time.Minute
	w.options.Registered = func(stream.Incarnation) bool { return false }
	gone, next := w.logs[0], w.newLog()
	for range 4 { // the next but one is the first that a sealer looks at
		w.write(gone)
	}
	for shard := range stream.Shard(testShards) {
		w.take(shard, next)
	}
	w.put(segment.SlotKey(gone.id, gone.next+1), w.segment(gone, gone.next+1).Encode())
	w.write(next)
	w.now = time.Now().Add(2 * w.options.SealAge) // the store goes by real time
	return w, gone
}

func (w *world) sealedAt(l *worldLog, slot stream.Slot) bool {
	object, err := w.store.Get(context.Background(), segment.SlotKey(l.id, slot), objstore.Suffix(segment.TrailerSize))
	if err != nil {
		return false
	}
	trailer, err := segment.DecodeTrailer(object.Body)
	require.NoError(w.t, err)
	return trailer.Kind == segment.KindSeal
}

func TestCompact_SealsALogThatNobodyEndedAndCollectsIt(t *testing.T) {
	w, gone := abandonedWorld(t, 1)
	c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
	require.NoError(t, c.Compact(t.Context()))
	require.True(t, w.sealedAt(gone, gone.next), "in the first free slot, whatever stands above")
	gone.sealed = true
	w.check()
	w.rest()
	w.check()
	w.checkCollected()
}

func TestCompact_SealsWhateverRequestsFail(t *testing.T) {
	w, gone := abandonedWorld(t, 2)
	flaky := faulty.New(w.store)
	flaky.Add(faulty.Rule{Op: objstore.OpPut, Prefix: segment.LogPrefix, Times: 3, Fault: faulty.ReplyLost()})
	c := w.compactor(flaky, fusedIndex{w.index, &fuse{after: w.store.observe}})
	require.NoError(t, c.Compact(t.Context()))
	require.True(t, w.sealedAt(gone, gone.next))
}

func TestCompact_SealsNoLogThatMayBeInUse(t *testing.T) {
	for name, change := range map[string]func(w *world, gone *worldLog){
		"a newest chain entry names it": func(w *world, gone *worldLog) { w.take(1, gone) },
		"a writer is registered with it": func(w *world, gone *worldLog) {
			w.options.Registered = func(log stream.Incarnation) bool { return log == gone.id }
		},
		"it has a new slot": func(w *world, _ *worldLog) { w.now = time.Now() },
		"sealing is off":    func(w *world, _ *worldLog) { w.options.SealAge = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			w, gone := abandonedWorld(t, 3)
			change(w, gone)
			c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
			require.NoError(t, c.Compact(t.Context()))
			require.False(t, w.sealedAt(gone, gone.next))
		})
	}
}
