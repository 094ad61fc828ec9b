package compaction

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// What is damaged must not keep anything beside it from being compacted, rewritten
// or collected.

// spoil damages all reads of the objects whose keys begin so.
func spoil(store *faulty.Store, prefix string) {
	store.Add(faulty.Rule{Op: objstore.OpGet, Prefix: prefix, Times: -1, Fault: faulty.Truncate()})
}

// liveObjects are those that chunks are in.
func (w *world) liveObjects() (live []chunkindex.Object) {
	all, err := w.index.(*chunkindex.Mem).Page(w.t.Context(), 0, 1<<20)
	require.NoError(w.t, err)
	for _, o := range all {
		if o.State == chunkindex.StateLive && o.LiveBytes > 0 {
			live = append(live, o)
		}
	}
	return live
}

func (w *world) watermark(l *worldLog) stream.Slot {
	logs, err := w.index.Logs(w.t.Context())
	require.NoError(w.t, err)
	for _, row := range logs {
		if row.Log == l.id {
			return row.Watermark
		}
	}
	require.Fail(w.t, "no such log")
	return 0
}

func TestCompact_GoesOnWithoutMergingADamagedChunk(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	w.options.ChunkBytes = 1 << 20
	store := faulty.New(w.store)
	c := w.compactor(store, w.index)
	log := w.logs[0]
	write := func() {
		for range testWindow + 3 {
			w.write(log)
		}
	}
	write()
	require.NoError(t, c.Compact(t.Context()))
	before := w.chunks()
	require.NotEmpty(t, before)
	spoil(store, segment.ChunkKey(before[0].Object))
	write()
	require.NoError(t, c.Compact(t.Context()))
	require.Equal(t, log.next-testWindow, w.watermark(log))
	require.Subset(t, w.chunks(), before, "they stay as they are")
	w.check()
}

func TestRewrite_GoesOnWithoutADamagedObject(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	w.options.JobBytes, w.options.JobSlots, w.options.ChunkBytes = 1, 1, 1 // small objects that nobody merges
	for range 30 {
		w.write(w.logs[0])
	}
	for range 2 {
		require.NoError(t, w.compactor(w.store, w.index).Compact(t.Context()))
	}
	w.options.JobBytes = 100_000 // that take few jobs to merge
	small := w.liveObjects()
	require.Greater(t, len(small), 2*manySmall)
	store := faulty.New(w.store)
	for _, o := range small[:manySmall] {
		spoil(store, segment.ChunkKey(o.ID))
	}
	for range 2 {
		var damage *DamageError
		require.ErrorAs(t, w.compactor(store, w.index).Compact(t.Context()), &damage, "is told")
		left := w.liveObjects()
		require.Equal(t, small[:manySmall], left[:manySmall], "they stay as they are")
		require.Less(t, len(left), 2*manySmall, "the others are merged")
		status, err := w.index.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, left[len(left)-1].ID, status.Last, "once")
	}
	w.check()
}

func TestCollect_GoesOnBehindADamagedLog(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	for range 3 {
		l := w.someLive()
		for range 5 {
			w.write(l)
		}
		w.seal(l)
	}
	w.settle()
	index := fusedIndex{w.index, &fuse{after: w.store.observe}}
	require.NoError(t, w.compactor(w.store, index).Compact(t.Context()))
	w.now = w.now.Add(2 * testGrace)
	drained, err := w.index.Drained(t.Context(), 0)
	require.NoError(t, err)
	require.Greater(t, len(drained), 1)
	store := faulty.New(w.store)
	spoil(store, segment.SlotKey(drained[0].Log, 0))
	var damage *DamageError
	require.ErrorAs(t, w.compactor(store, index).Collect(t.Context()), &damage)
	logs, err := w.index.Drained(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, drained[:1], logs, "the others are collected")
	w.check()
}

func TestDiscover_GoesOnBehindADamagedChain(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	log := w.newLog()
	w.take(testShards-1, log)
	for range testWindow + 1 {
		w.write(log)
	}
	store := faulty.New(w.store)
	spoil(store, segment.ChainKey(0, 0))
	var damage *DamageError
	require.ErrorAs(t, w.compactor(store, w.index).Compact(t.Context()), &damage)
	require.Positive(t, w.watermark(log))
}

// One that is written to as fast as it is compacted would take all the time there is.
func TestCompact_LeavesALongLogForTheNextRound(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	w.options.JobSlots = 1
	for range 2*jobsAtOnce + testWindow {
		w.write(w.logs[0])
	}
	c := w.compactor(w.store, w.index)
	for round := range stream.Slot(2) {
		require.NoError(t, c.Compact(t.Context()))
		require.Equal(t, (round+1)*jobsAtOnce, w.watermark(w.logs[0]))
	}
}

// A log that no chain names is found by listing alone.
func TestListLogs_TriesAgainAfterAFailureAndAfterARebuild(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	unnamed := w.newLog()
	w.write(unnamed)
	known := func() bool {
		logs, err := w.index.Logs(t.Context())
		require.NoError(t, err)
		for _, l := range logs {
			if l.Log == unnamed.id {
				return true
			}
		}
		return false
	}
	store := faulty.New(w.store)
	store.Add(faulty.Rule{Op: objstore.OpHead, Prefix: segment.SlotKey(unnamed.id, 0), Fault: faulty.Unavailable()})
	c := w.compactor(store, w.index)
	require.NoError(t, c.Compact(t.Context()))
	require.ErrorIs(t, c.Collect(t.Context()), faulty.ErrUnavailable)
	require.NoError(t, c.Collect(t.Context()))
	require.True(t, known())

	w.rebuild(w.index)
	require.False(t, known(), "no chunk is made from it")
	require.NoError(t, c.Compact(t.Context()))
	require.NoError(t, c.Collect(t.Context()))
	require.True(t, known())
}
