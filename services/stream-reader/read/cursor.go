package read

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
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
	// warm: the blocks that the owner named last are in memory here, as somebody else
	// has read them. Their bytes need not come from the owner again.
	warm bool

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
	c.warm = c.holds(located.Blocks)
	c.epoch, c.log, c.index = located.Epoch, located.Log, located.Index
	if n := len(located.Blocks); n > 0 {
		last := &located.Blocks[n-1]
		c.durableTo = last.Next()
		c.durable = logindex.Durable{Epoch: located.Epoch, Log: last.Log, End: last.Slot + 1}
	}
}

// holds tells whether all blocks are in memory here.
func (c *cursor) holds(blocks []live.LocatedBlock) bool {
	return len(blocks) > 0 && !slices.ContainsFunc(blocks, func(b live.LocatedBlock) bool { return !c.service.blocks.Holds(c.id, b.Block) })
}

func (c *cursor) hear(tail live.Tail) {
	if tail.Next > c.tail.Next {
		c.tail = tail
	}
}

// stretch is blocks that hold every record from a position on, until one ends. If that
// position lies behind the end of the stretch before, what is between was trimmed.
type stretch struct {
	from   stream.SeqNum
	blocks []*segment.Block // none at the tail
}

// window fetches the next stretch, of about maxBytes.
func (c *cursor) window(ctx context.Context, maxBytes uint64) (stretch, error) {
	relocated := false
	for {
		if c.pos >= c.tail.Next {
			return stretch{from: c.pos}, nil
		}
		if len(c.plan) == 0 {
			if err := c.locate(ctx, maxBytes); err != nil {
				return stretch{}, err
			}
			continue
		}
		n := planned(c.plan, maxBytes)
		if relocated {
			n = 1 // what comes behind may have moved, too: it is looked for when it is its turn
		}
		blocks, err := live.Decode(ctx, c.service.blocks, c.id, c.plan[:n])
		if logindex.Missing(err) && n > 1 {
			// Perhaps a later one: the slots of a log that has ended are no more, while
			// those before, of a log that nobody has sealed, still are.
			n = 1
			blocks, err = live.Decode(ctx, c.service.blocks, c.id, c.plan[:n])
		}
		if logindex.Missing(err) && !relocated {
			relocated = true
			if err := c.relocate(ctx, maxBytes); err != nil {
				return stretch{}, err
			}
			continue
		}
		if err != nil {
			return stretch{}, err
		}
		s := stretch{c.pos, blocks}
		c.pos, c.plan = c.plan[n-1].Next(), c.plan[n:]
		return s, nil
	}
}

// follow plans to fetch these blocks, as far as they hold every record from the
// position on.
func (c *cursor) follow(blocks []live.LocatedBlock) {
	c.plan = nil
	for at := c.pos; len(c.plan) < len(blocks); {
		next := &blocks[len(c.plan)]
		if next.First > at || next.Next() <= at {
			return
		}
		at, c.plan = next.Next(), blocks[:len(c.plan)+1]
	}
}

// relocate plans anew when a planned object is not there: its records have been
// trimmed, which the owner knows, or have moved into chunks, which it does not. It
// may name slots of logs that are no more.
func (c *cursor) relocate(ctx context.Context, maxBytes uint64) error {
	c.plan = nil
	c.service.locator.Forget(c.id)
	located, err := c.ask(ctx, c.pos, 1, true)
	if err != nil {
		return err
	}
	if c.pos = max(c.pos, located.Start); c.pos >= c.tail.Next {
		return nil
	}
	return c.find(ctx, maxBytes)
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
			if err := clock.Sleep(ctx, 20*time.Millisecond<<try); err != nil {
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

func (c *cursor) locateOnce(ctx context.Context, maxBytes uint64) error {
	var missing error
	if c.pos < c.index {
		err := c.find(ctx, maxBytes)
		if len(c.plan) > 0 || err != nil && !logindex.Missing(err) {
			return err
		}
		missing = err
	}
	placesOnly := c.warm
	located, err := c.ask(ctx, c.pos, maxBytes, placesOnly)
	if err == nil && placesOnly && !c.warm { // what others have read ends here
		located, err = c.ask(ctx, c.pos, maxBytes, false)
	}
	if err != nil {
		return err
	}
	if located.Start > c.pos {
		c.pos, missing = located.Start, nil // trimmed meanwhile
	}
	c.follow(located.Blocks)
	if len(c.plan) > 0 || c.pos >= c.tail.Next || missing != nil {
		return missing
	}
	return c.find(ctx, maxBytes)
}

// mostAsked bounds an owner's answer: the blocks' bytes may come along.
const mostAsked = 2 << 20

// ask asks the owner; the tail needs no proof, for the blocks below it stand.
func (c *cursor) ask(ctx context.Context, from stream.SeqNum, maxBytes uint64, placesOnly bool) (live.Located, error) {
	located, err := c.service.owner.Locate(ctx, live.Query{
		Name: c.name, Start: live.Start{Kind: live.AtSeqNum, Value: uint64(from)}, MaxBytes: min(maxBytes, mostAsked), PlacesOnly: placesOnly,
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
	c.follow(asLocated(blocks))
	return err
}

// target tells the locator how far the newest log can be trusted: up to the
// first block that the owner has in memory. What is older stands before it.
func (c *cursor) target(ctx context.Context) (logindex.Target, error) {
	target := logindex.Target{Shard: c.shard, Stream: c.id}
	if c.durableTo < c.index && c.index < c.tail.Next {
		if _, err := c.ask(ctx, c.index, 1, true); err != nil {
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
	c.follow(asLocated(blocks))
	return nil
}

func asLocated(blocks []logindex.Block) []live.LocatedBlock {
	out := make([]live.LocatedBlock, len(blocks))
	for i, b := range blocks {
		out[i] = live.LocatedBlock{Block: b}
	}
	return out
}
