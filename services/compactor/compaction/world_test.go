package compaction

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

const (
	testShards = 3
	testWindow = 3
	testGrace  = time.Minute
	testHold   = time.Hour // Options.Abandon
)

// world is logs as writers leave them, and a model of what was acknowledged.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	store   *guard
	index   readable
	now     time.Time
	options Options

	logs    []*worldLog
	owner   map[stream.Shard]*worldLog
	epoch   map[stream.Shard]stream.Epoch
	head    map[stream.Shard]segment.ChainEntry
	handed  map[stream.Shard]stream.Slot       // where the parts end that their owners have let go
	putting map[stream.Shard]*segment.StateRef // states whose puts have not returned
	named   map[stream.Shard]segment.StateRef  // states that footers name
	streams []*worldStream

	deadBuckets []stream.ID
}

type worldLog struct {
	id     stream.Incarnation
	next   stream.Slot
	sealed bool
}

type worldStream struct {
	id, bucket stream.ID
	shard      stream.Shard
	records    []worldRecord
	trim       stream.SeqNum
	opened     bool
	dead       bool
}

type worldRecord struct {
	timestamp, idMillis uint64
	body                string
}

func newWorld(t testing.TB, seed uint64, index func(now func() time.Time) readable) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_790_000_000, 0),
		owner: map[stream.Shard]*worldLog{}, epoch: map[stream.Shard]stream.Epoch{}, head: map[stream.Shard]segment.ChainEntry{},
		handed: map[stream.Shard]stream.Slot{}, putting: map[stream.Shard]*segment.StateRef{}, named: map[stream.Shard]segment.StateRef{},
	}
	w.store = &guard{Mem: objstore.NewMem(), w: w, modified: map[string]time.Time{}, drained: map[stream.Incarnation]time.Time{}, dead: map[segment.ChunkID]time.Time{}}
	if index != nil {
		w.index = index(func() time.Time { return w.now })
	}
	w.options = Options{
		Shards: testShards, JobBytes: 4000, JobSlots: 5, ChunkBytes: 600, Grace: testGrace, Abandon: testHold, Parallel: 1,
		Now: func() time.Time { return w.now }, Mine: func(uint32) bool { return true },
	}
	for n := range 6 {
		w.streams = append(w.streams, &worldStream{id: w.uuid(), bucket: stream.ID{byte(n % 2), 1}, shard: stream.Shard(n % testShards)})
	}
	log := w.newLog()
	for shard := range stream.Shard(testShards) {
		w.take(shard, log)
	}
	return w
}

// readable is what readers use of an index, too.
type readable interface {
	Index
	Find(ctx context.Context, id stream.ID, from stream.SeqNum, limit int) ([]chunkindex.Chunk, error)
}

func memIndex(now func() time.Time) readable { return chunkindex.NewMem(now) }

func (w *world) uuid() (id stream.ID) {
	for i := range id {
		id[i] = byte(w.rng.UintN(256))
	}
	return id
}

func (w *world) newLog() *worldLog {
	l := &worldLog{id: stream.Incarnation(w.uuid())}
	w.logs = append(w.logs, l)
	return l
}

func (w *world) put(key string, body []byte) {
	require.NoError(w.t, w.store.PutIfAbsent(context.Background(), key, body))
}

// take gives a shard to a log's writer.
func (w *world) take(shard stream.Shard, to *worldLog) {
	entry := segment.ChainEntry{Shard: shard, Epoch: w.epoch[shard], Owner: to.id, Window: testWindow, FirstSlot: to.next}
	if entry.Epoch > 0 {
		entry.PredecessorEnd = w.ends(shard)[0]
		entry.State = w.putTaken(shard, entry.PredecessorEnd)
	}
	w.put(segment.ChainKey(shard, entry.Epoch), entry.Encode())
	w.epoch[shard]++
	w.owner[shard], w.head[shard] = to, entry
	delete(w.handed, shard)
	delete(w.putting, shard)
	delete(w.named, shard)
}

