package survey

import (
	"context"
	"fmt"
	"math"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// readChunks reads every chunk object, and compares it with the index.
func (v *verification) readChunks(ctx context.Context) error {
	v.Progress.begin("reading chunk objects")
	var ids []segment.ChunkID
	flush := func() error {
		err := v.readChunkObjects(ctx, ids)
		ids = ids[:0]
		return err
	}
	for info, err := range v.store.List(ctx, segment.ChunkPrefix, "") {
		if err != nil {
			return err
		}
		id, ok := segment.ParseChunkKey(info.Key)
		if !ok {
			v.found(strange(info.Key))
			continue
		}
		if ids = append(ids, id); len(ids) == v.parallel {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (v *verification) readChunkObjects(ctx context.Context, ids []segment.ChunkID) error {
	abouts := make([]*segment.Chunks, len(ids))
	errs, err := v.each(ctx, len(ids), func(ctx context.Context, i int) error {
		return v.chunks(ctx, ids[i], func(about *segment.Chunks) { abouts[i] = about })
	})
	if err != nil {
		return err
	}
	for i, id := range ids {
		if isMissing(errs[i]) {
			continue // deleted meanwhile; the index knows
		}
		v.ChunkObjects++
		v.chunkSet[id] = true
		if errs[i] != nil {
			if err := v.damagedChunks(ctx, id, errs[i]); err != nil {
				return err
			}
			continue
		}
		if err := v.compare(ctx, abouts[i]); err != nil {
			return err
		}
	}
	return nil
}

// damagedChunks tells, as far as the object does, whose records are hurt.
func (v *verification) damagedChunks(ctx context.Context, id segment.ChunkID, damage error) error {
	key := segment.ChunkKey(id)
	var body []byte
	var about *segment.Chunks
	err := v.get(ctx, key, objstore.Whole, func(b []byte) (err error) {
		body = b
		about, err = segment.DecodeChunks(b)
		return err
	})
	if isDamage(err) || isMissing(err) {
		v.found(damaged(key, damage))
		return nil
	}
	if err != nil {
		return err
	}
	hurt := false
	for _, c := range chunkindex.ChunksOf(about) {
		if _, err := segment.DecodeBlockIn(c.Stream, c.BlockRef, body); err != nil {
			hurt = true
			v.found(Finding{Kind: Damage, Key: key, Offset: c.Offset, Stream: c.Stream, First: c.First, Next: c.Next(), What: err.Error(), Remedy: restoreObject})
			continue
		}
		v.covered[c.Stream] = v.covered[c.Stream].add(c.First, c.Next())
	}
	if !hurt {
		v.found(damaged(key, damage))
	}
	return nil
}

// compare holds an object that is sound against the index: each of its chunks is
// there as it is, or its records are in other chunks, or need not be kept.
func (v *verification) compare(ctx context.Context, about *segment.Chunks) error {
	chunks := chunkindex.ChunksOf(about)
	v.Chunks += len(chunks)
	var elsewhere []chunkindex.Span
	for _, c := range chunks {
		v.covered[c.Stream] = v.covered[c.Stream].add(c.First, c.Next())
	}
	if v.index == nil {
		return nil
	}
	rows, err := v.index.Objects(ctx, []segment.ChunkID{about.ID})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return v.orphan(ctx, about.ID)
	}
	if rows[0].State != chunkindex.StateLive {
		return nil // under way, or on its way out
	}
	still, err := v.index.Still(ctx, chunks)
	if err != nil {
		return err
	}
	have := map[stream.SeqNum]chunkindex.Chunk{}
	for i, c := range chunks {
		if i == 0 || chunks[i-1].Stream != c.Stream {
			clear(have)
			for _, row := range still {
				if row.Stream == c.Stream {
					have[row.Next()] = row
				}
			}
		}
		row, ok := have[c.Next()]
		if !ok {
			if v.streams[c.Stream] != nil {
				elsewhere = append(elsewhere, chunkindex.Span{Stream: c.Stream, First: c.First, Next: c.Next()})
			}
		} else if row != c {
			v.found(Finding{Kind: Damage, Key: segment.ChunkKey(about.ID), Offset: c.Offset, Stream: c.Stream, First: c.First, Next: c.Next(),
				What: "the chunk index says otherwise of this block", Remedy: rebuildIndex})
		}
	}
	return v.checkElsewhere(ctx, about.ID, elsewhere)
}

func (v *verification) checkElsewhere(ctx context.Context, id segment.ChunkID, spans []chunkindex.Span) error {
	if len(spans) == 0 {
		return nil
	}
	_, missing, err := v.index.Cover(ctx, spans)
	for _, m := range missing {
		v.found(Finding{Kind: Damage, Key: segment.ChunkKey(id), Stream: m.Stream, First: m.First, Next: m.Next,
			What: "the chunk index does not know these records of the object", Remedy: rebuildIndex})
	}
	return err
}

// orphan reports an object without a row, unless it went meanwhile.
func (v *verification) orphan(ctx context.Context, id segment.ChunkID) error {
	if _, err := v.store.Head(ctx, segment.ChunkKey(id)); err != nil {
		if isMissing(err) {
			return nil
		}
		return err
	}
	rows, err := v.index.Objects(ctx, []segment.ChunkID{id})
	if err != nil || len(rows) > 0 {
		return err
	}
	v.found(Finding{Kind: Orphan, Key: segment.ChunkKey(id), What: "the chunk index does not know this object", Remedy: rebuildIndex})
	return nil
}

// rowsAtOnce is how many rows of the index are looked at together.
const rowsAtOnce = 1000

// readIndex makes sure that every object stands which the index names, and that the
// sums in their rows are those of the chunks that name them.
func (v *verification) readIndex(ctx context.Context) error {
	if v.index == nil {
		return nil
	}
	v.Progress.begin("reading the chunk index")
	status, err := v.index.Status(ctx)
	if err != nil {
		return err
	}
	if status.Behind != "" {
		v.found(Finding{Kind: Damage, What: "the chunk index is halted: " + status.Behind, Remedy: rebuildIndex})
	}
	for after, last := segment.ChunkID(0), false; !last; {
		rows, err := v.index.Page(ctx, after, rowsAtOnce)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := v.row(ctx, &rows[i]); err != nil {
				return err
			}
		}
		upTo := segment.ChunkID(math.MaxInt64)
		if last = len(rows) < rowsAtOnce; !last {
			upTo = rows[len(rows)-1].ID
		}
		if err := v.addUp(ctx, after, upTo); err != nil {
			return err
		}
		after = upTo
	}
	return nil
}

// addUp compares the rows of objects with those of chunks.
func (v *verification) addUp(ctx context.Context, above, upTo segment.ChunkID) error {
	miscounts, err := v.index.Miscounted(ctx, above, upTo)
	for _, m := range miscounts {
		what := fmt.Sprintf("its row in the chunk index is %s and", m.State)
		switch m.State {
		case chunkindex.StateLive:
			what = fmt.Sprintf("its row in the chunk index counts %d bytes, and", m.LiveBytes)
		case "":
			what = "it has no row in the chunk index, and"
		}
		what = fmt.Sprintf("%s chunks of %d bytes name it", what, m.Named)
		v.found(Finding{Kind: Damage, Key: segment.ChunkKey(m.ID), What: what, Remedy: rebuildIndex})
	}
	return err
}

func (v *verification) row(ctx context.Context, o *chunkindex.Object) error {
	if o.State != chunkindex.StateLive || o.LiveBytes == 0 || v.chunkSet[o.ID] {
		return nil
	}
	_, err := v.store.Head(ctx, segment.ChunkKey(o.ID))
	if !isMissing(err) {
		return err // put meanwhile
	}
	rows, err := v.index.Objects(ctx, []segment.ChunkID{o.ID})
	if err != nil || len(rows) == 0 || rows[0].State != chunkindex.StateLive || rows[0].LiveBytes == 0 {
		return err
	}
	v.found(Finding{Kind: Damage, Key: segment.ChunkKey(o.ID), What: "the chunk index names chunks in it, and it is missing", Remedy: restoreObject})
	return nil
}
