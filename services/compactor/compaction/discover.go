package compaction

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// logKey is what compactors share logs by.
func logKey(log stream.Incarnation) uint32 { return binary.LittleEndian.Uint32(log[:]) }

// objectKey is what compactors share objects by.
func objectKey(id segment.ChunkID) uint32 { return uint32(id) }

// chains reads chain entries. They never change, so the newest one of each shard is
// kept.
type chains struct {
	store  objstore.Store
	shards uint32

	mu     sync.Mutex
	newest map[stream.Shard]segment.ChainEntry
}

func newChains(store objstore.Store, shards uint32) *chains {
	return &chains{store: store, shards: shards, newest: map[stream.Shard]segment.ChainEntry{}}
}

// entry reads one entry; false: there is none.
func (c *chains) entry(ctx context.Context, shard stream.Shard, epoch stream.Epoch) (segment.ChainEntry, bool, error) {
	key := segment.ChainKey(shard, epoch)
	entry, err := twice(func() (segment.ChainEntry, error) {
		object, err := c.store.Get(ctx, key, objstore.Whole)
		if err != nil {
			return segment.ChainEntry{}, err
		}
		entry, err := segment.DecodeChainEntry(object.Body)
		if err != nil {
			return entry, &DamageError{Key: key, Err: err}
		}
		if entry.Shard != shard || entry.Epoch != epoch {
			return entry, damaged(key, "it says that it is shard %d epoch %d", entry.Shard, entry.Epoch)
		}
		return entry, nil
	})
	if errors.Is(err, objstore.ErrNotFound) {
		return entry, false, nil
	}
	return entry, err == nil, err
}

// follow reads a shard's entries from an epoch on and returns the one after the last.
func (c *chains) follow(ctx context.Context, shard stream.Shard, from stream.Epoch, seen func(segment.ChainEntry)) (stream.Epoch, error) {
	for {
		entry, ok, err := c.entry(ctx, shard, from)
		if err != nil || !ok {
			return from, err
		}
		seen(entry)
		from++
	}
}

// head is a shard's newest entry as of now; false: it has none. below is the first
// epoch that need not exist.
func (c *chains) head(ctx context.Context, shard stream.Shard, below stream.Epoch) (segment.ChainEntry, bool, error) {
	c.mu.Lock()
	newest, known := c.newest[shard]
	c.mu.Unlock()
	from := newest.Epoch + 1
	if !known {
		from = max(below, 1) - 1
	}
	_, err := c.follow(ctx, shard, from, func(e segment.ChainEntry) { newest, known = e, true })
	if err != nil || !known {
		return newest, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if newest.Epoch >= c.newest[shard].Epoch {
		c.newest[shard] = newest
	}
	return newest, true, nil
}

// owners is who the newest entries of all shards name, as of now.
func (c *chains) owners(ctx context.Context, heads map[stream.Shard]stream.Epoch) (map[stream.Incarnation]bool, error) {
	owners := map[stream.Incarnation]bool{}
	for shard := range stream.Shard(c.shards) {
		newest, ok, err := c.head(ctx, shard, heads[shard])
		if err != nil {
			return nil, err
		}
		if ok {
			owners[newest.Owner] = true
		}
	}
	return owners, nil
}

// discover adds the logs that chains name since the last look.
func (c *Compactor) discover(ctx context.Context) error {
	heads, err := c.index.Heads(ctx)
	if err != nil {
		return err
	}
	if len(heads) == 0 {
		c.listed.Store(false) // the index is new, or was rebuilt
	}
	var found []stream.Incarnation
	var failed []error
	moved := map[stream.Shard]stream.Epoch{}
	for shard := range stream.Shard(c.options.Shards) {
		next, err := c.chains.follow(ctx, shard, heads[shard], func(e segment.ChainEntry) { found = append(found, e.Owner) })
		if failed = append(failed, err); ctx.Err() != nil {
			return ctx.Err()
		}
		if next > heads[shard] {
			moved[shard] = next
		}
	}
	if len(moved) > 0 {
		failed = append(failed, c.index.Discover(ctx, found, moved))
	}
	return errors.Join(failed...)
}

// listLogs adds the logs that stand in the store, once in a compactor's life and
// after each rebuild, by whoever is the first to look at chains on the new index: logs
// that wrote slots though no chain names them have to go too.
func (c *Compactor) listLogs(ctx context.Context) error {
	if c.listed.Load() {
		return nil
	}
	known, err := c.index.Logs(ctx)
	if err != nil {
		return err
	}
	seen := map[stream.Incarnation]bool{}
	for _, l := range known {
		seen[l.Log] = true
	}
	var found []stream.Incarnation
	for after := segment.LogPrefix; ; {
		log, ok, err := c.nextLog(ctx, after)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		after = segment.LogPrefix + log.String() + "/~"
		if seen[log] {
			continue
		}
		slots, err := c.stands(ctx, segment.SlotKey(log, 0)) // which collected ones have not
		if err != nil {
			return err
		}
		if slots {
			found = append(found, log)
		}
	}
	if len(found) > 0 {
		if err := c.index.Discover(ctx, found, nil); err != nil {
			return err
		}
	}
	c.listed.Store(true)
	return nil
}

// nextLog is the first log with a key after one; false: there is none.
func (c *Compactor) nextLog(ctx context.Context, after string) (stream.Incarnation, bool, error) {
	for info, err := range c.store.List(ctx, segment.LogPrefix, after) {
		if err != nil {
			return stream.Incarnation{}, false, err
		}
		if log, _, ok := segment.ParseLogKey(info.Key); ok { // others are nobody's
			return log, true, nil
		}
	}
	return stream.Incarnation{}, false, nil
}