// ends is where the newest part may come to be taken to end: where its owner says
// that it let go, if it lives to tell, and else where its log ends.
func (w *world) ends(shard stream.Shard) []stream.Slot {
	head, log := w.head[shard], w.owner[shard]
	all := []stream.Slot{max(log.next, head.FirstSlot)}
	if end, ok := w.handed[shard]; ok {
		all = append(all, end)
		w.rng.Shuffle(2, func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all
}

// putTaken puts the state that a takeover of the newest part begins with.
func (w *world) putTaken(shard stream.Shard, end stream.Slot) *segment.StateRef {
	ref := segment.StateRef{Shard: shard, Epoch: w.epoch[shard] - 1, Slot: end}
	w.putState(ref)
	return &ref
}

// putState puts what a shard's writers have acknowledged so far; it may stand.
func (w *world) putState(ref segment.StateRef) {
	state := segment.State{Shard: ref.Shard, Epoch: ref.Epoch, Slot: ref.Slot, BucketTombstones: w.deadBuckets}
	for _, x := range w.streams {
		switch {
		case x.shard != ref.Shard || !x.opened:
		case x.dead:
			state.Tombstones = append(state.Tombstones, x.id)
		default:
			state.Streams = append(state.Streams, segment.StreamState{
				ID: x.id, BucketID: x.bucket, Trim: x.trim, Tail: stream.SeqNum(len(x.records)),
			})
		}
	}
	err := w.store.PutIfAbsent(context.Background(), ref.Key(), state.Encode())
	require.True(w.t, err == nil || errors.Is(err, objstore.ErrExists), "%v", err)
}

// keepState does some of what an owner does about its shard's states.
func (w *world) keepState(shard stream.Shard) {
	owner := w.owner[shard]
	_, handed := w.handed[shard]
	switch ref := w.putting[shard]; {
	case owner.sealed: // somebody took the shard, but for the entry
		w.putTaken(shard, w.ends(shard)[0])
	case ref != nil && w.rng.IntN(4) == 0:
		w.putting[shard] = nil // the put has failed, for all that the owner knows
	case ref != nil:
		w.named[shard], w.putting[shard] = *ref, nil
	case handed:
	case w.rng.IntN(6) == 0:
		w.handed[shard] = owner.next
	default:
		ref := segment.StateRef{Shard: shard, Epoch: w.epoch[shard] - 1, Slot: owner.next}
		w.putState(ref)
		w.putting[shard] = &ref
	}
}

// owns tells that the log's writer accepts what comes for a shard.
func (w *world) owns(l *worldLog, shard stream.Shard) bool {
	_, handed := w.handed[shard]
	return w.owner[shard] == l && !handed
}

// grow does some of what writers do.
func (w *world) grow(steps int) {
	for range steps {
		switch w.rng.IntN(15) {
		case 0:
			w.take(stream.Shard(w.rng.IntN(testShards)), w.someLive())
		case 1:
			w.seal(w.someLive())
		case 2:
			w.change()
		case 3, 4, 5:
			w.keepState(stream.Shard(w.rng.IntN(testShards)))
		default:
			w.write(w.someLive())
		}
		w.now = w.now.Add(time.Second)
	}
}

func (w *world) someLive() *worldLog {
	var live []*worldLog
	for _, l := range w.logs {
		if !l.sealed {
			live = append(live, l)
		}
	}
	if len(live) == 0 || len(live) < 3 && w.rng.IntN(6) == 0 {
		return w.newLog()
	}
	return live[w.rng.IntN(len(live))]
}

// seal ends a log; its shards go elsewhere. What stands above the seal was never
// acknowledged.
func (w *world) seal(l *worldLog) {
	if w.rng.IntN(2) == 0 {
		s := w.segment(l, l.next+1)
		for _, x := range w.streams {
			if w.owns(l, x.shard) && !x.dead && x.opened {
				s.Batches = append(s.Batches, w.batch(x, "never acknowledged"))
			}
		}
		w.put(segment.SlotKey(l.id, l.next+1), s.Encode())
	}
	w.put(segment.SlotKey(l.id, l.next), segment.EncodeSeal(segment.Header{Log: l.id, Slot: l.next, Window: testWindow}, l.id))
	l.sealed = true
	for shard := range stream.Shard(testShards) {
		// Now and then nobody takes the shard for a while.
		if w.owner[shard] == l && w.rng.IntN(4) > 0 {
			w.take(shard, w.someLive())
		}
	}
}

// settle gives every shard a living owner.
func (w *world) settle() {
	for shard := range stream.Shard(testShards) {
		if w.owner[shard].sealed {
			w.take(shard, w.someLive())
		}
	}
}

func (w *world) segment(l *worldLog, slot stream.Slot) *segment.Segment {
	s := &segment.Segment{Header: segment.Header{Log: l.id, Slot: slot, Window: testWindow}}
	for shard := range stream.Shard(testShards) {
		if ref, ok := w.named[shard]; ok && w.owner[shard] == l {
			s.States = append(s.States, ref)
		}
	}
	return s
}

func (w *world) batch(x *worldStream, body string) segment.Batch {
	at := uint64(w.now.UnixMilli())
	return segment.Batch{
		Shard: x.shard, Epoch: w.epoch[x.shard] - 1, Stream: x.id, First: stream.SeqNum(len(x.records)), IDMillis: at,
		Timestamps: []uint64{at}, Payload: segment.AppendRecord(nil, nil, []byte(body)),
	}
}

func (w *world) write(l *worldLog) {
	s := w.segment(l, l.next)
	for _, x := range w.streams {
		if !w.owns(l, x.shard) || x.dead || w.rng.IntN(3) == 0 {
			continue
		}
		if !x.opened {
			x.opened = true
			s.Entries = append(s.Entries, segment.Entry{Shard: x.shard, Epoch: w.epoch[x.shard] - 1, Kind: segment.EntryOpen, Stream: x.id, BucketID: x.bucket})
		}
		for range w.rng.IntN(3) {
			body := fmt.Sprintf("%s-%d-%0*d", x.id, len(x.records), w.rng.IntN(120), 0)
			b := w.batch(x, body)
			s.Batches = append(s.Batches, b)
			x.records = append(x.records, worldRecord{b.Timestamps[0], b.IDMillis, body})
		}
	}
	w.append(l, s)
}

func (w *world) append(l *worldLog, s *segment.Segment) {
	w.put(segment.SlotKey(l.id, l.next), s.Encode())
	l.next++
}

// change trims or ends a stream, or a bucket.
func (w *world) change() {
	x := w.streams[w.rng.IntN(len(w.streams))]
	l := w.owner[x.shard]
	if x.dead || l.sealed || !x.opened || !w.owns(l, x.shard) {
		return
	}
	s := w.segment(l, l.next)
	e := segment.Entry{Shard: x.shard, Epoch: w.epoch[x.shard] - 1, Stream: x.id}
	switch w.rng.IntN(8) {
	case 0:
		e.Kind, x.dead = segment.EntryTombstone, true
	case 1:
		if x.bucket[0] == 0 {
			return // one bucket stays
		}
		for _, y := range w.streams {
			if y.bucket == x.bucket && !w.owns(l, y.shard) {
				return // would take an entry in every shard
			}
		}
		for _, y := range w.streams {
			y.dead = y.dead || y.bucket == x.bucket
		}
		w.deadBuckets = append(w.deadBuckets, x.bucket)
		e = segment.Entry{Shard: x.shard, Epoch: e.Epoch, Kind: segment.EntryTombstoneBucket, BucketID: x.bucket}
	default:
		e.Kind = segment.EntryTrim
		x.trim += stream.SeqNum(w.rng.IntN(len(x.records) - int(x.trim) + 1))
		if e.Trim = x.trim; e.Trim == 0 {
			return
		}
	}
	s.Entries = append(s.Entries, e)
	w.append(l, s)
}

func (w *world) compactor(store objstore.Store, index Index) *Compactor {
	return New(store, index, w.options, zap.NewNop(), NewMetrics(nil))
}

// rest lets everything come to its end without faults.
func (w *world) rest() {
	w.settle()
	c := w.compactor(w.store, w.index)
	for range 4 {
		w.now = w.now.Add(2 * testHold)
		require.NoError(w.t, c.Compact(context.Background()))
		require.NoError(w.t, c.Collect(context.Background()))
	}
}

// check demands that every acknowledged record which was not trimmed or deleted can
// be read exactly once.
func (w *world) check() {
	ctx := context.Background()
	logs, err := w.index.Logs(ctx)
	require.NoError(w.t, err)
	marks := map[stream.Incarnation]chunkindex.Log{}
	for _, l := range logs {
		marks[l.Log] = l
	}
	found := map[stream.ID]map[stream.SeqNum]int{}
	byID := map[stream.ID]*worldStream{}
	for _, x := range w.streams {
		found[x.id], byID[x.id] = map[stream.SeqNum]int{}, x
		chunks, err := w.index.Find(ctx, x.id, 0, 1<<20)
		require.NoError(w.t, err)
		for _, c := range chunks {
			object, err := w.store.Get(ctx, segment.ChunkKey(c.Object), objstore.Bytes(int64(c.Offset), int64(c.Stored)))
			require.NoError(w.t, err, "an object that a chunk names")
			w.count(x, c.BlockRef, object.Body, found[x.id])
		}
	}
	for _, l := range w.logs {
		mark, known := marks[l.id]
		if known && mark.Gone || !known && l.next > 0 && w.collected(l) {
			continue
		}
		for slot := mark.Watermark; slot < l.next; slot++ {
			object, err := w.store.Get(ctx, segment.SlotKey(l.id, slot), objstore.Whole)
			require.NoError(w.t, err, "a slot above the watermark")
			footer, err := segment.Verify(object.Body)
			require.NoError(w.t, err)
			for _, section := range footer.Sections {
				for _, s := range section.Streams {
					for _, ref := range s.Blocks {
						w.count(byID[s.Stream], ref, object.Body[ref.Offset:][:ref.Stored], found[s.Stream])
					}
				}
			}
		}
	}
	for _, x := range w.streams {
		for seq := range stream.SeqNum(len(x.records)) {
			n := found[x.id][seq]
			require.LessOrEqual(w.t, n, 1, "stream %s: seq_num %d is doubled", x.id, seq)
			if !x.dead && seq >= x.trim {
				require.Equal(w.t, 1, n, "stream %s: seq_num %d is lost", x.id, seq)
			}
		}
	}
}

// collected tells that a log's slots went by the rules, which guard checks.
func (w *world) collected(l *worldLog) bool {
	_, err := w.store.Head(context.Background(), segment.GoneKey(l.id))
	return err == nil
}

func (w *world) count(x *worldStream, ref segment.BlockRef, stored []byte, found map[stream.SeqNum]int) {
	block, err := segment.DecodeBlock(x.id, ref, stored)
	require.NoError(w.t, err)
	for r := range block.All() {
		require.Less(w.t, int(r.SeqNum), len(x.records), "never acknowledged")
		require.Equal(w.t, x.records[r.SeqNum], worldRecord{r.Timestamp, r.IDMillis, string(r.Body)})
		found[r.SeqNum]++
	}
}

// checkRebuilt demands that the index is what objects alone give.
func (w *world) checkRebuilt() {
	ctx := context.Background()
	var objects []*segment.Chunks
	var ids []stream.ID
	for info, err := range w.store.Mem.List(ctx, segment.ChunkPrefix, "") {
		require.NoError(w.t, err)
		object, err := w.store.Get(ctx, info.Key, objstore.Whole)
		require.NoError(w.t, err)
		about, err := segment.VerifyChunks(object.Body, nil)
		require.NoError(w.t, err)
		objects = append(objects, about)
	}
	var have []chunkindex.Chunk
	for _, x := range w.streams {
		ids = append(ids, x.id)
		chunks, err := w.index.Find(ctx, x.id, 0, 1<<20)
		require.NoError(w.t, err)
		have = append(have, chunks...)
	}
	limits, err := w.index.Limits(ctx, ids)
	require.NoError(w.t, err)
	rebuilt := chunkindex.Rebuild(objects, limits)
	require.ElementsMatch(w.t, rebuilt.Chunks, have)
	for _, o := range rebuilt.Objects {
		rows, err := w.index.Objects(ctx, []segment.ChunkID{o.ID})
		require.NoError(w.t, err)
		require.Equal(w.t, []chunkindex.Object{o}, rows)
	}
	logs, err := w.index.Logs(ctx)
	require.NoError(w.t, err)
	for _, l := range logs {
		require.LessOrEqual(w.t, rebuilt.Watermarks[l.Log], l.Watermark)
	}
}

// checkCollected demands that what is not needed is gone.
func (w *world) checkCollected() {
	ctx := context.Background()
	owners := map[*worldLog]bool{}
	for _, l := range w.owner {
		owners[l] = true
	}
	for _, l := range w.logs {
		if !l.sealed || owners[l] {
			continue
		}
		for slot := range l.next {
			_, err := w.store.Head(ctx, segment.SlotKey(l.id, slot))
			require.ErrorIs(w.t, err, objstore.ErrNotFound, "a slot of a log that nobody needs")
		}
	}
	for info, err := range w.store.Mem.List(ctx, segment.ChunkPrefix, "") {
		require.NoError(w.t, err)
		id, ok := segment.ParseChunkKey(info.Key)
		require.True(w.t, ok)
		rows, err := w.index.Objects(ctx, []segment.ChunkID{id})
		require.NoError(w.t, err)
		require.Len(w.t, rows, 1, "no orphans")
		require.Equal(w.t, chunkindex.StateLive, rows[0].State)
		require.Positive(w.t, rows[0].LiveBytes)
		require.GreaterOrEqual(w.t, 2*rows[0].LiveBytes, rows[0].Bytes, "half dead objects are rewritten")
	}
}

// guard is the store; it refuses to see a rule of deletion broken.
type guard struct {
	*objstore.Mem
	w        *world
	modified map[string]time.Time
	drained  map[stream.Incarnation]time.Time // since when
	dead     map[segment.ChunkID]time.Time
}

func (g *guard) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	err := g.Mem.PutIfAbsent(ctx, key, body)
	if err == nil {
		g.modified[key] = g.w.now
	}
	return err
}

// observe notes since when things may go. It is called after every call on the index.
func (g *guard) observe() {
	ctx := context.Background()
	logs, _ := g.w.index.Logs(ctx)
	for _, l := range logs {
		if _, seen := g.drained[l.Log]; !seen && l.Drained() {
			g.drained[l.Log] = g.w.now
		}
	}
	var ids []segment.ChunkID
	status, _ := g.w.index.Status(ctx)
	for id := range status.Last + 1 {
		ids = append(ids, id)
	}
	objects, _ := g.w.index.Objects(ctx, ids)
	for _, o := range objects {
		if o.State == chunkindex.StateLive && o.LiveBytes > 0 {
			delete(g.dead, o.ID)
		} else if _, seen := g.dead[o.ID]; !seen {
			g.dead[o.ID] = g.w.now
		}
	}
}

func (g *guard) Delete(ctx context.Context, key string) error {
	t := g.w.t
	if id, ok := segment.ParseChunkKey(key); ok {
		rows, err := g.w.index.Objects(ctx, []segment.ChunkID{id})
		require.NoError(t, err)
		require.Len(t, rows, 1, "an object is deleted only while its row says so")
		require.Equal(t, chunkindex.StateRemoved, rows[0].State)
		require.False(t, g.w.now.Before(g.dead[id].Add(g.w.options.Grace)), "grace")
		return g.Mem.Delete(ctx, key)
	}
	if ref, ok := segment.ParseStateKey(key); ok {
		require.NotContains(t, g.w.neededStates(ref.Shard), ref, "a takeover needs it")
		require.False(t, g.w.now.Before(g.modified[key].Add(g.w.options.Grace)), "grace")
		return g.Mem.Delete(ctx, key)
	}
	require.True(t, strings.HasPrefix(key, segment.LogPrefix), "%s must never be deleted", key)
	for _, l := range g.w.logs {
		if !strings.HasPrefix(key, segment.LogPrefix+l.id.String()) {
			continue
		}
		require.True(t, l.sealed, "slots of unsealed logs stay")
		require.Less(t, key, segment.SlotKey(l.id, l.next), "seals stay")
		require.True(t, g.w.collected(l), "the gone mark comes first")
		require.False(t, g.w.now.Before(g.drained[l.id].Add(g.w.options.Grace)), "grace")
		for _, owner := range g.w.owner {
			require.NotSame(t, l, owner, "a newest chain entry names the log")
		}
		return g.Mem.Delete(ctx, key)
	}
	require.Fail(t, "unknown key", key)
	return nil
}

func (g *guard) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		for info, err := range g.Mem.List(ctx, prefix, after) {
			info.Modified = g.modified[info.Key]
			if !yield(info, err) {
				return
			}
		}
	}
}

