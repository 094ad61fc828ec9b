package logindex

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

const (
	testShard  stream.Shard = 7
	otherShard stream.Shard = 8
	window                  = 4
)

// world is a shard whose parts lie in several logs, with the records of another
// shard between them, and what a reader should find in it.
type world struct {
	t      testing.TB
	store  *objstore.Mem
	faults *faulty.Store
	next   map[stream.Incarnation]stream.Slot
	owner  segment.ChainEntry
	tails  map[stream.ID]segment.StreamState
	blocks map[stream.ID][]Block
	states []segment.StateRef
}

func newWorld(t testing.TB) *world {
	mem := objstore.NewMem()
	w := &world{
		t: t, store: mem, faults: faulty.New(mem), next: map[stream.Incarnation]stream.Slot{},
		tails: map[stream.ID]segment.StreamState{}, blocks: map[stream.ID][]Block{},
	}
	w.owner = segment.ChainEntry{Shard: testShard, Owner: stream.NewIncarnation(), Window: window}
	w.put(segment.ChainKey(testShard, 0), w.owner.Encode())
	return w
}

func (w *world) put(key string, body []byte) {
	require.NoError(w.t, w.store.PutIfAbsent(context.Background(), key, body))
}

// write puts the next segment of the owner's log, with count records of each of
// the streams.
func (w *world) write(timestamp uint64, counts map[stream.ID]int) {
	log := w.owner.Owner
	s := segment.Segment{Header: segment.Header{Log: log, Slot: w.next[log], Window: window}}
	s.Batches = append(s.Batches, w.batch(otherShard, 3, testID(99), timestamp, 2))
	for id, count := range counts {
		if count > 0 {
			s.Batches = append(s.Batches, w.batch(testShard, w.owner.Epoch, id, timestamp, count))
		}
	}
	w.put(segment.SlotKey(log, s.Slot), s.Encode())
	for _, section := range s.Sections() {
		for _, summary := range section.Streams {
			for _, ref := range summary.Blocks {
				w.blocks[summary.Stream] = append(w.blocks[summary.Stream], Block{log, s.Slot, ref})
			}
		}
	}
	w.next[log]++
}

func (w *world) batch(shard stream.Shard, epoch stream.Epoch, id stream.ID, timestamp uint64, count int) segment.Batch {
	state := w.tails[id]
	batch := segment.Batch{Shard: shard, Epoch: epoch, Stream: id, First: state.Tail, IDMillis: timestamp}
	for range count {
		batch.Timestamps = append(batch.Timestamps, timestamp)
		batch.Payload = segment.AppendRecord(batch.Payload, []*samsav1.Header{{Name: []byte("n")}}, []byte("body"))
	}
	state.ID, state.Tail, state.LastTimestamp, state.LastIDMillis = id, state.Tail+stream.SeqNum(count), timestamp, timestamp
	w.tails[id] = state
	return batch
}

// take moves the shard to another log, which may already have slots.
func (w *world) take(to stream.Incarnation) {
	ref := segment.StateRef{Shard: testShard, Epoch: w.owner.Epoch + 1, Slot: w.next[w.owner.Owner]}
	state := segment.State{Shard: ref.Shard, Epoch: ref.Epoch, Slot: ref.Slot}
	for id, s := range w.tails {
		if id != testID(99) {
			state.Streams = append(state.Streams, s)
		}
	}
	w.put(segment.StateKey(ref.Shard, ref.Epoch, ref.Slot), state.Encode())
	w.states = append(w.states, ref)
	w.owner = segment.ChainEntry{Shard: testShard, Epoch: w.owner.Epoch + 1, Owner: to, Window: window,
		FirstSlot: w.next[to], PredecessorEnd: w.next[w.owner.Owner], State: &ref}
	w.put(segment.ChainKey(testShard, w.owner.Epoch), w.owner.Encode())
}

func (w *world) dropStates(keep int) {
	for len(w.states) > keep {
		ref := w.states[0]
		require.NoError(w.t, w.store.Delete(context.Background(), segment.StateKey(ref.Shard, ref.Epoch, ref.Slot)))
		w.states = w.states[1:]
	}
}

