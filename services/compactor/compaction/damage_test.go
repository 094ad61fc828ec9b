package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/compactor/survey"
)

// smallWorld has objects of every kind: sealed logs that are collected and that are
// not, a living one, chunk objects, states.
func smallWorld(t *testing.T) *world {
	w := newWorld(t, 21, memIndex)
	c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
	for range 2 {
		w.grow(5)
		for _, l := range w.logs {
			if !l.sealed {
				w.seal(l)
			}
		}
		w.settle()
		require.NoError(t, c.Compact(t.Context()))
		w.now = w.now.Add(2 * testGrace)
		require.NoError(t, c.Collect(t.Context()))
	}
	w.grow(4)
	return w
}

// copyOf is the store with one object changed.
func (w *world) copyOf(t *testing.T, key string, change func([]byte) []byte) *objstore.Mem {
	out := objstore.NewMem()
	for _, k := range keys(t, w.store) {
		object, err := w.store.Get(t.Context(), k, objstore.Whole)
		require.NoError(t, err)
		body := slices.Clone(object.Body)
		if k == key {
			body = change(body)
		}
		require.NoError(t, out.PutIfAbsent(t.Context(), k, body))
	}
	return out
}

// findings is what Verify says of a store.
func (w *world) findings(t *testing.T, store objstore.Store) []survey.Finding {
	var found []survey.Finding
	_, err := survey.New(store, testShards, 4).Verify(t.Context(), w.index.(*chunkindex.Mem), func(f survey.Finding) { found = append(found, f) })
	require.NoError(t, err)
	return found
}

// serve reads every stream as readers do, until something is damaged, and demands
// that what it gets is what was acknowledged.
func (w *world) serve(t *testing.T, store objstore.Store) {
	locator := history.New(w.index.(*chunkindex.Mem), logindex.NewLocator(store, logindex.DefaultLocatorConfig()), 0)
	blocks := logindex.NewBlocks(store, logindex.DefaultBlocksConfig(), nil)
	for _, x := range w.streams {
		if err := w.serveStream(t.Context(), t, x, locator, blocks); err != nil {
			var damage *logindex.DamageError
			var unavailable *history.UnavailableError
			require.True(t, errors.As(err, &damage) || errors.As(err, &unavailable), "%v", err)
		}
	}
}

func (w *world) serveStream(ctx context.Context, t *testing.T, x *worldStream, locator *history.Locator, blocks *logindex.Blocks) error {
	target := logindex.Target{Shard: x.shard, Stream: x.id}
	for at := x.trim; !x.dead && int(at) < len(x.records); {
		found, err := locator.Find(ctx, target, at, 1<<20)
		if err != nil || len(found) == 0 {
			return err
		}
		decoded, err := blocks.Get(ctx, x.id, found)
		if err != nil {
			return err
		}
		for _, b := range decoded {
			for r := range b.From(at) {
				require.Equal(t, at, r.SeqNum)
				require.Equal(t, x.records[at], worldRecord{r.Timestamp, r.IDMillis, string(r.Body)})
				at++
			}
		}
	}
	return nil
}

func TestVerify_FindsNothingWhereAllIsRight(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(t, seed, memIndex)
		f := &fuse{at: 20 + int(seed)*5, blow: crashBefore, after: w.store.observe}
		c := w.compactor(fusedStore{w.store, f}, fusedIndex{w.index, f})
		for range 3 {
			w.grow(10)
			for _, step := range []func(context.Context) error{c.Compact, c.Collect} {
				if err := step(t.Context()); err != nil {
					require.True(t, f.blown, "%v", err)
				}
				w.now = w.now.Add(testGrace)
			}
			require.Empty(t, w.findings(t, w.store), "seed %d", seed)
		}
	}
}

func named(found []survey.Finding, key string) bool {
	return slices.ContainsFunc(found, func(f survey.Finding) bool { return f.Kind == survey.Damage && f.Key == key })
}

// A bit of every fifth byte of each object; every bit of every kind is in pkg/segment.
func TestVerify_FindsFlippedBitsAndNobodyIsServedThem(t *testing.T) {
	w := smallWorld(t)
	require.Empty(t, w.findings(t, w.store))
	w.serve(t, w.store)
	const step = 5
	n := 0
	for _, key := range keys(t, w.store) {
		info, err := w.store.Head(t.Context(), key)
		require.NoError(t, err)
		for at := n % step; at < int(info.Size); at += step {
			n++
			store := w.copyOf(t, key, func(b []byte) []byte { b[at] ^= 1 << (n % 8); return b })
			require.True(t, named(w.findings(t, store), key), "%s, byte %d", key, at)
			w.serve(t, store)
		}
	}
	t.Logf("%d flipped bits", n)
}