// neededStates is what a takeover from a shard's head may read, or name in the entry
// that it puts, wherever it takes the part to end.
func (w *world) neededStates(shard stream.Shard) (all []segment.StateRef) {
	head := w.head[shard]
	if head.State != nil {
		all = append(all, *head.State)
	}
	for _, end := range w.ends(shard) {
		all = append(all, segment.StateRef{Shard: shard, Epoch: head.Epoch, Slot: end})
		if end <= head.FirstSlot {
			continue
		}
		object, err := w.store.Get(context.Background(), segment.SlotKey(head.Owner, end-1), objstore.Whole)
		require.NoError(w.t, err)
		footer, err := segment.Verify(object.Body)
		require.NoError(w.t, err)
		for _, ref := range footer.States {
			if ref.Shard == shard && ref.Epoch == head.Epoch {
				all = append(all, ref)
			}
		}
	}
	return all
}

// checkTakeable demands that every shard can be taken, and that few states are kept.
func (w *world) checkTakeable() {
	kept := map[stream.Shard]int{}
	stand := map[segment.StateRef]bool{}
	for info, err := range w.store.Mem.List(context.Background(), segment.StatesPrefix, "") {
		require.NoError(w.t, err)
		ref, ok := segment.ParseStateKey(info.Key)
		require.True(w.t, ok)
		kept[ref.Shard]++
		stand[ref] = true
	}
	for shard, head := range w.head {
		for _, ref := range w.neededStates(shard) {
			// Where it may end is not yet put.
			require.True(w.t, stand[ref] || ref.Epoch == head.Epoch && slices.Contains(w.ends(shard), ref.Slot), ref.Key())
		}
		require.LessOrEqual(w.t, kept[shard], mostStates, "shard %d", shard)
	}
}

