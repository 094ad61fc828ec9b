// Mutants, each shown by hand (with go test -overlay) to fail these tests:
//
//	slots deleted before grace                    Drained(ctx, 0)
//	chunk objects deleted before grace            Dead(ctx, 0)
//	index before object                           Publish before put
//	no read-back                                  run without verify
//	slots of unsealed logs collected              window takes a free slot for a seal
//	slots above the lowest seal compacted         window walks over seals
//	objects without rows collected                watchOrphans deletes what it reports
//	object deleted before its row is removed      remove in the other order
//	seals deleted                                 deleteSlots up to and with End
//	a log collected that a newest entry names     collectLogs without owners
//	no gone mark                                  collectLog without the put
//	any object under the key is taken as own      checkOwn without comparing
//	merged chunks stay in the index               merge without replaced
//	a late put is never deleted                   forget without Delete
//	an index from the past is worked on           round without audit
//	a log counts as covered                       collectLog without checkCovered
//	abandoned objects always taken back           recoverObject as if covered
//	a log in use is sealed                        abandoned without owners
//	a seal above the last slot                    shardlog's sealer without its walk
package compaction

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

// story is a compactor's life beside growing logs; the fuse blows somewhere in it.
// A compactor that crashed is followed by another one.
func story(w *world, f *fuse) {
	ctx := context.Background()
	f.after = w.store.observe
	begin := func() *Compactor { return w.compactor(fusedStore{w.store, f}, fusedIndex{w.index, f}) }
	c := begin()
	for range 2 {
		w.grow(14)
		for _, step := range []func(context.Context) error{c.Compact, c.Collect, c.Compact} {
			err := step(ctx)
			if f.blown && f.blow != interrupt && err != nil {
				w.check()
				f.blow, f.blown = failBefore, false // it has had its effect
				f.at = 0
				c = begin()
				err = nil
			}
			require.NoError(w.t, err)
			w.now = w.now.Add(testGrace)
		}
	}
	f.at, f.blown = 0, false
	w.check()
	w.rest()
	w.check()
	w.checkRebuilt()
	w.checkCollected()
	w.checkTakeable()
}

func TestCompactor_KeepsEveryRecordOnce(t *testing.T) {
	for seed := range uint64(100) {
		story(newWorld(t, seed, memIndex), &fuse{})
	}
}

// everywhere tells a story once for each call on the store or the index.
func everywhere(t *testing.T, seed uint64, stride int, set func(w *world, f *fuse)) {
	for at := 1; ; at += stride {
		f := &fuse{at: at}
		w := newWorld(t, seed, memIndex)
		set(w, f)
		story(w, f)
		if f.calls < at {
			return
		}
	}
}

func stride(t *testing.T) int {
	if testing.Short() {
		return 11
	}
	return 1
}

// At every call on the store or the index, in every way.
func TestCompactor_SurvivesAnyFailureAnywhere(t *testing.T) {
	for seed, blow := range []blow{failBefore, failAfter, crashBefore, crashAfter} {
		t.Run(fmt.Sprint(blow), func(t *testing.T) {
			everywhere(t, uint64(seed), stride(t), func(_ *world, f *fuse) { f.blow = blow })
		})
	}
}

// Whatever one compactor is about to do, another one does all that there is first.
func TestCompactor_TwoOnOneLogDoNoHarm(t *testing.T) {
	everywhere(t, 4, stride(t), func(w *world, f *fuse) {
		f.blow = interrupt
		f.meanwhile = func() {
			other := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
			require.NoError(t, other.Compact(context.Background()))
			require.NoError(t, other.Collect(context.Background()))
			require.NoError(t, other.Compact(context.Background()))
		}
	})
}

// A job is taken for given up though it goes on: it must come to nothing.
func TestCompactor_ThatIsTakenForDeadDoesNoHarm(t *testing.T) {
	everywhere(t, 5, stride(t), func(w *world, f *fuse) {
		f.blow = interrupt
		f.meanwhile = func() {
			w.now = w.now.Add(2 * testHold)
			other := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
			require.NoError(t, other.Compact(context.Background()))
		}
	})
}

