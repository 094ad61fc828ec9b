package chunkindex_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

// index is what DB and Mem have in common. The compactor's own tests run on both, too.
type index interface {
	Enter(context.Context) (func(), error)
	Exclude(context.Context) (func(), error)
	Replace(context.Context, chunkindex.Rebuilt) error
	Status(context.Context) (chunkindex.Status, error)
	Halt(context.Context, string) error
	Logs(context.Context) ([]chunkindex.Log, error)
	Drained(context.Context, time.Duration) ([]chunkindex.Log, error)
	Heads(context.Context) (map[stream.Shard]stream.Epoch, error)
	Discover(context.Context, []stream.Incarnation, map[stream.Shard]stream.Epoch) error
	Seal(context.Context, stream.Incarnation, stream.Slot) error
	MarkGone(context.Context, stream.Incarnation) error
	Collected(context.Context, stream.Incarnation) error
	Begin(context.Context, chunkindex.Job) (segment.ChunkID, error)
	Publish(context.Context, chunkindex.Publication) error
	Abandoned(context.Context, time.Duration) ([]chunkindex.Object, error)
	Dead(context.Context, time.Duration) ([]chunkindex.Object, error)
	Objects(context.Context, []segment.ChunkID) ([]chunkindex.Object, error)
	Page(context.Context, segment.ChunkID, int) ([]chunkindex.Object, error)
	ChunksIn(context.Context, []segment.ChunkID) ([]chunkindex.Chunk, error)
	Miscounted(context.Context, segment.ChunkID, segment.ChunkID) ([]chunkindex.Miscount, error)
	Remove(context.Context, segment.ChunkID) (bool, error)
	Forget(context.Context, segment.ChunkID) error
	Tails(context.Context, []chunkindex.Span) ([]chunkindex.Chunk, error)
	Still(context.Context, []chunkindex.Chunk) ([]chunkindex.Chunk, error)
	Limits(context.Context, []stream.ID) (map[stream.ID]chunkindex.Limit, error)
	Cover(context.Context, []chunkindex.Span) ([]segment.ChunkID, []chunkindex.Span, error)
	Drop(context.Context, int) (int, error)
	Find(context.Context, stream.ID, stream.SeqNum, int) ([]chunkindex.Chunk, error)
	FindTimestamp(context.Context, stream.ID, uint64, int) ([]chunkindex.Chunk, error)
}

func onBoth(t *testing.T, test func(t *testing.T, i index)) {
	t.Run("mem", func(t *testing.T) { test(t, chunkindex.NewMem(time.Now)) })
	t.Run("postgres", func(t *testing.T) { test(t, newDB(t)) })
}

func newDB(t *testing.T) *chunkindex.DB {
	pool := catalogtest.EmptyPool(t)
	require.NoError(t, chunkindex.Migrate(t.Context(), pool))
	require.NoError(t, chunkindex.Migrate(t.Context(), pool), "again")
	return chunkindex.New(pool, 0)
}

var (
	logA = stream.Incarnation{0xa}
	idA  = stream.ID{1}
	idB  = stream.ID{2}
)

// chunk holds the records [10n, 10n+10) of a stream, with ever later times.
func chunk(id stream.ID, object segment.ChunkID, n uint64) chunkindex.Chunk {
	return chunkindex.Chunk{Stream: id, Object: object, BlockRef: segment.BlockRef{
		Offset: 8 + 100*n, Stored: 100, Raw: 4_000_000, Codec: segment.CodecZstd, Checksum: math.MaxUint32,
		First: stream.SeqNum(10 * n), Count: 10, FirstTimestamp: n << 62, LastTimestamp: n<<62 + 1,
	}}
}

// publish makes an object with chunks of slots [from, from+1) of logA.
func publish(t *testing.T, i index, from stream.Slot, p chunkindex.Publication, ns ...uint64) (segment.ChunkID, []chunkindex.Chunk) {
	t.Helper()
	p.Job = chunkindex.Job{Log: logA, From: from, To: from + 1, Sources: []segment.ChunkID{1}}
	id, err := i.Begin(t.Context(), p.Job)
	require.NoError(t, err)
	p.Object = id
	for _, n := range ns {
		p.Chunks = append(p.Chunks, chunk(idA, id, n))
	}
	require.NoError(t, i.Publish(t.Context(), p))
	return id, p.Chunks
}

