package compaction

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// compactLogs compacts all that is durable of this compactor's logs.
func (c *Compactor) compactLogs(ctx context.Context) error {
	logs, err := c.index.Logs(ctx)
	if err != nil {
		return err
	}
	logs = slices.DeleteFunc(logs, func(l chunkindex.Log) bool { return l.Drained() || !c.options.Mine(logKey(l.Log)) })
	c.backlog.keep(logs)
	defer c.showBacklog()
	owners := c.ownersOnce(ctx)
	return each(ctx, c, logs, func(ctx context.Context, l chunkindex.Log) error { return c.compactLog(ctx, l, owners) })
}

// jobsAtOnce is how many jobs are done on a log before everything else has its turn
// again: one that is written to as fast as it is compacted would never end.
const jobsAtOnce = 16

func (c *Compactor) compactLog(ctx context.Context, l chunkindex.Log, owners owners) error {
	for jobs := 0; !l.Drained(); jobs++ {
		if jobs == jobsAtOnce {
			return nil
		}
		w, err := c.window(ctx, l)
		if errors.Is(err, chunkindex.ErrLost) {
			return nil
		}
		if err != nil {
			return err
		}
		c.backlog.note(w)
		if w.sealed && !l.Sealed {
			if err := c.index.Seal(ctx, l.Log, w.end); err != nil {
				return err
			}
			l.Sealed, l.End = true, w.end
		}
		if w.from == w.to && !l.Sealed {
			return c.sealIfAbandoned(ctx, l, &w, owners)
		}
		if w.from == w.to || w.small(&c.options) {
			return nil
		}
		switch err := c.compactSlots(ctx, &w); {
		case errors.Is(err, chunkindex.ErrLost):
			c.metrics.lost.Inc()
			c.log.Debug("another compactor was first", zap.Stringer("log", l.Log), zap.Error(err))
			return nil
		case err != nil:
			return err
		}
		l.Watermark = w.to
	}
	c.walks.drop(l.Log)
	c.backlog.note(window{log: l.Log})
	return nil
}

// sealIfAbandoned looks after a log that has no more durable slots and no known end.
// The next round finds the seal.
func (c *Compactor) sealIfAbandoned(ctx context.Context, l chunkindex.Log, w *window, owners owners) error {
	if err := c.checkNotGone(ctx, l); err != nil {
		return err
	}
	abandoned, err := c.abandoned(w, owners)
	if err != nil || !abandoned {
		return err
	}
	return c.sealLog(ctx, w)
}

// checkNotGone looks at a log without a next slot: its slots may have been collected
// by the rules of an index that is newer than this one.
func (c *Compactor) checkNotGone(ctx context.Context, l chunkindex.Log) error {
	_, err := c.store.Head(ctx, segment.GoneKey(l.Log))
	if errors.Is(err, objstore.ErrNotFound) {
		return nil
	}
	if err == nil {
		return behind("log %s has been collected, but the index has it compacted up to slot %d only", l.Log, l.Watermark)
	}
	return err
}

// compactSlots is a job on slots of a log.
func (c *Compactor) compactSlots(ctx context.Context, w *window) error {
	content, err := c.read(ctx, w)
	if err != nil {
		return c.orLost(err)
	}
	ids := content.streams()
	limits, err := c.limits(ctx, ids, &content.facts)
	if err != nil {
		return err
	}
	tails, err := c.index.Tails(ctx, content.spans(ids))
	if err != nil {
		return err
	}
	p, err := c.plan(ctx, content, ids, limits, tails)
	if err != nil {
		return err
	}
	job := chunkindex.Job{Log: w.log, From: w.from, To: w.to, Sources: p.sources()}
	if len(p.pieces) == 0 {
		return c.index.Publish(ctx, chunkindex.Publication{Job: job, Facts: content.facts})
	}
	return c.run(ctx, job, p, content.facts)
}

// plan makes a plan and reads what is merged in. Merging is not necessary: chunks
// that turn out to be damaged are left as they are.
func (c *Compactor) plan(
	ctx context.Context, content *content, ids []stream.ID, limits map[stream.ID]chunkindex.Limit, tails []chunkindex.Chunk,
) (*plan, error) {
	spoiled := map[chunkindex.Chunk]bool{}
	for {
		p := makePlan(content, ids, limits, tails, spoiled, c.options.ChunkBytes)
		known := len(spoiled)
		if err := c.load(ctx, p, spoiled); err != nil {
			return nil, err
		}
		if len(spoiled) == known {
			return p, nil
		}
	}
}

