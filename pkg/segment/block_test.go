package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestBlock_StartsAtAnyPositionAndTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		object := m.segment.Encode()
		for _, section := range m.segment.Sections() {
			for _, s := range section.Streams {
				for _, ref := range s.Blocks {
					b, err := DecodeBlock(s.Stream, ref, object[ref.Offset:][:ref.Stored])
					require.NoError(t, err)
					requireStarts(t, b)
				}
			}
		}
	})
}

func requireStarts(t require.TestingT, b *Block) {
	all := collect(b, 0)
	for i := range len(all) + 2 {
		seq := b.Ref().First + stream.SeqNum(i)
		requireSameRecords(t, all[min(i, len(all)):], collect(b, seq))
	}
	for _, wanted := range all {
		for _, timestamp := range []uint64{wanted.Timestamp - 1, wanted.Timestamp, wanted.Timestamp + 1} {
			want := b.Ref().Next()
			for i := len(all) - 1; i >= 0 && all[i].Timestamp >= timestamp; i-- {
				want = all[i].SeqNum
			}
			require.Equal(t, want, b.AtOrAfter(timestamp))
		}
	}
}

func TestBlock_StopsWhenToldTo(t *testing.T) {
	b := decodeOnly(t, benchSegment(1, 3, 4, 100, contents()[0]))
	seen := 0
	for range b.All() {
		if seen++; seen == 5 {
			break
		}
	}
	require.Equal(t, 5, seen)
	require.Equal(t, 12, b.Len())
}

// decodeOnly decodes the only block of a segment.
func decodeOnly(t testing.TB, s *Segment) *Block {
	object := s.Encode()
	sum := s.Sections()[0].Streams[0]
	require.Len(t, sum.Blocks, 1)
	ref := sum.Blocks[0]
	b, err := DecodeBlock(sum.Stream, ref, object[ref.Offset:][:ref.Stored])
	require.NoError(t, err)
	require.Equal(t, ref, b.Ref())
	require.Equal(t, sum.Stream, b.Stream())
	return b
}

func TestBlock_IsReadWithoutAllocatingPerRecord(t *testing.T) {
	s := benchSegment(1, 1, 1, 100, contents()[0])
	header := []*samsav1.Header{{Name: []byte("n"), Value: []byte("v")}}
	for range 999 {
		s.Batches[0].Payload = AppendRecord(s.Batches[0].Payload, header, []byte("body"))
		s.Batches[0].Timestamps = append(s.Batches[0].Timestamps, s.Batches[0].IDMillis)
	}
	b := decodeOnly(t, s)
	allocations := testing.AllocsPerRun(10, func() {
		for r := range b.All() {
			if len(r.Body) == 0 {
				t.Fatal("a record without body")
			}
		}
	})
	require.LessOrEqual(t, allocations, 4.0)
}

func TestBlocks_AreCutAtBatchesNear256KiB(t *testing.T) {
	s := benchSegment(1, 40, 50, 1024, contents()[0])
	object := s.Encode()

	blocks := s.Sections()[0].Streams[0].Blocks

	require.Greater(t, len(blocks), 7)
	for i, ref := range blocks {
		require.LessOrEqual(t, int(ref.Raw), targetBlockBytes+1<<10)
		require.Zero(t, ref.Count%50)
		if i > 0 {
			require.Equal(t, blocks[i-1].Next(), ref.First)
			require.Equal(t, blocks[i-1].Offset+uint64(blocks[i-1].Stored), ref.Offset)
		}
	}
	_, err := Verify(object)
	require.NoError(t, err)
}

// Writers keep objects in memory and count their lengths.
func TestEncode_TakesAboutTheMemoryOfItsBytes(t *testing.T) {
	for _, c := range contents() {
		for _, streams := range []int{1, 100} {
			object := benchSegment(streams, 4, 10, 1024, c).Encode()
			require.LessOrEqual(t, cap(object), len(object)*3/2, "%s, %d streams", c.name, streams)
		}
	}
}

func TestBlocks_AreCompressedOnlyWhenItPays(t *testing.T) {
	c := newCompressor()
	random := make([]byte, 256<<10)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	text := bytes.Repeat([]byte("all work and no play "), 10_000)

	require.Nil(t, c.compress(text[:minCompressBytes-1]), "too small")
	require.NotNil(t, c.compress(text[:minCompressBytes]))
	require.NotNil(t, c.compress(text))
	require.Nil(t, c.compress(random))
	require.Nil(t, c.compress(random[:4096]))
	require.Nil(t, c.compress(append(text[:5000:5000], random...)), "most of it doesn't compress")

	raw, err := decompress(c.compress(text), uint32(len(text)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(text, raw))
}

// A slot that is put twice must have the same bytes, whatever its encoder did in
// between.
func TestCompress_DoesNotDependOnWhatWasCompressedBefore(t *testing.T) {
	used := newCompressor()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		text := make([]byte, 1<<10+rng.IntN(200<<10))
		contents()[1].fill(rng, text)
		require.True(t, bytes.Equal(newCompressor().compress(text), used.compress(text)))
	}
}
