package segment

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/samsa-io/samsa/pkg/stream"
)

// blocksOf decodes every block of a segment, by stream and position.
func blocksOf(s *Segment) []*Block {
	object := s.Encode()
	var out []*Block
	for _, section := range s.Sections() {
		for _, sum := range section.Streams {
			for _, ref := range sum.Blocks {
				block, err := DecodeBlock(sum.Stream, ref, object[ref.Offset:][:ref.Stored])
				if err != nil {
					panic(err)
				}
				out = append(out, block)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Block) int {
		if c := bytes.Compare(a.id[:], b.id[:]); c != 0 {
			return c
		}
		return int(a.ref.First) - int(b.ref.First)
	})
	return out
}

// sampleChunks has a stream with two runs and sources.
func sampleChunks(s *Segment) ([]byte, *Chunks) {
	w := NewChunkWriter(Chunks{ID: 7, Log: logA, From: 41, To: 42, Sources: []ChunkID{3, 5}}, 1<<10)
	for _, block := range blocksOf(s) {
		w.Add(block, 0, stream.MaxSeqNum)
	}
	return w.Finish()
}

func record(r stream.Record) stream.Record {
	r.Headers = slices.Clone(r.Headers)
	if len(r.Headers) == 0 {
		r.Headers = nil
	}
	return r
}

func recordsIn(blocks []*Block) map[stream.ID][]stream.Record {
	out := map[stream.ID][]stream.Record{}
	for _, b := range blocks {
		for r := range b.All() {
			out[b.id] = append(out[b.id], record(r))
		}
	}
	return out
}

func TestChunkWriter_KeepsEveryRecordAndCutsAtBatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &Segment{Header: sampled}
		next := map[stream.ID]stream.SeqNum{idB: 7}
		for n := range rapid.IntRange(1, 40).Draw(rt, "batches") {
			id := rapid.SampledFrom([]stream.ID{idA, idB}).Draw(rt, "stream")
			b := Batch{Shard: 1, Stream: id, First: next[id], IDMillis: uint64(n)}
			for range rapid.IntRange(1, 4).Draw(rt, "records") {
				b.Timestamps = append(b.Timestamps, uint64(n))
				b.Payload = append(b.Payload, sampleRecords(string(make([]byte, rapid.IntRange(0, 900).Draw(rt, "size"))))...)
			}
			next[id] = b.next()
			s.Batches = append(s.Batches, b)
		}
		target := rapid.IntRange(1, 3000).Draw(rt, "target")
		w := NewChunkWriter(Chunks{ID: 1}, target)
		blocks := blocksOf(s)
		for _, block := range blocks {
			w.Add(block, 0, stream.MaxSeqNum)
		}
		object, about := w.Finish()

		var got []*Block
		again, err := VerifyChunks(object, func(b *Block) { got = append(got, b) })

		require.NoError(rt, err)
		require.Equal(rt, about, again)
		require.Equal(rt, recordsIn(blocks), recordsIn(got))
		for _, b := range got {
			require.True(rt, int(b.ref.Raw) <= target+64 || len(slices.Collect(batchesOf(b))) == 1, "a block is cut before it exceeds the target")
		}
	})
}

func batchesOf(b *Block) func(func(batchView) bool) {
	return func(yield func(batchView) bool) {
		for batch, rest := b.start(), b.batches; len(rest) > 0; {
			batch, rest, _ = batch.next(rest)
			if !yield(batch) {
				return
			}
		}
	}
}

func TestChunkWriter_TakesABlockFromABatchOn(t *testing.T) {
	blocks := blocksOf(sampleSegmentOf([]byte("small")))
	w := NewChunkWriter(Chunks{ID: 1}, 1<<20)
	for _, block := range blocks {
		if block.id == idB {
			w.Add(block, 8, 9)
		}
	}
	_, about := w.Finish()
	require.Len(t, about.Runs, 1)
	require.EqualValues(t, 8, about.Runs[0].First())
	require.EqualValues(t, 9, about.Runs[0].Next())
}

func TestChunkWriter_RefusesDisorder(t *testing.T) {
	blocks := blocksOf(sampleSegmentOf([]byte("small")))
	w := NewChunkWriter(Chunks{ID: 1}, 1<<20)
	w.Add(blocks[len(blocks)-1], 0, stream.MaxSeqNum)
	require.Panics(t, func() { w.Add(blocks[0], 0, stream.MaxSeqNum) })
	require.Panics(t, func() { w.Add(blocks[len(blocks)-1], 0, stream.MaxSeqNum) })
}

func TestDecodeTrailer_TakesNoChunkObjectForASlot(t *testing.T) {
	object, _ := sampleChunks(sampleSegment())
	_, err := DecodeTrailer(object)
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = DecodeChunks(sampleSegment().Encode())
	var other *KindError
	require.ErrorAs(t, err, &other)
}

func TestDecodeChunks_SaysHowMuchItNeeds(t *testing.T) {
	object, about := sampleChunks(sampleSegment())
	_, err := DecodeChunks(object[len(object)-TrailerSize:])
	var more *NeedMore
	require.ErrorAs(t, err, &more)
	again, err := DecodeChunks(object[len(object)-int(more.Bytes):])
	require.NoError(t, err)
	require.Equal(t, about, again)
	require.Equal(t, "chunk/00000000000000000007", ChunkKey(about.ID))
}
