package compaction

import (
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// recover ends the jobs that were given up.
func (c *Compactor) recover(ctx context.Context) error {
	objects, err := c.index.Abandoned(ctx, c.options.Abandon)
	if err != nil {
		return err
	}
	return each(ctx, c, c.mine(objects), c.recoverObject)
}

func (c *Compactor) mine(objects []chunkindex.Object) []chunkindex.Object {
	return slices.DeleteFunc(objects, func(o chunkindex.Object) bool { return !c.options.Mine(objectKey(o.ID)) })
}

// recoverObject takes an abandoned object back while all that it was made from
// stands, or when its records are in other chunks: the job was done again. Otherwise
// it may be the only one to hold records, so it is turned live.
func (c *Compactor) recoverObject(ctx context.Context, o chunkindex.Object) error {
	stand, err := c.sourcesStand(ctx, o)
	if err != nil {
		return err
	}
	if stand {
		return c.takeBack(ctx, o)
	}
	about, err := c.verified(ctx, o)
	if isMissing(err) {
		if err := c.checkRedone(ctx, o); err != nil {
			return err
		}
		return c.takeBack(ctx, o)
	}
	if err != nil {
		return err
	}
	covered, err := c.covered(ctx, spansOf(about))
	if err != nil {
		return err
	}
	if covered {
		return c.takeBack(ctx, o)
	}
	c.log.Warn("an abandoned chunk object is the last to hold what it was made from; keeping it", zap.Uint64("chunk_object", uint64(o.ID)))
	return c.turnLive(ctx, o, about)
}

func (c *Compactor) takeBack(ctx context.Context, o chunkindex.Object) error {
	c.log.Info("taking back an abandoned chunk object", zap.Uint64("chunk_object", uint64(o.ID)))
	return c.remove(ctx, o)
}

// checkRedone makes sure that a job which left no object was done by another one:
// what it was made from was collected by this index's own rules.
func (c *Compactor) checkRedone(ctx context.Context, o chunkindex.Object) error {
	logs, err := c.index.Logs(ctx)
	if err != nil {
		return err
	}
	for _, l := range logs {
		if l.Log == o.Log && l.Watermark < o.To {
			return behind("neither abandoned chunk object %d nor the slots that it was made from are in the store", o.ID)
		}
	}
	sources, err := c.index.Objects(ctx, o.Sources)
	if err != nil {
		return err
	}
	for _, source := range sources {
		if source.State != chunkindex.StateLive || source.LiveBytes == 0 {
			continue
		}
		if ok, err := c.stands(ctx, segment.ChunkKey(source.ID)); err != nil {
			return err
		} else if !ok {
			return behind("neither abandoned chunk object %d nor chunk object %d, which it was made from, is in the store", o.ID, source.ID)
		}
	}
	return nil
}

// covered tells whether all that has to be kept of the spans is in chunks.
func (c *Compactor) covered(ctx context.Context, spans []chunkindex.Span) (bool, error) {
	objects, missing, err := c.index.Cover(ctx, spans)
	if err != nil || len(missing) > 0 {
		return false, err
	}
	err = c.checkStand(ctx, objects, map[segment.ChunkID]bool{})
	return err == nil, err
}

// checkStand makes sure that objects stand which the index names, and takes note of
// those seen to.
func (c *Compactor) checkStand(ctx context.Context, objects []segment.ChunkID, seen map[segment.ChunkID]bool) error {
	for _, id := range objects {
		if seen[id] {
			continue
		}
		ok, err := c.stands(ctx, segment.ChunkKey(id))
		if err != nil {
			return err
		}
		if !ok {
			return c.namedButGone(id)
		}
		seen[id] = true
	}
	return nil
}

func (c *Compactor) sourcesStand(ctx context.Context, o chunkindex.Object) (bool, error) {
	for slot := o.From; slot < o.To; slot++ {
		if ok, err := c.stands(ctx, segment.SlotKey(o.Log, slot)); err != nil || !ok {
			return false, err
		}
	}
	for _, id := range o.Sources {
		if ok, err := c.stands(ctx, segment.ChunkKey(id)); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (c *Compactor) stands(ctx context.Context, key string) (bool, error) {
	_, err := c.store.Head(ctx, key)
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// remove takes an object out of the index, and only then out of the store.
func (c *Compactor) remove(ctx context.Context, o chunkindex.Object) error {
	removed, err := c.index.Remove(ctx, o.ID)
	if err != nil || !removed {
		return err
	}
	c.metrics.objects.Inc()
	return c.store.Delete(ctx, segment.ChunkKey(o.ID))
}

// turnLive publishes an object for a job that got no further than its put.
func (c *Compactor) turnLive(ctx context.Context, o chunkindex.Object, about *segment.Chunks) error {
	chunks, spans := chunkindex.ChunksOf(about), spansOf(about)
	overlapping, err := c.index.Tails(ctx, spans)
	if err != nil {
		return err
	}
	var replaced []chunkindex.Chunk
	for _, have := range overlapping {
		switch within(have, spans) {
		case whole:
			replaced = append(replaced, have)
		case partly:
			return behind("abandoned chunk object %d holds a part of what is in chunk object %d", o.ID, have.Object)
		}
	}
	err = c.index.Publish(ctx, chunkindex.Publication{Object: o.ID, Job: o.Job, Chunks: chunks, Replaced: replaced})
	if errors.Is(err, chunkindex.ErrLost) {
		return behind("what abandoned chunk object %d was made from is gone, and so is its place: %v", o.ID, err)
	}
	return err
}

// verified reads an object whose row says what it was made from.
func (c *Compactor) verified(ctx context.Context, o chunkindex.Object) (about *segment.Chunks, err error) {
	key := segment.ChunkKey(o.ID)
	err = c.get(ctx, key, func(body []byte) (err error) {
		about, err = segment.VerifyChunks(body, nil)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case about.ID != o.ID || about.Log != o.Log || about.From != o.From || about.To != o.To || !slices.Equal(about.Sources, o.Sources):
		return nil, behind("%s was made by another job than its row says", key)
	}
	return about, nil
}

func spansOf(about *segment.Chunks) []chunkindex.Span {
	var spans []chunkindex.Span
	for i := range about.Runs {
		r := &about.Runs[i]
		spans = append(spans, chunkindex.Span{Stream: r.Stream, First: r.First(), Next: r.Next()})
	}
	return spans
}

type overlap int

const (
	none overlap = iota
	partly
	whole
)

// within tells how much of a chunk lies in spans.
func within(c chunkindex.Chunk, spans []chunkindex.Span) overlap {
	var inside stream.SeqNum
	for _, s := range spans {
		if s.Stream == c.Stream && c.Overlaps(s.First, s.Next) {
			inside += min(c.Next(), s.Next) - max(c.First, s.First)
		}
	}
	switch inside {
	case 0:
		return none
	case stream.SeqNum(c.Count):
		return whole
	}
	return partly
}
