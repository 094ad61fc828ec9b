package history_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/pkg/history"
)

var target = logindex.Target{Stream: stream.ID{1}}

// chunk holds ten records, the n-th ten of the stream, each at its own timestamp.
func chunk(n uint64) chunkindex.Chunk {
	return chunkindex.Chunk{Stream: target.Stream, Object: segment.ChunkID(n + 1), BlockRef: segment.BlockRef{
		Stored: 100, First: stream.SeqNum(10 * n), Count: 10, FirstTimestamp: 10 * n, LastTimestamp: 10*n + 9,
	}}
}

// index is chunks of one stream.
type index struct {
	chunks []chunkindex.Chunk
	err    error
	asked  int
}

func (i *index) Find(_ context.Context, _ stream.ID, from stream.SeqNum, limit int) ([]chunkindex.Chunk, error) {
	return i.where(limit, func(c chunkindex.Chunk) bool { return c.Next() > from })
}

func (i *index) FindTimestamp(_ context.Context, _ stream.ID, t uint64, limit int) ([]chunkindex.Chunk, error) {
	return i.where(limit, func(c chunkindex.Chunk) bool { return c.LastTimestamp >= t })
}

func (i *index) where(limit int, ok func(chunkindex.Chunk) bool) (out []chunkindex.Chunk, _ error) {
	i.asked++
	for _, c := range i.chunks {
		if ok(c) && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, i.err
}

// footers answers the same always.
type footers struct {
	blocks []logindex.Block
	err    error
	before func()
}

func (f *footers) Find(context.Context, logindex.Target, stream.SeqNum, uint64) ([]logindex.Block, error) {
	if f.before != nil {
		f.before()
	}
	return f.blocks, f.err
}

func (f *footers) FindTimestamp(ctx context.Context, target logindex.Target, _ uint64, _ uint64) ([]logindex.Block, error) {
	return f.Find(ctx, target, 0, 0)
}

var (
	slot   = []logindex.Block{{Log: stream.Incarnation{7}, Slot: 3}}
	isGone = &logindex.DamageError{Key: "log/7/3", Err: objstore.ErrNotFound}
)

func key(t *testing.T, blocks []logindex.Block, err error) string {
	require.NoError(t, err)
	require.NotEmpty(t, blocks)
	return blocks[0].Key()
}

func TestFind_TakesChunksFirstAndRemembersThem(t *testing.T) {
	i := &index{chunks: []chunkindex.Chunk{chunk(0), chunk(1), chunk(2), chunk(4)}}
	l := history.New(i, &footers{blocks: slot}, 1<<20)
	for range 3 {
		blocks, err := l.Find(t.Context(), target, 15, 150)
		require.Equal(t, segment.ChunkKey(2), key(t, blocks, err))
		require.Len(t, blocks, 2)
	}
	require.Equal(t, 1, i.asked)

	blocks, err := l.Find(t.Context(), target, 33, 150)
	require.Equal(t, slot[0].Key(), key(t, blocks, err), "a gap between chunks is in segments")

	i.chunks[1].Object = 77
	l.Forget(target.Stream)
	blocks, err = l.Find(t.Context(), target, 15, 150)
	require.Equal(t, segment.ChunkKey(77), key(t, blocks, err))
}

func TestFind_LooksAgainWhenASlotWasCollected(t *testing.T) {
	i := &index{}
	l := history.New(i, &footers{err: isGone, before: func() { i.chunks = []chunkindex.Chunk{chunk(0)} }}, 1<<20)
	blocks, err := l.Find(t.Context(), target, 5, 1)
	require.Equal(t, segment.ChunkKey(1), key(t, blocks, err))

	_, err = history.New(&index{}, &footers{err: isGone}, 1<<20).Find(t.Context(), target, 5, 1)
	require.True(t, logindex.Missing(err), "what is in neither is damage")
	var unavailable *history.UnavailableError
	require.False(t, errors.As(err, &unavailable))

	collected := *isGone
	collected.Collected = true
	_, err = history.New(&index{}, &footers{err: &collected}, 1<<20).Find(t.Context(), target, 5, 1)
	require.ErrorAs(t, err, &unavailable, "what was in a collected slot is in chunks: the index is behind")
}

func TestFind_GoesOnWithoutPostgres(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &index{chunks: []chunkindex.Chunk{chunk(0)}}
		f := &footers{blocks: slot}
		l := history.New(i, f, 1<<20)
		_, err := l.Find(t.Context(), target, 5, 1)
		require.NoError(t, err)
		i.err, i.chunks = chunkindex.ErrUnavailable, nil

		blocks, err := l.Find(t.Context(), target, 5, 1)
		require.Equal(t, segment.ChunkKey(1), key(t, blocks, err), "cached")
		for range 5 {
			blocks, err = l.Find(t.Context(), target, 25, 1)
			require.Equal(t, slot[0].Key(), key(t, blocks, err), "in footers")
		}
		require.Equal(t, 2, i.asked, "an index that failed is left alone for a while")

		f.blocks, f.err = nil, isGone
		_, err = l.Find(t.Context(), target, 25, 1)
		var unavailable *history.UnavailableError
		require.ErrorAs(t, err, &unavailable, "it is no damage")
		require.ErrorIs(t, err, chunkindex.ErrUnavailable)

		time.Sleep(2 * time.Second)
		i.err, i.chunks = nil, []chunkindex.Chunk{chunk(2)}
		blocks, err = l.Find(t.Context(), target, 25, 1)
		require.Equal(t, segment.ChunkKey(3), key(t, blocks, err))
	})
}

func TestFindTimestamp_TrustsChunksOnlyWhereNothingOlderCanBe(t *testing.T) {
	for name, c := range map[string]struct {
		chunks  []chunkindex.Chunk
		footers footers
		t       uint64
		want    string
	}{
		"inside a chunk":                     {[]chunkindex.Chunk{chunk(3)}, footers{blocks: slot}, 35, segment.ChunkKey(4)},
		"the stream's first":                 {[]chunkindex.Chunk{chunk(0)}, footers{blocks: slot}, 0, segment.ChunkKey(1)},
		"after a chunk":                      {[]chunkindex.Chunk{chunk(2), chunk(3)}, footers{blocks: slot}, 30, segment.ChunkKey(4)},
		"after records that are in no chunk": {[]chunkindex.Chunk{chunk(3)}, footers{blocks: slot}, 30, slot[0].Key()},
		"after records that are gone":        {[]chunkindex.Chunk{chunk(3)}, footers{err: isGone}, 30, segment.ChunkKey(4)},
		"not in footers":                     {[]chunkindex.Chunk{chunk(3)}, footers{}, 30, segment.ChunkKey(4)},
		"in segments alone":                  {[]chunkindex.Chunk{chunk(3)}, footers{blocks: slot}, 50, slot[0].Key()},
	} {
		t.Run(name, func(t *testing.T) {
			blocks, err := history.New(&index{chunks: c.chunks}, &c.footers, 1<<20).FindTimestamp(t.Context(), target, c.t, 1)
			require.Equal(t, c.want, key(t, blocks, err))
		})
	}
}

func TestFind_PassesOtherErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	_, err := history.New(&index{}, &footers{err: broken}, 1<<20).Find(t.Context(), target, 5, 1)
	require.ErrorIs(t, err, broken)
}

func TestFind_WithoutAnIndexIsFooters(t *testing.T) {
	l := history.New(nil, &footers{blocks: slot}, 0)
	blocks, err := l.Find(t.Context(), target, 5, 1)
	require.Equal(t, slot[0].Key(), key(t, blocks, err))
}
