package compaction

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestPlan_MergesAndLeavesOutBehindAStreamThatHasEnded(t *testing.T) {
	w := newWorld(t, 1, memIndex)
	dead, alive := stream.ID{1}, stream.ID{2}
	c := &content{blocks: map[stream.ID][]*segment.Block{dead: {w.block(dead, 0)}, alive: {w.block(alive, 3), w.block(alive, 4)}}}
	tail := func(id stream.ID, first stream.SeqNum, count uint32) chunkindex.Chunk {
		return chunkindex.Chunk{Stream: id, BlockRef: segment.BlockRef{First: first, Count: count, Raw: 10}}
	}
	tails := []chunkindex.Chunk{tail(dead, 0, 1), tail(alive, 0, 3), tail(alive, 3, 1)}
	p := makePlan(c, []stream.ID{dead, alive}, map[stream.ID]chunkindex.Limit{dead: {Dead: true}}, tails, nil, 1<<20)
	require.Equal(t, tails[1:], p.replaced)
	last := p.pieces[len(p.pieces)-1]
	require.Equal(t, []stream.SeqNum{4, 5}, []stream.SeqNum{last.first, last.next}, "record 3 is in a chunk already")
	require.Len(t, p.pieces, 3)
}

// block is one record, as read from a segment.
func (w *world) block(id stream.ID, at stream.SeqNum) *segment.Block {
	s := &segment.Segment{Batches: []segment.Batch{{Stream: id, First: at, Timestamps: []uint64{1}, Payload: segment.AppendRecord(nil, nil, []byte("a record"))}}}
	body := s.Encode()
	footer, err := segment.Verify(body)
	require.NoError(w.t, err)
	ref := footer.Sections[0].Streams[0].Blocks[0]
	block, err := segment.DecodeBlock(id, ref, body[ref.Offset:][:ref.Stored])
	require.NoError(w.t, err)
	return block
}