// A put that lands long after its time-out leaves nothing behind.
func TestCompactor_LatePutsAreCollected(t *testing.T) {
	w := newWorld(t, 6, memIndex)
	w.grow(10)
	late := faulty.New(w.store)
	late.Add(faulty.Rule{Op: objstore.OpPut, Prefix: segment.ChunkPrefix, Times: -1, Fault: faulty.Late()})
	index := fusedIndex{w.index, &fuse{after: w.store.observe}}
	require.ErrorIs(t, w.compactor(late, index).Compact(t.Context()), faulty.ErrTimeout)
	w.now = w.now.Add(2 * testHold)
	require.NoError(t, w.compactor(w.store, index).Compact(t.Context()), "takes the abandoned job back")
	late.Land(t.Context())
	w.rest()
	w.check()
	w.checkCollected()
}

// rotting stores chunk objects with a bit flipped, and says nothing.
type rotting struct{ objstore.Store }

func (r rotting) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if _, ok := segment.ParseChunkKey(key); ok {
		body = slices.Clone(body)
		body[len(body)/3] ^= 4
	}
	return r.Store.PutIfAbsent(ctx, key, body)
}

func TestCompactor_PublishesNothingThatIsStoredDamaged(t *testing.T) {
	w := newWorld(t, 7, memIndex)
	w.grow(10)
	var damage *DamageError
	require.ErrorAs(t, w.compactor(rotting{w.store}, w.index).Compact(t.Context()), &damage)
	w.check()
	for _, x := range w.streams {
		chunks, err := w.index.Find(t.Context(), x.id, 0, 1)
		require.NoError(t, err)
		require.Empty(t, chunks)
	}
}

// What is read damaged is read again, and never published if it stays so.
func TestCompactor_PublishesNothingThatIsReadDamaged(t *testing.T) {
	w := newWorld(t, 7, memIndex)
	w.grow(10)
	damaging := faulty.New(w.store)
	damaging.Add(faulty.Rule{Op: objstore.OpGet, Prefix: segment.ChunkPrefix, Times: -1, Fault: faulty.FlipBit()})
	var damage *DamageError
	require.ErrorAs(t, w.compactor(damaging, w.index).Compact(t.Context()), &damage)
	w.check()

	flaky := faulty.Seeded(w.store, 1, faulty.Rates{})
	flaky.Add(faulty.Rule{Op: objstore.OpGet, Fault: faulty.Truncate()})
	require.NoError(t, w.compactor(flaky, w.index).Compact(t.Context()))
	w.check()
}

// stuck is an index on which no job gets further than its put.
type stuck struct{ Index }

func (s stuck) Publish(ctx context.Context, p chunkindex.Publication) error {
	if p.Object == 0 {
		return s.Index.Publish(ctx, p)
	}
	return errBlown
}

func TestCompactor_TurnsAnAbandonedObjectLiveIfItIsTheLast(t *testing.T) {
	w := newWorld(t, 7, memIndex)
	w.grow(12)
	require.ErrorIs(t, w.compactor(w.store, stuck{w.index}).Compact(t.Context()), errBlown)
	abandoned, err := w.index.Abandoned(t.Context(), 0)
	require.NoError(t, err)
	require.NotEmpty(t, abandoned)
	for _, o := range abandoned {
		for slot := o.From; slot < o.To; slot++ {
			require.NoError(t, w.store.Mem.Delete(t.Context(), segment.SlotKey(o.Log, slot)))
		}
	}
	w.now = w.now.Add(2 * testHold)
	require.NoError(t, w.compactor(w.store, w.index).Compact(t.Context()))
	w.check()
}

func TestCompactor_StopsWhereAnotherObjectHasItsKey(t *testing.T) {
	w := newWorld(t, 10, memIndex)
	w.grow(20)
	w.put(segment.ChunkKey(1), []byte("of a newer index"))
	var behind *chunkindex.BehindError
	require.ErrorAs(t, w.compactor(blindStore{w.store.Mem}, w.index).Compact(t.Context()), &behind)
	status, err := w.index.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, status.Behind, "halted for everybody")
	w.check()
}

// The watermark alone lets no slot go: the objects must stand.
func TestCompactor_KeepsSlotsWhoseChunksAreMissing(t *testing.T) {
	w := newWorld(t, 11, memIndex)
	w.grow(12)
	for _, l := range w.logs {
		if !l.sealed {
			w.seal(l)
		}
	}
	w.settle()
	require.NoError(t, w.compactor(w.store, w.index).Compact(t.Context()))
	for _, key := range keys(t, w.store) {
		if _, ok := segment.ParseChunkKey(key); ok {
			require.NoError(t, w.store.Mem.Delete(t.Context(), key))
		}
	}
	w.now = w.now.Add(2 * testGrace)
	var behind *chunkindex.BehindError
	require.ErrorAs(t, w.compactor(w.store, w.index).Collect(t.Context()), &behind)
	w.checkStored()
}

