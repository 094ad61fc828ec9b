package segment

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

// The payload decoders are fuzzed behind their checksums, which random bytes
// would never pass; what they accept must survive another round.

func FuzzDecodeTrailer(f *testing.F) {
	for _, o := range sampleObjects() {
		f.Add(o.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= TrailerSize {
			b = slices.Clone(b)
			reseal(b)
		}
		trailer, err := DecodeTrailer(b)
		if err != nil {
			return
		}
		require.Contains(t, []Kind{KindSegment, KindSeal}, trailer.Kind)
		_, _ = VerifyChunks(b, nil)
		_, _ = DecodeFooter(b)
		_, _ = Verify(b)
		_, _, _ = DecodeSeal(b)
	})
}

func FuzzDecodeFooter(f *testing.F) {
	for _, s := range []*Segment{sampleSegment(), {}} {
		f.Add(appendFooter(nil, s.States, s.encodedSections()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		footer, err := decodeFooter(sampled, b)
		if err != nil {
			return
		}
		again, err := decodeFooter(sampled, appendFooter(nil, footer.States, footer.Sections))
		require.NoError(t, err)
		require.Equal(t, footer, again)
	})
}

func FuzzDecodeChunks(f *testing.F) {
	_, about := sampleChunks(sampleSegment())
	f.Add(appendChunksFooter(nil, about))
	f.Add(appendChunksFooter(nil, &Chunks{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		chunks, err := decodeChunksFooter(sampled, b)
		if err != nil {
			return
		}
		again, err := decodeChunksFooter(sampled, appendChunksFooter(nil, chunks))
		require.NoError(t, err)
		require.Equal(t, chunks, again)
	})
}

func (s *Segment) encodedSections() []Section {
	s.Encode()
	return s.Sections()
}

func FuzzDecodeBlock(f *testing.F) {
	s := sampleSegment()
	object := s.Encode()
	for _, section := range s.Sections() {
		for _, sum := range section.Streams {
			for _, r := range sum.Blocks {
				f.Add(object[r.Offset:][:r.Stored], byte(r.Codec), r.Raw, uint64(r.First), r.Count, r.FirstTimestamp, r.LastTimestamp)
			}
		}
	}
	f.Fuzz(func(t *testing.T, stored []byte, codec byte, raw uint32, first uint64, count uint32, from, to uint64) {
		ref := refFor(BlockRef{
			Codec: Codec(codec), Raw: raw, First: stream.SeqNum(first), Count: count, FirstTimestamp: from, LastTimestamp: to,
		}, stored)
		block, err := DecodeBlock(idA, ref, stored)
		if err != nil {
			return
		}
		requireReadable(t, block, ref)
	})
}

// requireReadable walks a block that was accepted.
func requireReadable(t *testing.T, block *Block, ref BlockRef) {
	n, last, idMillis := 0, ref.FirstTimestamp, uint64(0)
	for r := range block.All() {
		require.Equal(t, ref.First+stream.SeqNum(n), r.SeqNum)
		require.GreaterOrEqual(t, r.Timestamp, last)
		require.GreaterOrEqual(t, r.IDMillis, idMillis)
		n, last, idMillis = n+1, r.Timestamp, r.IDMillis
	}
	require.Equal(t, block.Len(), n)
	require.Equal(t, ref.LastTimestamp, last)
	require.Equal(t, ref.First, block.AtOrAfter(ref.FirstTimestamp))
}

func FuzzDecodeState(f *testing.F) {
	for _, s := range []*State{sampleState(), {}} {
		payload, err := DecodeEnvelope(KindState, s.Encode())
		require.NoError(f, err)
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		state, err := decodeState(payload)
		if err != nil {
			return
		}
		again, err := DecodeState(state.Encode())
		require.NoError(t, err)
		require.Equal(t, state, again)
	})
}

func FuzzDecodeChainEntry(f *testing.F) {
	for _, e := range []ChainEntry{sampleChainEntry(), {}} {
		payload, err := DecodeEnvelope(KindChainEntry, e.Encode())
		require.NoError(f, err)
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		object := EncodeEnvelope(KindChainEntry, payload)
		e, err := DecodeChainEntry(object)
		if err != nil {
			return
		}
		require.Equal(t, object, e.Encode())
	})
}

func FuzzDecodeEnvelope(f *testing.F) {
	for _, o := range sampleObjects() {
		f.Add(byte(KindCluster), o.bytes)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if len(b) >= envelopeSize {
			b = slices.Clone(b)
			reseal(b)
		}
		payload, err := DecodeEnvelope(Kind(kind), b)
		if err != nil {
			return
		}
		require.Equal(t, b, EncodeEnvelope(Kind(kind), payload))
	})
}
