package compaction

import (
	"slices"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// plan is what a job's object is to hold.
type plan struct {
	pieces   []piece            // by stream and position
	replaced []chunkindex.Chunk // that are in it too
	spoiled  map[chunkindex.Chunk]bool
}

// piece is records that go into the object: of a block that was read, or of a chunk
// that is to be read.
type piece struct {
	stream      stream.ID
	first, next stream.SeqNum
	block       *segment.Block    // nil: of the chunk
	chunk       *chunkindex.Chunk // whole
}

// sources is the objects whose chunks are replaced, ascending.
func (p *plan) sources() []segment.ChunkID {
	var ids []segment.ChunkID
	for i := range p.replaced {
		ids = append(ids, p.replaced[i].Object)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// makePlan decides what of the slots is kept and which chunks are merged in. limits
// says what need not be kept; tails are the chunks that stand before or in the spans
// of the streams, by stream and position; those that are spoiled are not merged in.
func makePlan(
	c *content, ids []stream.ID, limits map[stream.ID]chunkindex.Limit, tails []chunkindex.Chunk, spoiled map[chunkindex.Chunk]bool, target int,
) *plan {
	p := &plan{spoiled: spoiled}
	for _, id := range ids {
		n := 0
		for n < len(tails) && tails[n].Stream == id {
			n++
		}
		if limit := limits[id]; !limit.Dead {
			p.stream(missing(c.blocks[id], limit.Trim, tails[:n]), limit.Trim, tails[:n], target)
		}
		tails = tails[n:]
	}
	return p
}

// missing is what of a stream's blocks is in no chunk yet, and above the trim point.
// Chunks and blocks begin and end at borders of batches, so it is whole batches.
func missing(blocks []*segment.Block, trim stream.SeqNum, have []chunkindex.Chunk) []piece {
	var out []piece
	for _, b := range blocks {
		ref := b.Ref()
		if ref.Next() <= trim {
			continue
		}
		at := ref.First
		for i := range have {
			if !have[i].Overlaps(at, ref.Next()) {
				continue
			}
			if have[i].First > at {
				out = append(out, piece{stream: b.Stream(), first: at, next: have[i].First, block: b})
			}
			at = have[i].Next()
		}
		if at < ref.Next() {
			out = append(out, piece{stream: b.Stream(), first: at, next: ref.Next(), block: b})
		}
	}
	return out
}

// stream plans for the pieces of one stream: of each run of them, whether the chunks
// before it are merged in.
func (p *plan) stream(pieces []piece, trim stream.SeqNum, have []chunkindex.Chunk, target int) {
	for len(pieces) > 0 {
		n, raw := 1, uint64(pieces[0].block.Size())
		for n < len(pieces) && pieces[n].first == pieces[n-1].next {
			raw += uint64(pieces[n].block.Size())
			n++
		}
		p.merge(pieces[0].first, raw, trim, have, target)
		p.pieces = append(p.pieces, pieces[:n]...)
		pieces = pieces[n:]
	}
}

// merge takes over the chunks that end where a run begins, while they are unfull and
// at most twice what comes behind them. So a stream's chunks before the last full
// one at least halve from one to the next, and there are few; and a record is
// rewritten once each time that what it stands in grows by half.
func (p *plan) merge(first stream.SeqNum, raw uint64, trim stream.SeqNum, have []chunkindex.Chunk, target int) {
	var taken []piece
	for i := len(have) - 1; i >= 0; i-- {
		c := &have[i]
		if c.Next() > first {
			continue
		}
		if c.Next() != first || c.Next() <= trim || uint64(c.Raw) > 2*raw || int(c.Raw) >= target*3/4 || p.spoiled[*c] {
			break
		}
		taken = append(taken, piece{stream: c.Stream, first: c.First, next: c.Next(), chunk: c})
		raw += uint64(c.Raw)
		first = c.First
	}
	slices.Reverse(taken)
	for _, t := range taken {
		p.replaced = append(p.replaced, *t.chunk)
	}
	p.pieces = append(p.pieces, taken...)
}