// An object without a row may be the last to hold records.
func TestCompactor_LeavesObjectsWithoutRowsAlone(t *testing.T) {
	w := newWorld(t, 8, memIndex)
	orphan, err := w.index.Begin(t.Context(), chunkindex.Job{})
	require.NoError(t, err)
	_, err = w.index.Remove(t.Context(), orphan)
	require.NoError(t, err)
	require.NoError(t, w.index.Forget(t.Context(), orphan))
	w.put(segment.ChunkKey(orphan), []byte("who knows"))
	w.grow(10)
	c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
	for range 3 {
		w.now = w.now.Add(2 * testHold)
		require.NoError(t, c.Compact(t.Context()))
		require.NoError(t, c.Collect(t.Context()))
	}
	_, err = w.store.Head(t.Context(), segment.ChunkKey(orphan))
	require.NoError(t, err)
}

// An index that was put back to an older dump is found out before anything is
// collected, whatever has happened since.
func TestCompactor_StopsOnAnIndexFromThePast(t *testing.T) {
	found := 0
	for seed := range uint64(40) {
		w := newWorld(t, seed, memIndex)
		mem := w.index.(*chunkindex.Mem)
		index := fusedIndex{w.index, &fuse{after: w.store.observe}}
		c := w.compactor(w.store, index)
		dump := w.leaveBehind(c, mem)
		before, _ := mem.Status(t.Context())
		if past, _ := dump.Status(t.Context()); past.Last == before.Last {
			continue // nothing was compacted since
		}
		found++
		w.index, w.now = dump, w.now.Add(2*testHold)
		stored := len(keys(t, w.store))
		for range 2 {
			other := w.compactor(w.store, dump)
			var behind *chunkindex.BehindError
			require.ErrorAs(t, other.Collect(t.Context()), &behind)
			require.ErrorAs(t, other.Compact(t.Context()), &behind)
		}
		require.Len(t, keys(t, w.store), stored, "nothing was put or deleted")
		w.index = mem
		w.check()
	}
	require.Greater(t, found, 20)
}

// Nor is anything lost if the look at the list of objects tells nothing: what is
// collected is checked by itself.
func TestCompactor_LosesNothingToAnIndexFromThePastThatNobodyNotices(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed, memIndex)
		mem := w.index.(*chunkindex.Mem)
		c := w.compactor(w.store, fusedIndex{w.index, &fuse{after: w.store.observe}})
		dump := w.leaveBehind(c, mem)
		w.settle()
		blind := blindStore{w.store.Mem}
		other := w.compactor(blind, dump)
		for range 3 {
			w.now = w.now.Add(2 * testHold)
			_ = other.Compact(t.Context())
			_ = other.Collect(t.Context())
		}
		w.checkStored()
	}
}

func keys(t *testing.T, s objstore.Store) (all []string) {
	for info, err := range s.List(t.Context(), "", "") {
		require.NoError(t, err)
		all = append(all, info.Key)
	}
	return all
}

// The same on Postgres, at some of the calls.
func TestCompactor_OnPostgres(t *testing.T) {
	step := 23
	if testing.Short() {
		step = 101
	}
	pool := catalogtest.EmptyPool(t)
	require.NoError(t, chunkindex.Migrate(t.Context(), pool))
	index := func() readable { return chunkindex.New(pool, 0) }
	for _, blow := range []blow{failBefore, crashAfter} {
		for at := 1; ; at += step {
			_, err := pool.Exec(t.Context(), `TRUNCATE compacted_logs, chain_heads, chunk_objects, chunks, stream_limits, tombstoned_buckets;
				ALTER SEQUENCE chunk_object_ids RESTART; UPDATE chunk_index SET behind = ''`)
			require.NoError(t, err)
			f := &fuse{at: at, blow: blow}
			w := newWorld(t, 1, nil)
			w.index = index()
			w.options.Grace, w.options.Abandon = 0, 0 // by the database's clock
			story(w, f)
			if f.calls < at {
				break
			}
		}
	}
}