// orLost tells a slot that is missing: it stood a moment ago, so another compactor
// has done the log to its end.
func (c *Compactor) orLost(err error) error {
	if errors.Is(err, objstore.ErrNotFound) {
		return fmt.Errorf("%w: %w", chunkindex.ErrLost, err)
	}
	return err
}

// limits is what is known already, and what the slots themselves say.
func (c *Compactor) limits(ctx context.Context, ids []stream.ID, facts *chunkindex.Facts) (map[stream.ID]chunkindex.Limit, error) {
	limits, err := c.index.Limits(ctx, ids)
	if err != nil {
		return nil, err
	}
	facts.Limit(limits)
	return limits, nil
}

// run makes a planned object and publishes it.
func (c *Compactor) run(ctx context.Context, job chunkindex.Job, p *plan, facts chunkindex.Facts) error {
	id, err := c.index.Begin(ctx, job)
	if err != nil {
		return err
	}
	object, about, sums := p.write(id, job, c.options.ChunkBytes)
	if err := c.put(ctx, segment.ChunkKey(id), object); err != nil {
		return err
	}
	if err := c.verify(ctx, about, sums); err != nil {
		return c.takenBack(ctx, id, err)
	}
	err = c.index.Publish(ctx, chunkindex.Publication{
		Object: id, Job: job, Chunks: chunkindex.ChunksOf(about), Replaced: p.replaced, Facts: facts,
	})
	if err != nil {
		return err
	}
	c.metrics.jobs.Inc()
	c.metrics.bytes.Add(float64(len(object)))
	c.log.Debug("compacted", zap.Uint64("chunk_object", uint64(id)), zap.Stringer("log", job.Log),
		zap.Uint64("slot", uint64(job.From)), zap.Uint64("next_slot", uint64(job.To)), zap.Int("bytes", len(object)))
	return nil
}

// takenBack tells what it means that an object is not there which was just put.
func (c *Compactor) takenBack(ctx context.Context, id segment.ChunkID, err error) error {
	if !isMissing(err) {
		return err
	}
	rows, lookErr := c.index.Objects(ctx, []segment.ChunkID{id})
	switch {
	case lookErr != nil:
		return lookErr
	case len(rows) == 1 && rows[0].State == chunkindex.StatePending:
		return damaged(segment.ChunkKey(id), "it was put, and is not there: %w", err)
	}
	return fmt.Errorf("%w: chunk object %d was taken for abandoned", chunkindex.ErrLost, id)
}

// load reads the chunks that are merged in, and notes those that are damaged.
func (c *Compactor) load(ctx context.Context, p *plan, spoiled map[chunkindex.Chunk]bool) error {
	for i := range p.pieces {
		piece := &p.pieces[i]
		if piece.block != nil {
			continue
		}
		block, err := c.block(ctx, piece.chunk)
		if err != nil {
			err = c.missingChunk(ctx, *piece.chunk, err)
		}
		switch {
		case isDamage(err):
			spoiled[*piece.chunk] = true
			c.metrics.spoiled.Inc()
			c.log.Error("a chunk is damaged; going on without merging it", zap.Stringer("stream_id", piece.stream),
				zap.Uint64("seq_num", uint64(piece.first)), zap.Error(err))
		case err != nil:
			return err
		}
		piece.block = block
	}
	return nil
}

// block reads a chunk.
func (c *Compactor) block(ctx context.Context, chunk *chunkindex.Chunk) (*segment.Block, error) {
	key := segment.ChunkKey(chunk.Object)
	return twice(func() (*segment.Block, error) {
		object, err := c.store.Get(ctx, key, objstore.Bytes(int64(chunk.Offset), int64(chunk.Stored)))
		if err != nil {
			return nil, err
		}
		block, err := segment.DecodeBlock(chunk.Stream, chunk.BlockRef, object.Body)
		if err != nil {
			return nil, &DamageError{Key: key, Err: err}
		}
		return block, nil
	})
}

// missingChunk tells what it means that a chunk's object is not there.
func (c *Compactor) missingChunk(ctx context.Context, chunk chunkindex.Chunk, err error) error {
	if !errors.Is(err, objstore.ErrNotFound) {
		return err
	}
	still, lookErr := c.index.Still(ctx, []chunkindex.Chunk{chunk})
	switch {
	case lookErr != nil:
		return lookErr
	case len(still) == 0:
		return fmt.Errorf("%w: chunk object %d has been replaced", chunkindex.ErrLost, chunk.Object)
	}
	return c.namedButGone(chunk.Object)
}

// sums are the records' digests, one for each run of an object.
type sums []uint64

