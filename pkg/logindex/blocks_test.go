package logindex

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

func smallWorld(t *testing.T, slots int) (*world, *Blocks) {
	w := newWorld(t)
	for range slots {
		w.write(1, map[stream.ID]int{testID(0): 2, testID(1): 1})
	}
	return w, NewBlocks(w.faults, DefaultBlocksConfig(), prometheus.NewRegistry())
}

func requireBlocks(t *testing.T, want []Block, got []*segment.Block, err error) {
	t.Helper()
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].BlockRef, got[i].Ref())
	}
}

func TestBlocks_FetchesEachBlockOnce(t *testing.T) {
	w, blocks := smallWorld(t, 5)
	want := w.blocks[testID(0)]
	for range 3 {
		got, err := blocks.Get(t.Context(), testID(0), want)
		requireBlocks(t, want, got, err)
	}
	require.Equal(t, 5, w.faults.Calls(objstore.OpGet))
}

func TestBlocks_CallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, blocks := smallWorld(t, 1)
		release := make(chan struct{})
		w.faults.Add(faulty.Rule{Op: objstore.OpGet, Fault: faulty.Until(release)})
		want := w.blocks[testID(0)]

		// The first caller gives up while it fetches; the others go on without it.
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, err := blocks.Get(ctx, testID(0), want)
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 10 {
			group.Go(func() {
				got, err := blocks.Get(t.Context(), testID(0), want)
				requireBlocks(t, want, got, err)
			})
		}
		synctest.Wait()
		cancel()
		group.Wait()
		require.Equal(t, 2, w.faults.Calls(objstore.OpGet))
	})
}

func TestBlocks_KeepsWithinItsBytes(t *testing.T) {
	w, _ := smallWorld(t, 30)
	blocks := NewBlocks(w.faults, BlocksConfig{CacheBytes: 2000, InflightBytes: 100, Parallel: 4}, nil)
	want := w.blocks[testID(0)]

	got, err := blocks.Get(t.Context(), testID(0), want)

	requireBlocks(t, want, got, err)
	require.LessOrEqual(t, blocks.cache.heldBytes(), int64(2000))
}

func TestBlocks_ReadsAgainWhatCameDamagedOrMissing(t *testing.T) {
	for name, fault := range map[string]faulty.Fault{
		"flipped": faulty.FlipBit(), "cut": faulty.Truncate(), "missing": faulty.Fail(objstore.ErrNotFound),
	} {
		t.Run(name, func(t *testing.T) {
			w, blocks := smallWorld(t, 1)
			w.faults.Add(faulty.Rule{Op: objstore.OpGet, Fault: fault})

			got, err := blocks.Get(t.Context(), testID(0), w.blocks[testID(0)])

			requireBlocks(t, w.blocks[testID(0)], got, err)
		})
	}
}

func TestBlocks_NamesWhatStaysDamaged(t *testing.T) {
	w, blocks := smallWorld(t, 1)
	w.faults.Add(faulty.Rule{Op: objstore.OpGet, Times: -1, Fault: faulty.FlipBit()})
	want := w.blocks[testID(0)][0]

	_, err := blocks.Get(t.Context(), testID(0), []Block{want})

	var damage *DamageError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, segment.SlotKey(want.Log, want.Slot), damage.Key)
	require.Equal(t, want.Offset, damage.Offset)
	require.False(t, Missing(err))
	require.Zero(t, blocks.cache.heldBytes(), "nothing damaged is kept")
}

func TestBlocks_AnswersOfTheStorePassThrough(t *testing.T) {
	w, blocks := smallWorld(t, 1)
	w.faults.Add(faulty.Rule{Op: objstore.OpGet, Fault: faulty.Unavailable()})

	_, err := blocks.Get(t.Context(), testID(0), w.blocks[testID(0)])

	require.ErrorIs(t, err, faulty.ErrUnavailable)
}