// mostStates are kept of a shard: the one that its head names, two that footers
// name, and one or two that they don't, or not yet, around each.
const mostStates = 8

// blindStore lists nothing, as a store would that forgets what it has.
type blindStore struct{ *objstore.Mem }

func (blindStore) List(context.Context, string, string) iter.Seq2[objstore.Info, error] {
	return func(func(objstore.Info, error) bool) {}
}

// checkStored demands that every record that has to be kept stands in the store,
// whatever any index says.
func (w *world) checkStored() {
	ctx := context.Background()
	found := map[stream.ID]map[stream.SeqNum]int{}
	byID := map[stream.ID]*worldStream{}
	for _, x := range w.streams {
		found[x.id], byID[x.id] = map[stream.SeqNum]int{}, x
	}
	for info, err := range w.store.Mem.List(ctx, segment.ChunkPrefix, "") {
		require.NoError(w.t, err)
		object, err := w.store.Get(ctx, info.Key, objstore.Whole)
		require.NoError(w.t, err)
		_, err = segment.VerifyChunks(object.Body, func(b *segment.Block) {
			for r := range b.All() {
				require.Equal(w.t, byID[b.Stream()].records[r.SeqNum].body, string(r.Body))
				found[b.Stream()][r.SeqNum]++
			}
		})
		require.NoError(w.t, err)
	}
	for _, l := range w.logs {
		for slot := range l.next {
			object, err := w.store.Get(ctx, segment.SlotKey(l.id, slot), objstore.Whole)
			if err != nil {
				continue
			}
			footer, err := segment.Verify(object.Body)
			require.NoError(w.t, err)
			for _, section := range footer.Sections {
				for _, s := range section.Streams {
					for _, ref := range s.Blocks {
						w.count(byID[s.Stream], ref, object.Body[ref.Offset:][:ref.Stored], found[s.Stream])
					}
				}
			}
		}
	}
	for _, x := range w.streams {
		for seq := x.trim; seq < stream.SeqNum(len(x.records)) && !x.dead; seq++ {
			require.Positive(w.t, found[x.id][seq], "stream %s: seq_num %d is lost", x.id, seq)
		}
	}
}

// leaveBehind has c work, and returns a backup of the index from which it went on.
func (w *world) leaveBehind(c *Compactor, index *chunkindex.Mem) (backup *chunkindex.Mem) {
	w.t.Helper()
	work := func() {
		w.grow(10)
		require.NoError(w.t, c.Compact(w.t.Context()))
		w.now = w.now.Add(testGrace)
		require.NoError(w.t, c.Collect(w.t.Context()))
	}
	work()
	backup = index.Backup()
	work()
	work()
	return backup
}