func TestIndex_PublishesAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, i index) {
		ctx := t.Context()
		require.NoError(t, i.Discover(ctx, []stream.Incarnation{logA, logA}, map[stream.Shard]stream.Epoch{3: 7}))
		require.NoError(t, i.Discover(ctx, nil, map[stream.Shard]stream.Epoch{3: 5}))
		heads, err := i.Heads(ctx)
		require.NoError(t, err)
		require.Equal(t, map[stream.Shard]stream.Epoch{3: 7}, heads)
		first, old := publish(t, i, 0, chunkindex.Publication{}, 0, 1)

		job := chunkindex.Job{Log: logA, From: 1, To: 2}
		id, err := i.Begin(ctx, job)
		require.NoError(t, err)
		require.Greater(t, id, first)
		good := chunkindex.Publication{Object: id, Job: job, Chunks: []chunkindex.Chunk{chunk(idA, id, 1), chunk(idA, id, 2)}, Replaced: old[1:]}
		for name, spoil := range map[string]func(p *chunkindex.Publication){
			"another watermark": func(p *chunkindex.Publication) { p.From = 0 },
			"no such object":    func(p *chunkindex.Publication) { p.Object = 99 },
			"live already":      func(p *chunkindex.Publication) { p.Object = first },
			"overlap":           func(p *chunkindex.Publication) { p.Replaced = nil },
			"replaced already":  func(p *chunkindex.Publication) { p.Replaced = []chunkindex.Chunk{chunk(idA, 99, 1)} },
		} {
			bad := good
			spoil(&bad)
			require.ErrorIs(t, i.Publish(ctx, bad), chunkindex.ErrLost, name)
		}
		abandoned, err := i.Abandoned(ctx, 0)
		require.NoError(t, err)
		require.Equal(t, []chunkindex.Object{{ID: id, State: chunkindex.StatePending, Job: job}}, abandoned)
		require.NoError(t, i.Publish(ctx, good))
		require.ErrorIs(t, i.Publish(ctx, good), chunkindex.ErrLost, "once")

		found, err := i.Find(ctx, idA, 5, 10)
		require.NoError(t, err)
		require.Equal(t, append(old[:1:1], good.Chunks...), found)
		objects, err := i.Objects(ctx, []segment.ChunkID{first, id})
		require.NoError(t, err)
		require.EqualValues(t, 100, objects[0].LiveBytes)
		require.EqualValues(t, 200, objects[1].LiveBytes)
		status, err := i.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, chunkindex.Status{Last: id}, status)
	})
}

func TestIndex_FindsByPositionAndTime(t *testing.T) {
	onBoth(t, func(t *testing.T, i index) {
		ctx := t.Context()
		require.NoError(t, i.Discover(ctx, []stream.Incarnation{logA}, nil))
		_, chunks := publish(t, i, 0, chunkindex.Publication{}, 0, 1, 2, 3)
		for from, want := range map[stream.SeqNum]int{0: 0, 9: 0, 10: 1, 39: 3, 40: 4} {
			got, err := i.Find(ctx, idA, from, 2)
			require.NoError(t, err)
			require.ElementsMatch(t, chunks[want:min(want+2, 4)], got, "from %d", from)
		}
		for at, want := range map[uint64]int{0: 0, 1: 0, 2: 1, 3 << 62: 3, 3<<62 + 1: 3, math.MaxUint64: 4} {
			got, err := i.FindTimestamp(ctx, idA, at, 2)
			require.NoError(t, err)
			require.ElementsMatch(t, chunks[want:min(want+2, 4)], got, "at %d", at)
		}
		tails, err := i.Tails(ctx, []chunkindex.Span{{Stream: idA, First: 25, Next: 30}, {Stream: idB, Next: 9}})
		require.NoError(t, err)
		require.Equal(t, chunks[:3], tails)
		still, err := i.Still(ctx, []chunkindex.Chunk{chunks[1], chunk(idA, 77, 2)})
		require.NoError(t, err)
		require.Equal(t, chunks[1:2], still)
		in, err := i.ChunksIn(ctx, []segment.ChunkID{chunks[0].Object, 1 << 40})
		require.NoError(t, err)
		require.Equal(t, chunks, in)
	})
}

