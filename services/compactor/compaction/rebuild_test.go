package compaction

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/compactor/survey"
)

// names is a catalog that is told what it was behind in.
type names struct {
	known    catalog.Known
	behind   bool
	restored int
}

func (n *names) RestoreStreams(_ context.Context, known catalog.Known) (catalog.Restored, error) {
	n.known = known
	n.restored++
	return catalog.Restored{}, nil
}

func (n *names) Behind(context.Context, catalog.Known) (bool, error) {
	return n.behind, nil
}

// rebuild puts an index made from the store alone in place of the world's.
func (w *world) rebuild(index readable) survey.Rebuilt {
	w.index = index
	told := &names{}
	report, err := survey.New(w.store, testShards, 4).Rebuild(context.Background(), index.(survey.Rebuildable), told, "lost")
	require.NoError(w.t, err)
	require.True(w.t, report.Done)
	require.Empty(w.t, report.Damage)
	w.requireKnown(told.known)
	return report
}

// requireKnown wants all to be known of streams and buckets.
func (w *world) requireKnown(known catalog.Known) {
	w.t.Helper()
	alive := map[stream.ID]bool{}
	for _, x := range known.Alive {
		alive[x.ID] = true
	}
	for _, x := range w.streams {
		require.Equal(w.t, x.opened && !x.dead, alive[x.id], "stream %s: opened %t, dead %t", x.id, x.opened, x.dead)
		if x.opened && x.dead {
			require.Contains(w.t, known.Dead, x.id)
		}
	}
	require.ElementsMatch(w.t, w.deadBuckets, known.DeadBuckets)
}

// chunks is what an index has of every stream.
func (w *world) chunks() (out []chunkindex.Chunk) {
	for _, x := range w.streams {
		chunks, err := w.index.Find(context.Background(), x.id, 0, 1<<20)
		require.NoError(w.t, err)
		out = append(out, chunks...)
	}
	return out
}

// requireSame compares the index with what it was before a rebuild. States may know
// of trims and ends in slots that are not compacted yet, and slots without records
// are compacted again before what they say is known again.
func (w *world) requireSame(before []chunkindex.Chunk) {
	_, err := w.index.Drop(context.Background(), 100)
	require.NoError(w.t, err)
	byID := map[stream.ID]*worldStream{}
	for _, x := range w.streams {
		byID[x.id] = x
	}
	now := map[chunkindex.Chunk]bool{}
	for _, c := range w.chunks() {
		now[c] = true
	}
	needless := func(c *chunkindex.Chunk) bool { return byID[c.Stream].dead || c.Next() <= byID[c.Stream].trim }
	for _, c := range before {
		require.True(w.t, now[c] || needless(&c), "%+v is lost", c)
		delete(now, c)
	}
	for c := range now {
		require.True(w.t, needless(&c), "%+v was not there", c)
	}
}

// An index that was lost is made again from the store, and is the same; work goes on
// with it, whatever compactors had left undone.
func TestRebuild_GivesTheSameIndex(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed, memIndex)
		f := &fuse{at: 20 + int(seed)*3, blow: crashBefore}
		f.after = w.store.observe
		c := w.compactor(fusedStore{w.store, f}, fusedIndex{w.index, f})
		for range 2 {
			w.grow(14)
			for _, step := range []func(context.Context) error{c.Compact, c.Collect} {
				if err := step(t.Context()); err != nil {
					require.True(t, f.blown, "%v", err)
				}
				w.now = w.now.Add(testGrace)
			}
		}
		f.at, f.blown = 0, false
		if seed%2 == 0 {
			w.rest() // nothing is left undone
			chunks := w.chunks()
			w.rebuild(memIndex(func() time.Time { return w.now }))
			w.requireSame(chunks)
		} else {
			w.rebuild(memIndex(func() time.Time { return w.now }))
		}
		w.checkStored()
		w.again()
	}
}

// again grows, compacts and collects on an index that is new.
func (w *world) again() {
	f := &fuse{after: w.store.observe}
	c := w.compactor(fusedStore{w.store, f}, fusedIndex{w.index, f})
	w.grow(14)
	require.NoError(w.t, c.Compact(context.Background()))
	w.check()
	w.rest()
	w.check()
	w.checkRebuilt()
	w.checkCollected()
}