func (w *world) target(id stream.ID, known bool) Target {
	target := Target{Shard: testShard, Stream: id}
	if known {
		target.Known = Durable{Epoch: w.owner.Epoch, Log: w.owner.Owner, End: w.next[w.owner.Owner]}
	}
	return target
}

func (w *world) locator() *Locator {
	return NewLocator(w.faults, LocatorConfig{FooterCacheBytes: 4 << 10, StateCacheBytes: 4 << 10, InflightBytes: 100 << 10, Parallel: 3})
}

// from is the blocks of the model whose first one is the first to satisfy ok.
func (w *world) from(id stream.ID, ok func(Block) bool) []Block {
	blocks := w.blocks[id]
	for len(blocks) > 0 && !ok(blocks[0]) {
		blocks = blocks[1:]
	}
	return blocks
}

func requirePrefix(t require.TestingT, want, got []Block) {
	require.LessOrEqual(t, len(got), len(want))
	if len(want) > 0 {
		require.NotEmpty(t, got)
		require.Equal(t, want[:len(got)], got)
	}
}

func randomWorld(t *rapid.T, tb testing.TB) *world {
	w := newWorld(tb)
	logs := []stream.Incarnation{w.owner.Owner, stream.NewIncarnation(), stream.NewIncarnation()}
	timestamp := uint64(1)
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		timestamp += uint64(rapid.IntRange(0, 2).Draw(t, "later"))
		if rapid.IntRange(0, 7).Draw(t, "take") == 0 {
			w.take(rapid.SampledFrom(logs).Draw(t, "to"))
			continue
		}
		w.write(timestamp, map[stream.ID]int{
			testID(0): rapid.IntRange(0, 3).Draw(t, "dense"),
			testID(1): max(0, rapid.IntRange(-8, 2).Draw(t, "sparse")),
		})
	}
	w.dropStates(rapid.IntRange(0, 3).Draw(t, "keep states"))
	return w
}

func TestLocator_FindsEveryRecordOfEveryPart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := randomWorld(rt, t)
		known := rapid.Bool().Draw(rt, "durable slot known")
		l := w.locator()
		for n := range 2 {
			target := w.target(testID(n), known)
			tail := w.tails[testID(n)].Tail
			for seq := range tail + 2 {
				got, err := l.Find(t.Context(), target, seq, 150)
				require.NoError(rt, err)
				requirePrefix(rt, w.from(testID(n), func(b Block) bool { return b.Next() > seq }), got)
			}
			for at := range w.tails[testID(n)].LastTimestamp + 2 {
				got, err := l.FindTimestamp(t.Context(), target, at, 150)
				require.NoError(rt, err)
				requirePrefix(rt, w.from(testID(n), func(b Block) bool { return b.LastTimestamp >= at }), got)
			}
		}
	})
}

func TestLocator_KnowsNothingOfAShardThatWasNeverOwned(t *testing.T) {
	l := NewLocator(objstore.NewMem(), DefaultLocatorConfig())

	blocks, err := l.Find(t.Context(), Target{Shard: 1, Stream: testID(1)}, 0, 1)

	require.NoError(t, err)
	require.Empty(t, blocks)
}

func TestLocator_DoesNotTrustSlotsAboveAHole(t *testing.T) {
	w := newWorld(t)
	for range 6 {
		w.write(1, map[stream.ID]int{testID(0): 1})
	}
	require.NoError(t, w.store.Delete(t.Context(), segment.SlotKey(w.owner.Owner, 4)))

	blocks, err := w.locator().Find(t.Context(), w.target(testID(0), false), 0, 1<<20)

	require.NoError(t, err)
	require.Len(t, blocks, 4)
}

func TestLocator_CallsAMissingSlotBelowTheEndDamage(t *testing.T) {
	w := newWorld(t)
	for range 6 {
		w.write(1, map[stream.ID]int{testID(0): 1})
	}
	w.take(stream.NewIncarnation())
	hole := segment.SlotKey(w.from(testID(0), func(b Block) bool { return b.First == 3 })[0].Log, 3)
	require.NoError(t, w.store.Delete(t.Context(), hole))

	_, err := w.locator().Find(t.Context(), w.target(testID(0), true), 3, 1)

	var damage *DamageError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, hole, damage.Key)
	require.True(t, Missing(err))
	require.False(t, damage.Collected)

	parts := strings.Split(damage.Key, "/")
	w.put(strings.Join([]string{parts[0], parts[1], "gone"}, "/"), segment.EncodeEnvelope(segment.KindGone, nil))
	_, err = w.locator().Find(t.Context(), w.target(testID(0), true), 3, 1)
	require.ErrorAs(t, err, &damage)
	require.True(t, damage.Collected, "it went by the rules")
}

