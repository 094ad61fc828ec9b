package expiry

import (
	"context"
	"fmt"

	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Records finds records by their timestamps.
type Records interface {
	// First finds the first record kept of a stream whose timestamp is at least t,
	// and returns its position and timestamp. There must be one. Every record
	// below it is older than t. durable is the end of the owner's log.
	First(ctx context.Context, v *shardlog.View, durable stream.Slot, t uint64) (stream.SeqNum, uint64, error)
}

// History finds blocks that are not in memory; see history.Locator.
type History interface {
	Find(ctx context.Context, target logindex.Target, from stream.SeqNum, maxBytes uint64) ([]logindex.Block, error)
	FindTimestamp(ctx context.Context, target logindex.Target, t uint64, maxBytes uint64) ([]logindex.Block, error)
	Forget(stream.ID)
}

// Recent is the newest records; see recent.Records.
type Recent interface {
	LookupTimestamp(id stream.ID, t uint64, maxBytes uint64) (logindex.Span, bool)
	Stored(logindex.Block) ([]byte, bool)
}

// Finder is Records over what is in memory, and over the store where that is not
// enough.
type Finder struct {
	recent  Recent
	history History
	store   objstore.Store
}

// NewFinder makes a Finder.
func NewFinder(r Recent, h History, s objstore.Store) *Finder {
	return &Finder{recent: r, history: h, store: s}
}

// First implements [Records].
func (f *Finder) First(ctx context.Context, v *shardlog.View, durable stream.Slot, t uint64) (stream.SeqNum, uint64, error) {
	if b, ok := f.inMemory(v, t); ok {
		return f.within(ctx, v, b, t)
	}
	target := logindex.Target{Shard: v.Shard, Stream: v.ID, Known: logindex.Durable{Epoch: v.Epoch, Log: v.Log, End: durable}}
	blocks, err := f.history.FindTimestamp(ctx, target, t, 1)
	if err != nil {
		return 0, 0, err
	}
	if len(blocks) == 0 || blocks[0].LastTimestamp < t {
		return 0, 0, fmt.Errorf("stream %s: no record since %d ms is to be found, although its last one is of %d ms", v.ID, t, v.LastTime)
	}
	if err := f.checkBefore(ctx, target, v, blocks[0], t); err != nil {
		return 0, 0, err
	}
	return f.within(ctx, v, blocks[0], t)
}

// inMemory is the block with the first record that is not older than t, if what is
// in memory proves that it is the first one.
func (f *Finder) inMemory(v *shardlog.View, t uint64) (logindex.Block, bool) {
	span, ok := f.recent.LookupTimestamp(v.ID, t, 1)
	if !ok || len(span.Blocks) == 0 || span.Earlier && span.First > v.Trim {
		return logindex.Block{}, false
	}
	return span.Blocks[0], true
}

// checkBefore makes sure that the record before a block is older than t. A trim is
// for ever, so where the block was found is not enough.
func (f *Finder) checkBefore(ctx context.Context, target logindex.Target, v *shardlog.View, b logindex.Block, t uint64) error {
	if b.First <= v.Trim || b.FirstTimestamp < t {
		return nil
	}
	before, err := f.history.Find(ctx, target, b.First-1, 1)
	if err != nil {
		return err
	}
	if len(before) == 0 || before[0].Next() != b.First || before[0].LastTimestamp >= t {
		f.history.Forget(v.ID)
		return fmt.Errorf("stream %s: the record before seq_num %d could not be seen to be older than %d ms", v.ID, b.First, t)
	}
	return nil
}

// within finds the record in its block, which is read only if it is not the first
// one there.
func (f *Finder) within(ctx context.Context, v *shardlog.View, b logindex.Block, t uint64) (stream.SeqNum, uint64, error) {
	if b.FirstTimestamp >= t || b.Next() <= v.Trim {
		return b.First, b.FirstTimestamp, nil
	}
	block, err := f.read(ctx, v.ID, b)
	if err != nil {
		return 0, 0, err
	}
	for r := range block.All() {
		if r.Timestamp >= t {
			return r.SeqNum, r.Timestamp, nil
		}
	}
	return 0, 0, fmt.Errorf("stream %s: block at seq_num %d of %s has no record of %d ms", v.ID, b.First, b.Key(), b.LastTimestamp)
}

func (f *Finder) read(ctx context.Context, id stream.ID, b logindex.Block) (*segment.Block, error) {
	stored, ok := f.recent.Stored(b)
	if !ok {
		object, err := f.store.Get(ctx, b.Key(), objstore.Bytes(int64(b.Offset), int64(b.Stored)))
		if err != nil {
			f.history.Forget(id)
			return nil, err
		}
		stored = object.Body
	}
	return segment.DecodeBlock(id, b.BlockRef, stored)
}