// write makes the object. Records are digested as they were read.
func (p *plan) write(id segment.ChunkID, job chunkindex.Job, target int) (object []byte, about *segment.Chunks, digests sums) {
	w := segment.NewChunkWriter(segment.Chunks{ID: id, Log: job.Log, From: job.From, To: job.To, Sources: job.Sources}, target)
	var d digest
	for i := range p.pieces {
		piece := &p.pieces[i]
		if i > 0 && (p.pieces[i-1].stream != piece.stream || p.pieces[i-1].next != piece.first) {
			digests = append(digests, d.end())
		}
		w.Add(piece.block, piece.first, piece.next)
		d.add(piece.block, piece.first, piece.next)
	}
	object, about = w.Finish()
	return object, about, append(digests, d.end())
}

// digest is a hash over records and their positions.
type digest struct {
	hash  xxhash.Digest
	begun bool
	bytes []byte
}

func (d *digest) add(b *segment.Block, from, next stream.SeqNum) {
	if !d.begun {
		d.hash.Reset()
		d.begun = true
	}
	for r := range b.From(from) {
		if r.SeqNum >= next {
			return
		}
		d.record(r)
	}
}

func (d *digest) record(r stream.Record) {
	d.bytes = binary.LittleEndian.AppendUint64(d.bytes[:0], uint64(r.SeqNum))
	d.bytes = binary.LittleEndian.AppendUint64(d.bytes, r.Timestamp)
	d.bytes = binary.LittleEndian.AppendUint64(d.bytes, r.IDMillis)
	d.bytes = binary.AppendUvarint(d.bytes, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		d.field(h.Name)
		d.field(h.Value)
	}
	d.field(r.Body)
	_, _ = d.hash.Write(d.bytes)
}

func (d *digest) field(b []byte) {
	d.bytes = binary.AppendUvarint(d.bytes, uint64(len(b)))
	d.bytes = append(d.bytes, b...)
}

func (d *digest) end() uint64 {
	d.begun = false
	return d.hash.Sum64()
}

// put puts an object under a key that no other object may have.
func (c *Compactor) put(ctx context.Context, key string, object []byte) error {
	const attempts = 3
	var err error
	for range attempts {
		err = c.store.PutIfAbsent(ctx, key, object)
		switch {
		case err == nil, ctx.Err() != nil, objstore.Permanent(err) && !errors.Is(err, objstore.ErrExists):
			return err
		case errors.Is(err, objstore.ErrExists):
			return c.checkOwn(ctx, key, object)
		}
	}
	return err
}

// checkOwn takes what stands under the key for a put of ours whose reply was lost,
// but only if it is the same. Other bytes count if they come twice: what was damaged
// on the way says nothing.
func (c *Compactor) checkOwn(ctx context.Context, key string, object []byte) error {
	var before []byte
	_, err := twice(func() (struct{}, error) {
		standing, err := c.store.Get(ctx, key, objstore.Whole)
		switch {
		case err != nil:
			return struct{}{}, err
		case bytes.Equal(standing.Body, object):
			return struct{}{}, nil
		case before != nil && bytes.Equal(standing.Body, before):
			return struct{}{}, behind("%s stands in the store already, with other content", key)
		}
		before = append([]byte{}, standing.Body...)
		return struct{}{}, damaged(key, "it does not hold what was put, nor the same twice")
	})
	return err
}

// verify reads an object back and compares every record with what went in.
func (c *Compactor) verify(ctx context.Context, about *segment.Chunks, want sums) error {
	key := segment.ChunkKey(about.ID)
	return c.get(ctx, key, func(body []byte) error {
		var got sums
		var d digest
		var id stream.ID
		var next stream.SeqNum
		stands, err := segment.VerifyChunks(body, func(b *segment.Block) {
			if d.begun && (b.Stream() != id || b.Ref().First != next) {
				got = append(got, d.end())
			}
			d.add(b, b.Ref().First, b.Ref().Next())
			id, next = b.Stream(), b.Ref().Next()
		})
		if err != nil {
			return err
		}
		if got = append(got, d.end()); !slices.Equal(got, want) || !sameChunks(stands, about) {
			return damaged(key, "it does not hold the records that it was made from")
		}
		return nil
	})
}

func sameChunks(a, b *segment.Chunks) bool {
	return a.ID == b.ID && a.Log == b.Log && a.From == b.From && a.To == b.To && slices.Equal(a.Sources, b.Sources) &&
		slices.Equal(chunkindex.ChunksOf(a), chunkindex.ChunksOf(b))
}