func TestIndex_LetsGoOfWhatIsTrimmedOrDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, i index) {
		ctx := t.Context()
		bucket := stream.ID{0xbb}
		require.NoError(t, i.Discover(ctx, []stream.Incarnation{logA}, nil))
		id, chunks := publish(t, i, 0, chunkindex.Publication{Facts: chunkindex.Facts{
			Opened: []chunkindex.Opening{{Stream: idA, Bucket: bucket}, {Stream: idA, Bucket: bucket}}, Trims: map[stream.ID]stream.SeqNum{idA: 15},
		}}, 0, 1, 3)
		spans := []chunkindex.Span{{Stream: idA, First: 5, Next: 20}, {Stream: idA, First: 12, Next: 35}, {Stream: idB, First: 1, Next: 2}}
		objects, missing, err := i.Cover(ctx, spans)
		require.NoError(t, err)
		require.Equal(t, []segment.ChunkID{id}, objects)
		require.Equal(t, []chunkindex.Span{{Stream: idA, First: 15, Next: 35}, {Stream: idB, First: 1, Next: 2}}, missing)

		looked, err := i.Drop(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, 1, looked)
		found, err := i.Find(ctx, idA, 0, 10)
		require.NoError(t, err)
		require.Equal(t, chunks[1:], found)

		require.NoError(t, i.Publish(ctx, chunkindex.Publication{Job: chunkindex.Job{Log: logA, From: 1, To: 2},
			Facts: chunkindex.Facts{BucketTombstones: []stream.ID{bucket}, Opened: []chunkindex.Opening{{Stream: idB, Bucket: bucket}}}}))
		limits, err := i.Limits(ctx, []stream.ID{idA, idB})
		require.NoError(t, err)
		require.Equal(t, map[stream.ID]chunkindex.Limit{idA: {Trim: 15, Dead: true}, idB: {Dead: true}}, limits)
		_, err = i.Drop(ctx, 10)
		require.NoError(t, err)
		dead, err := i.Dead(ctx, 0)
		require.NoError(t, err)
		require.Len(t, dead, 1)

		removed, err := i.Remove(ctx, id)
		require.NoError(t, err)
		require.True(t, removed)
		removed, err = i.Remove(ctx, id)
		require.NoError(t, err)
		require.False(t, removed)
		require.NoError(t, i.Forget(ctx, id))
		objectsLeft, err := i.Objects(ctx, []segment.ChunkID{id})
		require.NoError(t, err)
		require.Empty(t, objectsLeft)
	})
}

// Neither the sum of an object's live bytes nor the rows of its chunks are trusted
// alone.
func TestIndex_KeepsObjectsThatChunksNameWhateverTheirSumSays(t *testing.T) {
	onBoth(t, func(t *testing.T, i index) {
		ctx := t.Context()
		live := func(id segment.ChunkID, bytes int64) chunkindex.Object {
			return chunkindex.Object{ID: id, State: chunkindex.StateLive, Job: chunkindex.Job{Sources: []segment.ChunkID{1}}, Bytes: 200, LiveBytes: bytes}
		}
		require.NoError(t, i.Replace(ctx, chunkindex.Rebuilt{
			Last:    9,
			Objects: []chunkindex.Object{live(2, 0), live(3, 100), live(4, 0), live(5, 100)},
			Chunks:  []chunkindex.Chunk{chunk(idA, 2, 0), chunk(idA, 3, 1), chunk(idA, 8, 2)},
		}))
		miscounted, err := i.Miscounted(ctx, 0, math.MaxInt64)
		require.NoError(t, err)
		want := []chunkindex.Miscount{
			{ID: 2, State: chunkindex.StateLive, Named: 100}, {ID: 5, State: chunkindex.StateLive, LiveBytes: 100}, {ID: 8, Named: 100},
		}
		require.Equal(t, want, miscounted)
		miscounted, err = i.Miscounted(ctx, 2, 5)
		require.NoError(t, err)
		require.Equal(t, want[1:2], miscounted)
		for id, goes := range map[segment.ChunkID]bool{2: false, 3: false, 4: true} {
			removed, err := i.Remove(ctx, id)
			require.NoError(t, err)
			require.Equal(t, goes, removed, "object %d", id)
		}
	})
}

func TestIndex_ALogGoesOnlyWhenItIsDrained(t *testing.T) {
	onBoth(t, func(t *testing.T, i index) {
		ctx := t.Context()
		require.NoError(t, i.Discover(ctx, []stream.Incarnation{logA}, nil))
		require.ErrorIs(t, i.MarkGone(ctx, logA), chunkindex.ErrLost)
		require.NoError(t, i.Seal(ctx, logA, 1))
		require.NoError(t, i.Seal(ctx, logA, 1))
		var behind *chunkindex.BehindError
		require.ErrorAs(t, i.Seal(ctx, logA, 2), &behind)
		require.ErrorIs(t, i.MarkGone(ctx, logA), chunkindex.ErrLost)
		require.NoError(t, i.Collected(ctx, logA), "has no effect")
		publish(t, i, 0, chunkindex.Publication{}, 0)
		drained, err := i.Drained(ctx, 0)
		require.NoError(t, err)
		require.Equal(t, []chunkindex.Log{{Log: logA, Watermark: 1, Sealed: true, End: 1}}, drained)
		drained, err = i.Drained(ctx, time.Hour)
		require.NoError(t, err)
		require.Empty(t, drained)
		require.NoError(t, i.MarkGone(ctx, logA))
		require.NoError(t, i.Collected(ctx, logA))
		logs, err := i.Logs(ctx)
		require.NoError(t, err)
		require.Empty(t, logs)

		require.NoError(t, i.Halt(ctx, "first"))
		require.NoError(t, i.Halt(ctx, "second"))
		status, err := i.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, "first", status.Behind)
	})
}

