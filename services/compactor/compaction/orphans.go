package compaction

import (
	"context"
	"sync"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/segment"
)

// orphanWatch goes through all chunk objects, a page at a time.
type orphanWatch struct {
	mu    sync.Mutex
	after string // the last key looked at
	found int    // in this pass
}

// orphanPage is how many objects are looked at in a round.
const orphanPage = 1000

// watchOrphans reports objects that the index does not know of. They may be the last
// to hold records, if the index is not what it should be, so nobody deletes them but
// an operator.
func (c *Compactor) watchOrphans(ctx context.Context) error {
	w := &c.orphans
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, last, err := c.page(ctx, w.after)
	if err != nil {
		return err
	}
	known, err := c.index.Objects(ctx, ids)
	if err != nil {
		return err
	}
	rows := map[segment.ChunkID]bool{}
	for _, o := range known {
		rows[o.ID] = true
	}
	for _, id := range ids {
		if rows[id] {
			continue
		}
		// Listed before its row was dropped, perhaps.
		if ok, err := c.stands(ctx, segment.ChunkKey(id)); err != nil {
			return err
		} else if ok {
			w.found++
			c.log.Warn("a chunk object has no row in the index: verify the index, and rebuild it if the object is newer",
				zap.String("key", segment.ChunkKey(id)))
		}
	}
	if w.after = last; last == "" {
		c.metrics.orphans.Set(float64(w.found))
		w.found = 0
	}
	return nil
}

// page lists objects after a key; last is empty at the end.
func (c *Compactor) page(ctx context.Context, after string) (ids []segment.ChunkID, last string, err error) {
	for info, err := range c.store.List(ctx, segment.ChunkPrefix, after) {
		if err != nil {
			return nil, "", err
		}
		if id, ok := segment.ParseChunkKey(info.Key); ok {
			ids = append(ids, id)
		}
		if len(ids) == orphanPage {
			return ids, info.Key, nil
		}
	}
	return ids, "", nil
}