func TestLocator_ReadsAgainWhatCameDamaged(t *testing.T) {
	w := newWorld(t)
	w.write(1, map[stream.ID]int{testID(0): 1})
	w.faults.Add(faulty.Rule{Op: objstore.OpGet, Prefix: segment.SlotKey(w.owner.Owner, 0), Fault: faulty.Truncate()})

	blocks, err := w.locator().Find(t.Context(), w.target(testID(0), true), 0, 1)

	require.NoError(t, err)
	require.Len(t, blocks, 1)
}

// A log whose last slots nobody has sealed keeps them, though the logs after it have
// been collected and the states before those are gone.
func TestFind_PassesOverCollectedLogsToOlderOnesThatStand(t *testing.T) {
	w := newWorld(t)
	id := testID(1)
	w.write(1, map[stream.ID]int{id: 3})
	for range 3 {
		w.take(stream.NewIncarnation())
		w.write(2, map[stream.ID]int{id: 2})
	}
	for _, b := range w.blocks[id][1:3] {
		require.NoError(t, w.store.Delete(t.Context(), segment.SlotKey(b.Log, b.Slot)))
	}
	w.dropStates(1)
	got, err := w.locator().Find(t.Context(), w.target(id, true), 1, 1<<20)
	require.NoError(t, err)
	require.Equal(t, w.blocks[id][:1], got)
	got, err = w.locator().FindTimestamp(t.Context(), w.target(id, true), 1, 1<<20)
	require.NoError(t, err)
	require.Equal(t, w.blocks[id][:1], got)
	_, err = w.locator().Find(t.Context(), w.target(id, true), 4, 1<<20)
	require.True(t, Missing(err), "what was in a collected log is not found: %v", err)
	got, err = w.locator().Find(t.Context(), w.target(id, true), 7, 1<<20)
	require.NoError(t, err)
	require.Equal(t, w.blocks[id][3:], got)
}

func TestFind_SearchesALongLogForARareStream(t *testing.T) {
	w := newWorld(t)
	common, rare := testID(1), testID(2)
	for range 300 {
		w.write(1, map[stream.ID]int{common: 1})
	}
	w.write(2, map[stream.ID]int{rare: 1})
	for range window {
		w.write(3, map[stream.ID]int{common: 1})
	}
	l := NewLocator(w.store, LocatorConfig{FooterCacheBytes: 1 << 20, StateCacheBytes: 1 << 20, Parallel: 1})
	blocks, err := l.Find(t.Context(), Target{Shard: testShard, Stream: rare}, 0, 1)
	require.NoError(t, err)
	require.Equal(t, w.blocks[rare], blocks)
}

func TestLocator_ReadsNoMoreFootersAtOnceThanItHasMemoryFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 20 {
			w.write(1, map[stream.ID]int{testID(0): 1})
		}
		const fits = 3
		l := NewLocator(w.faults, LocatorConfig{FooterCacheBytes: 1 << 20, Parallel: 10, InflightBytes: fits * footerWeight * leastFooterGuess})
		answer := make(chan struct{})
		w.faults.Add(faulty.Rule{Op: objstore.OpGet, Times: -1, Fault: faulty.Until(answer)})
		var group sync.WaitGroup
		for call := range stream.Slot(2) {
			group.Go(func() {
				window, err := l.footers.window(t.Context(), w.owner.Owner, 10*call, 10)
				require.NoError(t, err)
				require.Len(t, window, 10)
			})
		}
		synctest.Wait()
		require.Equal(t, fits, w.faults.Calls(objstore.OpGet))
		close(answer)
		group.Wait()
		require.Equal(t, 20, w.faults.Calls(objstore.OpGet))
	})
}