func TestBlocks_AdjacentOnesComeInOneGet(t *testing.T) {
	w := newWorld(t)
	id, log := testID(0), w.owner.Owner
	s := segment.Segment{Header: segment.Header{Log: log, Window: window}}
	for n := range 4 {
		batch := w.batch(testShard, 0, id, 1, 1)
		batch.Payload = segment.AppendRecord(nil, nil, incompressible(300<<10, byte(n)))
		s.Batches = append(s.Batches, batch)
	}
	w.put(segment.SlotKey(log, 0), s.Encode())
	var want []Block
	for _, ref := range s.Sections()[0].Streams[0].Blocks {
		want = append(want, Block{Log: log, BlockRef: ref})
	}
	require.Len(t, want, 4)

	got, err := NewBlocks(w.faults, DefaultBlocksConfig(), nil).Get(t.Context(), id, want)

	requireBlocks(t, want, got, err)
	require.Equal(t, 1, w.faults.Calls(objstore.OpGet))
}

func incompressible(n int, seed byte) []byte {
	out, x := make([]byte, n), uint32(seed)+1
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = byte(x >> 24)
	}
	return out
}

func TestBlocks_ReadsChunkObjectsLikeSegments(t *testing.T) {
	w, blocks := smallWorld(t, 3)
	id := testID(0)
	stored, err := blocks.Get(t.Context(), id, w.blocks[id])
	require.NoError(t, err)
	writer := segment.NewChunkWriter(segment.Chunks{ID: 9}, 1<<20)
	for _, block := range stored {
		writer.Add(block, 0, stream.MaxSeqNum)
	}
	object, about := writer.Finish()
	w.put(segment.ChunkKey(9), object)
	want := []Block{ChunkBlock(9, about.Runs[0].Blocks[0])}

	got, err := blocks.Get(t.Context(), id, want)

	requireBlocks(t, want, got, err)
	require.Equal(t, 6, got[0].Len())
}

// chunkObject puts a chunk object with one record of a stream.
func chunkObject(t *testing.T, store objstore.Store, id segment.ChunkID, of stream.ID, body string) Block {
	s := segment.Segment{Batches: []segment.Batch{{Stream: of, Timestamps: []uint64{1}, Payload: segment.AppendRecord(nil, nil, []byte(body))}}}
	encoded := s.Encode()
	ref := s.Sections()[0].Streams[0].Blocks[0]
	block, err := segment.DecodeBlock(of, ref, encoded[ref.Offset:][:ref.Stored])
	require.NoError(t, err)
	w := segment.NewChunkWriter(segment.Chunks{ID: id}, 1<<10)
	w.Add(block, 0, stream.MaxSeqNum)
	object, about := w.Finish()
	require.NoError(t, store.PutIfAbsent(t.Context(), segment.ChunkKey(id), object))
	return ChunkBlock(id, about.Runs[0].Blocks[0])
}

func TestBlocks_TakesNoOtherBlockThatStoodInTheSamePlaceOnce(t *testing.T) {
	store := objstore.NewMem()
	blocks := NewBlocks(store, DefaultBlocksConfig(), nil)
	old := chunkObject(t, store, 5, testID(0), "old")
	got, err := blocks.Get(t.Context(), testID(0), []Block{old})
	requireBlocks(t, []Block{old}, got, err)
	require.NoError(t, store.Delete(t.Context(), segment.ChunkKey(5)))

	for i, id := range []stream.ID{testID(0), testID(1)} {
		fresh := chunkObject(t, store, 5, id, fmt.Sprint("n", i, "w"))
		require.Equal(t, old.Offset, fresh.Offset)
		got, err = blocks.Get(t.Context(), id, []Block{fresh})
		requireBlocks(t, []Block{fresh}, got, err)
		require.Equal(t, id, got[0].Stream())
		require.NoError(t, store.Delete(t.Context(), segment.ChunkKey(5)))
	}
}
