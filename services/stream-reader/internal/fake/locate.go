package fake

import (
	"context"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Locate implements live.Owner.
func (c *Cluster) Locate(ctx context.Context, q live.Query) (live.Located, error) {
	if err := ctx.Err(); err != nil {
		return live.Located{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	shard := Shard(q.Name)
	if c.down[shard] {
		return live.Located{}, ErrDown
	}
	s := c.streams[q.Name]
	if s == nil {
		return live.Located{}, &live.GoneError{Err: ErrNoStream}
	}
	if s.Gone != nil {
		return live.Located{}, s.Gone
	}
	o := c.owners[shard]
	out := live.Located{
		Stream: s.ID, Epoch: o.entry.Epoch, Log: o.entry.Owner, Trim: s.Trim, Tail: s.tail(), Index: s.tail().Next,
	}
	if first, _, ok := o.index.Covered(s.ID); ok {
		out.Index = first
	}
	o.findStart(&out, s, q.Start)
	if !out.StartUnknown && q.MaxBytes > 0 {
		o.addBlocks(&out, q)
		for i := range out.Blocks {
			c.carried += len(out.Blocks[i].Data)
		}
	}
	return out, nil
}

func (o *owner) findStart(out *live.Located, s *Stream, start live.Start) {
	switch start.Kind {
	case live.AtSeqNum, live.AtSeqID:
		out.Start = stream.SeqNum(start.Value)
	case live.AtTailOffset:
		out.Start = out.Tail.Next - min(out.Tail.Next, stream.SeqNum(start.Value))
	case live.AtTimestamp:
		if out.Tail.Next == out.Trim || start.Value > out.Tail.LastTimestamp {
			out.Start = out.Tail.Next
			break
		}
		span, ok := o.index.LookupTimestamp(s.ID, start.Value, 1)
		if !ok || span.Earlier && span.First > out.Trim || len(span.Blocks) == 0 {
			out.StartUnknown = true
			return
		}
		out.Start = span.Blocks[0].First
	}
	out.Start = max(out.Start, out.Trim)
}

func (o *owner) addBlocks(out *live.Located, q live.Query) {
	span, _ := o.index.Lookup(out.Stream, out.Start, q.MaxBytes)
	for _, b := range span.Blocks {
		located := live.LocatedBlock{Block: b}
		if !q.PlacesOnly {
			located.Data = o.data[dataKey{b.Log, b.Slot, b.Offset}]
		}
		out.Blocks = append(out.Blocks, located)
	}
}