func object(id segment.ChunkID, from, to stream.Slot, ns ...uint64) *segment.Chunks {
	o := &segment.Chunks{ID: id, Log: logA, From: from, To: to}
	for _, n := range ns {
		o.Runs = append(o.Runs, segment.ChunkRun{Stream: idA, Blocks: []segment.BlockRef{chunk(idA, id, n).BlockRef}})
	}
	return o
}

func TestRebuild_NewestWinsAndReplacesWhatThereWas(t *testing.T) {
	r := chunkindex.Rebuild([]*segment.Chunks{object(1, 0, 4, 0, 1), object(3, 4, 6, 1, 2), object(9, 8, 9, 5)}, map[stream.ID]chunkindex.Limit{idA: {Trim: 10}})
	require.Equal(t, []chunkindex.Chunk{chunk(idA, 3, 1), chunk(idA, 3, 2), chunk(idA, 9, 5)}, r.Chunks)
	require.Equal(t, map[stream.Incarnation]stream.Slot{logA: 6}, r.Watermarks)
	require.EqualValues(t, 9, r.Last)
	require.Zero(t, r.Objects[0].LiveBytes)
	idC, bucket := stream.ID{3}, stream.ID{0xbb}
	r.Gone = map[stream.Incarnation]stream.Slot{{0xb}: 5, {0xc}: 7}
	r.Collected = map[stream.Incarnation]bool{{0xc}: true}
	r.Facts = chunkindex.Facts{
		Opened: []chunkindex.Opening{{Stream: idC, Bucket: bucket}}, BucketTombstones: []stream.ID{bucket},
		Trims: map[stream.ID]stream.SeqNum{idA: 10}, Tombstones: []stream.ID{idB},
	}

	onBoth(t, func(t *testing.T, i index) {
		require.NoError(t, i.Halt(t.Context(), "behind"))
		for range 2 { // as after a crash behind the transaction
			require.NoError(t, i.Replace(t.Context(), r))
		}
		status, err := i.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, chunkindex.Status{Last: 9}, status)
		id, err := i.Begin(t.Context(), chunkindex.Job{})
		require.NoError(t, err)
		require.EqualValues(t, 10, id)
		page, err := i.Page(t.Context(), 1, 2)
		require.NoError(t, err)
		require.Equal(t, r.Objects[1:3], page)
		found, err := i.Find(t.Context(), idA, 0, 10)
		require.NoError(t, err)
		require.Equal(t, r.Chunks, found)
		logs, err := i.Logs(t.Context())
		require.NoError(t, err)
		require.Equal(t, []chunkindex.Log{{Log: logA, Watermark: 6}, {Log: stream.Incarnation{0xb}, Watermark: 5, Sealed: true, End: 5, Gone: true}}, logs)
		require.NoError(t, i.Discover(t.Context(), []stream.Incarnation{{0xc}}, nil))
		again, err := i.Logs(t.Context())
		require.NoError(t, err)
		require.Equal(t, logs, again, "what was collected stays so")
		limits, err := i.Limits(t.Context(), []stream.ID{idA, idB, idC})
		require.NoError(t, err)
		require.Equal(t, map[stream.ID]chunkindex.Limit{idA: {Trim: 10}, idB: {Dead: true}, idC: {Dead: true}}, limits)
	})
}

func TestExclude_KeepsRoundsOutAndAnotherRebuild(t *testing.T) {
	onBoth(t, func(t *testing.T, i index) {
		leave, err := i.Enter(t.Context())
		require.NoError(t, err)
		leaveToo, err := i.Enter(t.Context())
		require.NoError(t, err, "rounds share")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = i.Exclude(ctx)
		require.Error(t, err, "not while there are rounds")
		leave()
		leaveToo()

		release, err := i.Exclude(t.Context())
		require.NoError(t, err)
		_, err = i.Enter(t.Context())
		require.ErrorIs(t, err, chunkindex.ErrRebuilding)
		_, err = i.Exclude(t.Context())
		require.ErrorIs(t, err, chunkindex.ErrRebuilding)
		release()
		leave, err = i.Enter(t.Context())
		require.NoError(t, err)
		leave()
	})
}
