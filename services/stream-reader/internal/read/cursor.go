package read

import (
	"context"
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/internal/live"
)

// cursor fetches a stream's durable blocks in order, up to a tail.
type cursor struct {
	service *Service
	name    stream.Name
	id      stream.ID
	shard   stream.Shard

	pos  stream.SeqNum // of the next block
	tail live.Tail     // the newest one heard of
	plan []live.LocatedBlock

	epoch stream.Epoch
	log   stream.Incarnation
	index stream.SeqNum // the owner knows blocks from here on
	// durable ends at the newest slot known to hold records of the stream: those
	// below durableTo.
	durable   logindex.Durable
	durableTo stream.SeqNum
}

// nextID is the id of the tail.
func (c *cursor) nextID() stream.SeqID { return tailID(c.tail, c.id) }

func tailID(tail live.Tail, id stream.ID) stream.SeqID {
	return stream.NewSeqID(tail.LastIDMillis, tail.Next, id.Salt())
}

// learn takes over what an owner says of the stream.
func (c *cursor) learn(located live.Located) {
	c.hear(located.Tail)
	c.epoch, c.log, c.index = located.Epoch, located.Log, located.Index
	if n := len(located.Blocks); n > 0 {
		last := &located.Blocks[n-1]
		c.durableTo = last.Next()
		c.durable = logindex.Durable{Epoch: located.Epoch, Log: last.Log, End: last.Slot + 1}
	}
}

func (c *cursor) hear(tail live.Tail) {
	if tail.Next > c.tail.Next {
		c.tail = tail
	}
}

// window fetches the next blocks, about maxBytes of them; none at the tail. Each
// holds records at or behind the position that the last one ended at.
func (c *cursor) window(ctx context.Context, maxBytes uint64) ([]*segment.Block, error) {
	for again := false; ; again = true {
		if c.pos >= c.tail.Next {
			return nil, nil
		}
		if len(c.plan) == 0 {
			if err := c.locate(ctx, maxBytes); err != nil {
				return nil, err
			}
			continue
		}
		n := planned(c.plan, maxBytes)
		blocks, err := live.Decode(ctx, c.service.blocks, c.id, c.plan[:n])
		if logindex.Missing(err) && !again {
			c.plan = nil // what stood there may have moved: ask once more
			c.service.locator.Forget(c.id)
			continue
		}
		if err != nil {
			return nil, err
		}
		c.pos, c.plan = c.plan[n-1].Next(), c.plan[n:]
		return blocks, nil
	}
}

// planned counts the blocks that make up about maxBytes, at least one.
func planned(plan []live.LocatedBlock, maxBytes uint64) int {
	const most = 256 // GETs are per slot
	n, total := 1, uint64(plan[0].Raw)
	for n < len(plan) && n < most && total+uint64(plan[n].Raw) <= maxBytes {
		total += uint64(plan[n].Raw)
		n++
	}
	return n
}

// locate plans from the position on. An owner that has just announced a tail may
// be a moment late to know its blocks.
func (c *cursor) locate(ctx context.Context, maxBytes uint64) error {
	const tries = 5
	for try := range tries {
		if try > 0 {
			if err := pause(ctx, 20*time.Millisecond<<try); err != nil {
				return err
			}
		}
		if err := c.locateOnce(ctx, maxBytes); err != nil {
			return err
		}
		if len(c.plan) > 0 || c.pos >= c.tail.Next {
			return nil
		}
	}
	return fmt.Errorf("stream %s: seq_num %d lies below the tail %d, but no block holds it", c.id, c.pos, c.tail.Next)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cursor) locateOnce(ctx context.Context, maxBytes uint64) error {
	if c.pos < c.index {
		if err := c.find(ctx, maxBytes); err != nil || len(c.plan) > 0 {
			return err
		}
	}
	located, err := c.ask(ctx, c.pos, maxBytes)
	if err != nil {
		return err
	}
	if located.Start > c.pos {
		c.pos = located.Start // trimmed meanwhile
	}
	c.plan = located.Blocks
	if len(c.plan) > 0 || c.pos >= c.tail.Next {
		return nil
	}
	return c.find(ctx, maxBytes)
}

// mostAsked bounds an owner's answer: the blocks' bytes may come along.
const mostAsked = 2 << 20

// ask asks the owner; the tail needs no proof, for the blocks below it stand.
func (c *cursor) ask(ctx context.Context, from stream.SeqNum, maxBytes uint64) (live.Located, error) {
	located, err := c.service.owner.Locate(ctx, live.Query{
		Name: c.name, Start: live.Start{Kind: live.AtSeqNum, Value: uint64(from)}, MaxBytes: min(maxBytes, mostAsked),
	})
	if err != nil {
		return live.Located{}, err
	}
	if located.Stream != c.id {
		return live.Located{}, &live.GoneError{Err: live.ErrReplaced}
	}
	c.learn(located)
	return located, nil
}

// find plans from footers.
func (c *cursor) find(ctx context.Context, maxBytes uint64) error {
	target, err := c.target(ctx)
	if err != nil {
		return err
	}
	blocks, err := c.service.locator.Find(ctx, target, c.pos, maxBytes)
	c.plan = asLocated(blocks)
	return err
}

// target tells the locator how far the newest log can be trusted: up to the
// first block that the owner has in memory. What is older stands before it.
func (c *cursor) target(ctx context.Context) (logindex.Target, error) {
	target := logindex.Target{Shard: c.shard, Stream: c.id}
	if c.durableTo < c.index && c.index < c.tail.Next {
		if _, err := c.ask(ctx, c.index, 1); err != nil {
			return target, err
		}
	}
	if c.durableTo >= c.index {
		target.Known = c.durable
	}
	return target, nil
}

// seekTimestamp starts at the first record with that timestamp or a later one,
// which the owner does not have in memory. The position is that of its block: the
// limits leave out the records before it.
func (c *cursor) seekTimestamp(ctx context.Context, t uint64, trim stream.SeqNum, maxBytes uint64) error {
	target, err := c.target(ctx)
	if err != nil {
		return err
	}
	blocks, err := c.service.locator.FindTimestamp(ctx, target, t, maxBytes)
	if err != nil {
		return err
	}
	c.pos = c.index
	if len(blocks) > 0 {
		c.pos = min(c.pos, blocks[0].First)
	}
	c.pos = max(c.pos, trim)
	if len(blocks) > 0 && blocks[0].First <= c.pos && c.pos < blocks[0].Next() {
		c.plan = asLocated(blocks)
	}
	return nil
}

func asLocated(blocks []logindex.Block) []live.LocatedBlock {
	out := make([]live.LocatedBlock, len(blocks))
	for i, b := range blocks {
		out[i] = live.LocatedBlock{Block: b}
	}
	return out
}