// An index from the past is found out, made again, and serves.
func TestRebuild_OfAnIndexFromThePast(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		w := newWorld(t, seed, memIndex)
		mem := w.index.(*chunkindex.Mem)
		c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
		dump := w.leaveBehind(c, mem)
		w.now = w.now.Add(2 * testHold)
		err := w.compactor(w.store, dump).Compact(t.Context())
		if !isBehind(err) {
			require.NoError(t, err)
			continue // nothing was compacted since
		}
		found++
		w.rebuild(dump)
		w.checkStored()
		w.again()
	}
	require.Greater(t, found, 20)
}

// An object that was lost is not forgotten by a rebuild, which does not help but does no
// harm: once it is put back everything is there.
func TestRebuild_KeepsWhatPointsToAnObjectThatIsMissing(t *testing.T) {
	for _, hurt := range []string{"missing", "damaged"} {
		w := newWorld(t, 21, memIndex)
		c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
		w.grow(40)
		w.rest()
		chunks := w.chunks()
		lost := chunks[0].Object
		object, err := w.store.Get(t.Context(), segment.ChunkKey(lost), objstore.Whole)
		require.NoError(t, err)
		require.NoError(t, w.store.Mem.Delete(t.Context(), segment.ChunkKey(lost)))
		if hurt == "damaged" {
			require.NoError(t, w.store.Mem.PutIfAbsent(t.Context(), segment.ChunkKey(lost), object.Body[:len(object.Body)-1]))
		}
		for range 2 { // also of an index that has been rebuilt
			report, err := survey.New(w.store, testShards, 4).Rebuild(t.Context(), w.index.(survey.Rebuildable), &names{}, hurt)
			require.NoError(t, err)
			require.NotEmpty(t, report.Damage)
			require.Equal(t, segment.ChunkKey(lost), report.Damage[0].Key)
			_, err = w.index.Drop(t.Context(), 100)
			require.NoError(t, err)
			require.Equal(t, chunks, w.chunks())
		}
		if hurt == "missing" {
			require.ErrorAs(t, c.namedButGone(lost), new(*chunkindex.BehindError))
			require.ErrorAs(t, c.namedButGone(lost), new(*DamageError))
		}
		require.NoError(t, w.store.Mem.Delete(t.Context(), segment.ChunkKey(lost)))
		require.NoError(t, w.store.Mem.PutIfAbsent(t.Context(), segment.ChunkKey(lost), object.Body))
		w.check()
		w.again()
	}
}

// A catalog that was put back is found out though the index lacks nothing, and is told
// all that logs say; as long as it is not, only states are read.
func TestReconcile_ReadsLogsOnlyIfTheCatalogIsBehind(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(t, seed, memIndex)
		w.leaveBehind(w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}}), w.index.(*chunkindex.Mem))
		w.grow(10)
		chunks := w.chunks()
		all := func(stream.Shard) bool { return true }
		for _, behind := range []bool{false, true} {
			told := &names{behind: behind}
			s := survey.New(w.store, testShards, 4)
			_, err := s.Reconcile(t.Context(), w.index.(survey.Rebuildable), told, all)
			require.NoError(t, err)
			if !behind {
				require.Zero(t, told.restored)
				require.LessOrEqual(t, s.Progress.Objects(), uint64(testShards))
				continue
			}
			w.requireKnown(told.known)
		}
		require.Equal(t, chunks, w.chunks())
	}
}

// The same with Postgres: emptied under a store that has moved on.
func TestRebuild_OnPostgres(t *testing.T) {
	pool := catalogtest.EmptyPool(t)
	require.NoError(t, chunkindex.Migrate(t.Context(), pool))
	w := newWorld(t, 5, nil)
	w.index = chunkindex.New(pool, 0)
	w.options.Grace, w.options.Abandon = 0, 0
	c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
	for range 3 {
		w.grow(14)
		require.NoError(t, c.Compact(t.Context()))
		require.NoError(t, c.Collect(t.Context()))
	}
	w.rest()
	chunks := w.chunks()
	_, err := pool.Exec(t.Context(), `TRUNCATE chunk_index, compacted_logs, chain_heads, chunk_objects, chunks, stream_limits, tombstoned_buckets;
		ALTER SEQUENCE chunk_object_ids RESTART`)
	require.NoError(t, err)
	other := w.compactor(w.store, w.index)
	var behind *chunkindex.BehindError
	require.ErrorAs(t, other.Collect(t.Context()), &behind)
	w.rebuild(w.index)
	w.requireSame(chunks)
	w.again()
}
