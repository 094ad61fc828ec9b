package compaction

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

const (
	// sparseAtOnce is how many objects are looked at to be rewritten.
	sparseAtOnce = 256
	// rewritesAtOnce is how many jobs are done before logs have their turn again.
	rewritesAtOnce = 16
	// manySmall is how many small objects are merged into one, at least.
	manySmall = 8
)

// rewrite takes the chunks over that are left in objects more than half dead, and
// merges small objects when there are many. Damaged objects are left out, and told at
// the end.
func (c *Compactor) rewrite(ctx context.Context) error {
	small := c.options.JobBytes / manySmall
	spoiled := map[segment.ChunkID]error{}
	for range rewritesAtOnce {
		objects, err := c.index.Sparse(ctx, small, sparseAtOnce+len(spoiled))
		if err != nil {
			return errors.Join(append(damages(spoiled), err)...)
		}
		objects = slices.DeleteFunc(c.mine(objects), func(o chunkindex.Object) bool { return spoiled[o.ID] != nil })
		chosen := c.choose(objects)
		if len(chosen) == 0 {
			break
		}
		err = c.rewriteObjects(ctx, chosen, spoiled)
		if errors.Is(err, chunkindex.ErrLost) {
			c.metrics.lost.Inc()
			break
		}
		if err != nil {
			return errors.Join(append(damages(spoiled), err)...)
		}
	}
	return errors.Join(damages(spoiled)...)
}

func damages(spoiled map[segment.ChunkID]error) []error {
	return slices.Collect(maps.Values(spoiled))
}

// choose takes as many objects as a job holds: those that are half dead, or all if
// there are many.
func (c *Compactor) choose(objects []chunkindex.Object) []chunkindex.Object {
	if len(objects) < manySmall {
		objects = slices.DeleteFunc(objects, func(o chunkindex.Object) bool { return 2*o.LiveBytes >= o.Bytes })
	}
	var bytes int64
	for i, o := range objects {
		// Stored bytes stand for raw ones: a quarter leaves room for compression.
		if bytes += 4 * o.LiveBytes; i > 0 && bytes > c.options.JobBytes {
			return objects[:i]
		}
	}
	return objects
}

// rewriteObjects is a job on chunk objects alone. If some turn out to be damaged they
// are noted, and nothing is done: without them others may be worth a job.
func (c *Compactor) rewriteObjects(ctx context.Context, objects []chunkindex.Object, spoiled map[segment.ChunkID]error) error {
	p := &plan{}
	known := len(spoiled)
	var job chunkindex.Job
	for _, o := range objects {
		job.Sources = append(job.Sources, o.ID)
		pieces, err := c.liveChunks(ctx, o)
		switch {
		case isDamage(err):
			spoiled[o.ID] = err
			c.metrics.spoiled.Inc()
		case err != nil:
			return err
		}
		p.pieces = append(p.pieces, pieces...)
	}
	if len(spoiled) > known {
		return nil
	}
	slices.SortFunc(p.pieces, func(a, b piece) int {
		return cmp.Or(compareIDs(a.stream, b.stream), cmp.Compare(a.first, b.first))
	})
	for i := range p.pieces {
		p.replaced = append(p.replaced, *p.pieces[i].chunk)
	}
	if len(p.pieces) == 0 {
		return nil
	}
	return c.run(ctx, job, p, chunkindex.Facts{})
}

// liveChunks is the chunks of an object that the index still has.
func (c *Compactor) liveChunks(ctx context.Context, o chunkindex.Object) ([]piece, error) {
	var about *segment.Chunks
	bodies := map[chunkindex.Chunk]*segment.Block{}
	err := c.get(ctx, segment.ChunkKey(o.ID), func(body []byte) (err error) {
		if about, err = segment.DecodeChunks(body); err != nil {
			return err
		}
		for _, chunk := range chunkindex.ChunksOf(about) {
			if bodies[chunk], err = segment.DecodeBlockIn(chunk.Stream, chunk.BlockRef, body); err != nil {
				return err
			}
		}
		return nil
	})
	if isMissing(err) {
		return nil, c.missingObject(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	still, err := c.index.Still(ctx, chunkindex.ChunksOf(about))
	if err != nil {
		return nil, err
	}
	pieces := make([]piece, len(still))
	for i := range still {
		chunk := &still[i]
		pieces[i] = piece{stream: chunk.Stream, first: chunk.First, next: chunk.First + stream.SeqNum(chunk.Count), block: bodies[*chunk], chunk: chunk}
	}
	return pieces, nil
}

// missingObject tells what it means that a live object is not there.
func (c *Compactor) missingObject(ctx context.Context, o chunkindex.Object) error {
	now, err := c.index.Objects(ctx, []segment.ChunkID{o.ID})
	switch {
	case err != nil:
		return err
	case len(now) == 1 && now[0].State == chunkindex.StateLive && now[0].LiveBytes > 0:
		return c.namedButGone(o.ID)
	}
	return chunkindex.ErrLost
}