func TestVerify_FindsEveryTruncationAndEveryMissingObject(t *testing.T) {
	w := smallWorld(t)
	step := 7 * stride(t)
	for _, key := range keys(t, w.store) {
		info, err := w.store.Head(t.Context(), key)
		require.NoError(t, err)
		for size := 0; size < int(info.Size); size += step {
			store := w.copyOf(t, key, func(b []byte) []byte { return b[:size] })
			require.True(t, named(w.findings(t, store), key), "%s, cut to %d bytes", key, size)
			w.serve(t, store)
		}
	}
}

func TestVerify_TellsWhatIsMissingAndWhatIsOfNoUse(t *testing.T) {
	w := smallWorld(t)
	var chunk chunkindex.Chunk
	var of *worldStream
	for _, x := range w.streams {
		if chunks, err := w.index.Find(t.Context(), x.id, x.trim, 1); err == nil && len(chunks) > 0 && !x.dead {
			chunk, of = chunks[0], x
		}
	}
	require.NotNil(t, of)
	key := fmt.Sprintf("chunk/%020d", chunk.Object)
	store := w.copyOf(t, "", nil)
	require.NoError(t, store.Delete(t.Context(), key))
	found := w.findings(t, store)
	require.True(t, named(found, key), "%v", found)
	require.True(t, slices.ContainsFunc(found, func(f survey.Finding) bool {
		return f.Kind == survey.Damage && f.Stream == of.id && chunk.Overlaps(f.First, f.Next)
	}), "the records that are lost: %v", found)

	store = w.copyOf(t, "", nil)
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/what is this", nil))
	found = w.findings(t, store)
	require.Len(t, found, 1)
	require.Equal(t, survey.Orphan, found[0].Kind)
}

func TestVerify_AddsTheIndexUp(t *testing.T) {
	w := smallWorld(t)
	objects, err := w.index.(*chunkindex.Mem).Page(t.Context(), 0, 1000)
	require.NoError(t, err)
	objects = slices.DeleteFunc(objects, func(o chunkindex.Object) bool { return o.State != chunkindex.StateLive || o.LiveBytes == 0 })
	require.Greater(t, len(objects), 1)
	rebuilt := chunkindex.Rebuilt{Objects: objects, Chunks: w.chunks()}
	replace := func() []survey.Finding {
		require.NoError(t, w.index.(*chunkindex.Mem).Replace(t.Context(), rebuilt))
		return w.findings(t, w.store)
	}
	require.Empty(t, replace())

	rebuilt.Objects = slices.Clone(objects)
	rebuilt.Objects[0].LiveBytes--
	require.True(t, named(replace(), segment.ChunkKey(objects[0].ID)), "a sum that is wrong")
	rebuilt.Objects = objects[1:]
	require.True(t, named(replace(), segment.ChunkKey(objects[0].ID)), "chunks of an object without row")
}

// As by whoever takes a shard from an owner whose chain entry landed late.
func TestVerify_TakesNoOffenceAtACollectedLogThatIsSealedOnceMore(t *testing.T) {
	w := smallWorld(t)
	ends := map[stream.Incarnation]stream.Slot{} // of parts that others follow
	for shard := range stream.Shard(testShards) {
		for epoch := range w.epoch[shard] {
			entry, ok, err := newChains(w.store, testShards).entry(t.Context(), shard, epoch)
			require.NoError(t, err)
			require.True(t, ok)
			if next, ok, err := newChains(w.store, testShards).entry(t.Context(), shard, epoch+1); ok && next.PredecessorEnd > entry.FirstSlot {
				require.NoError(t, err)
				ends[entry.Owner] = next.PredecessorEnd
			}
		}
	}
	sealed := 0
	for _, l := range w.logs {
		if !w.collected(l) || ends[l.id] == 0 {
			continue
		}
		sealed++
		h := segment.Header{Log: l.id, Window: testWindow}
		require.NoError(t, w.store.Mem.PutIfAbsent(t.Context(), segment.SlotKey(l.id, 0), segment.EncodeSeal(h, stream.Incarnation{1})))
	}
	require.Positive(t, sealed)
	require.Empty(t, w.findings(t, w.store))
}
