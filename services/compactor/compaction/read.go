package compaction

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// content is what slots of a log hold.
type content struct {
	blocks map[stream.ID][]*segment.Block // in order of the slots
	facts  chunkindex.Facts
	raw    int64
}

// get reads an object whole, and again if decode finds it damaged.
func (c *Compactor) get(ctx context.Context, key string, decode func([]byte) error) error {
	_, err := twice(func() (struct{}, error) {
		object, err := c.store.Get(ctx, key, objstore.Whole)
		if err != nil {
			return struct{}{}, err
		}
		var damage *DamageError
		if err := decode(object.Body); err != nil && !errors.As(err, &damage) {
			return struct{}{}, &DamageError{Key: key, Err: err}
		} else if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, nil
	})
	return err
}

// read takes the records of a window into memory, and cuts the window short where
// they are more than a job may hold.
func (c *Compactor) read(ctx context.Context, w *window) (*content, error) {
	out := &content{blocks: map[stream.ID][]*segment.Block{}}
	for slot := w.from; slot < w.to; slot++ {
		if slot > w.from && out.raw >= c.options.JobBytes {
			w.to = slot
			break
		}
		footer, blocks, err := c.segment(ctx, w.log, slot)
		if err != nil {
			return nil, err
		}
		out.take(footer, blocks)
	}
	return out, nil
}

// segment reads and checks all of one.
func (c *Compactor) segment(ctx context.Context, log stream.Incarnation, slot stream.Slot) (footer *segment.Footer, blocks []*segment.Block, err error) {
	key := segment.SlotKey(log, slot)
	err = c.get(ctx, key, func(body []byte) (err error) {
		if footer, err = segment.DecodeFooter(body); err != nil {
			return err
		}
		if footer.Log != log || footer.Slot != slot {
			return damaged(key, "it says that it is slot %d of log %s", footer.Slot, footer.Log)
		}
		blocks, err = decodeBlocks(footer, body)
		return err
	})
	return footer, blocks, err
}

func decodeBlocks(footer *segment.Footer, body []byte) ([]*segment.Block, error) {
	var blocks []*segment.Block
	for _, section := range footer.Sections {
		for i := range section.Streams {
			for _, ref := range section.Streams[i].Blocks {
				block, err := segment.DecodeBlockIn(section.Streams[i].Stream, ref, body)
				if err != nil {
					return nil, err
				}
				blocks = append(blocks, block)
			}
		}
	}
	return blocks, nil
}

func (c *content) take(footer *segment.Footer, blocks []*segment.Block) {
	for _, b := range blocks {
		c.blocks[b.Stream()] = append(c.blocks[b.Stream()], b)
		c.raw += int64(b.Size())
	}
	c.facts.Take(footer)
}

// streams is whose records there are, in order.
func (c *content) streams() []stream.ID {
	ids := make([]stream.ID, 0, len(c.blocks))
	for id, blocks := range c.blocks {
		ids = append(ids, id)
		slices.SortFunc(blocks, func(a, b *segment.Block) int { return int(int64(a.Ref().First) - int64(b.Ref().First)) })
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

func compareIDs(a, b stream.ID) int { return bytes.Compare(a[:], b[:]) }

// spans is where the records stand that there are of each stream; gaps are in.
func (c *content) spans(ids []stream.ID) []chunkindex.Span {
	out := make([]chunkindex.Span, 0, len(ids))
	for _, id := range ids {
		blocks := c.blocks[id]
		out = append(out, chunkindex.Span{Stream: id, First: blocks[0].Ref().First, Next: blocks[len(blocks)-1].Ref().Next()})
	}
	return out
}
