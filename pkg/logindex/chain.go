package logindex

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// chains reads the chains of shards. Entries never change, so they are cached;
// the head only moves up.
type chains struct {
	store   objstore.Store
	entries *cache[chainKey, segment.ChainEntry]

	mu    sync.Mutex
	heads map[stream.Shard]stream.Epoch // the highest epoch seen to exist
}

type chainKey struct {
	shard stream.Shard
	epoch stream.Epoch
}

func newChains(store objstore.Store) *chains {
	const entryBytes, most = 256, 4 << 20
	return &chains{
		store:   store,
		entries: newCache[chainKey](most, func(segment.ChainEntry) int64 { return entryBytes }),
		heads:   map[stream.Shard]stream.Epoch{},
	}
}

// entry reads one entry; objstore.ErrNotFound: it does not exist.
func (c *chains) entry(ctx context.Context, shard stream.Shard, epoch stream.Epoch) (segment.ChainEntry, error) {
	entry, err := c.entries.load(ctx, chainKey{shard, epoch}, func(ctx context.Context) (segment.ChainEntry, error) {
		return twice(func() (segment.ChainEntry, error) { return c.fetch(ctx, shard, epoch) })
	})
	if err == nil {
		c.seen(shard, epoch)
	}
	return entry, err
}

func (c *chains) fetch(ctx context.Context, shard stream.Shard, epoch stream.Epoch) (segment.ChainEntry, error) {
	key := segment.ChainKey(shard, epoch)
	object, err := c.store.Get(ctx, key, objstore.Whole)
	if err != nil {
		return segment.ChainEntry{}, err
	}
	entry, err := segment.DecodeChainEntry(object.Body)
	if err == nil && (entry.Shard != shard || entry.Epoch != epoch) {
		err = fmt.Errorf("it says that it is shard %d epoch %d", entry.Shard, entry.Epoch)
	}
	if err != nil {
		return segment.ChainEntry{}, &DamageError{Key: key, Err: err}
	}
	return entry, nil
}

func (c *chains) seen(shard stream.Shard, epoch stream.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heads[shard] = max(c.heads[shard], epoch)
}

func (c *chains) hint(shard stream.Shard) stream.Epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heads[shard]
}

func (c *chains) exists(ctx context.Context, shard stream.Shard, epoch stream.Epoch) (bool, error) {
	_, err := c.entry(ctx, shard, epoch)
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// head finds the newest epoch: epochs are contiguous, so it gallops up from the
// newest one seen and then halves. False: the shard was never owned.
func (c *chains) head(ctx context.Context, shard stream.Shard) (stream.Epoch, bool, error) {
	low := c.hint(shard)
	if ok, err := c.exists(ctx, shard, low); err != nil || !ok {
		return 0, false, err
	}
	step := stream.Epoch(1)
	for {
		ok, err := c.exists(ctx, shard, low+step)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			break
		}
		low, step = low+step, step*2
	}
	// low exists, low+step does not.
	for high := low + step; high-low > 1; {
		middle := low + (high-low)/2
		ok, err := c.exists(ctx, shard, middle)
		if err != nil {
			return 0, false, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	return low, true, nil
}
