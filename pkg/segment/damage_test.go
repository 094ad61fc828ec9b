package segment

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

func TestObjects_AnyFlippedBitIsFound(t *testing.T) {
	for _, o := range sampleObjects() {
		t.Run(o.name, func(t *testing.T) {
			damaged := slices.Clone(o.bytes)
			for i := range damaged {
				for bit := range 8 {
					damaged[i] ^= 1 << bit
					_, err := o.decode(damaged)
					require.ErrorIs(t, err, ErrCorrupt, "byte %d, bit %d", i, bit)
					damaged[i] ^= 1 << bit
				}
			}
		})
	}
}

func TestObjects_AnyTruncationOrAdditionIsFound(t *testing.T) {
	for _, o := range sampleObjects() {
		t.Run(o.name, func(t *testing.T) {
			for n := range o.bytes {
				_, err := o.decode(o.bytes[:n])
				require.Error(t, err, "first %d bytes", n)
				_, err = o.decode(o.bytes[n+1:])
				require.Error(t, err, "without the first %d bytes", n+1)
			}
			_, err := o.decode(append(slices.Clone(o.bytes), 0))
			require.Error(t, err)
			_, err = o.decode(append([]byte{0}, o.bytes...))
			require.Error(t, err)
		})
	}
}

func TestDecodeTrailer_AnyFlippedBitIsFound(t *testing.T) {
	for _, whole := range [][]byte{sampleSegment().Encode(), EncodeSeal(sampled, logB)} {
		last := slices.Clone(whole[len(whole)-TrailerSize:])
		_, err := DecodeTrailer(last)
		require.NoError(t, err)
		for i := range last {
			for bit := range 8 {
				last[i] ^= 1 << bit
				_, err := DecodeTrailer(last)
				require.ErrorIs(t, err, ErrCorrupt)
				last[i] ^= 1 << bit
			}
		}
	}
}

// A segment's suffix is all that a takeover reads: damage in it must show
// without the blocks.
func TestDecodeFooter_AnyFlippedBitIsFound(t *testing.T) {
	whole := sampleSegment().Encode()
	trailer, err := DecodeTrailer(whole)
	require.NoError(t, err)
	suffix := slices.Clone(whole[len(whole)-TrailerSize-int(trailer.FooterSize):])
	_, err = DecodeFooter(suffix)
	require.NoError(t, err)
	for i := range suffix {
		for bit := range 8 {
			suffix[i] ^= 1 << bit
			_, err := DecodeFooter(suffix)
			require.Error(t, err, "byte %d, bit %d", i, bit)
			suffix[i] ^= 1 << bit
		}
	}
}

func TestDecodeFooter_SaysHowMuchItNeeds(t *testing.T) {
	whole := sampleSegment().Encode()
	trailer, err := DecodeTrailer(whole)
	require.NoError(t, err)
	full := TrailerSize + int(trailer.FooterSize)
	for n := TrailerSize; n < full; n++ {
		_, err := DecodeFooter(whole[len(whole)-n:])

		var more *NeedMore
		require.ErrorAs(t, err, &more)
		require.EqualValues(t, full, more.Bytes)
	}
	_, err = DecodeFooter(whole[len(whole)-full:])
	require.NoError(t, err)
}

func TestDecodeBlock_AnyFlippedBitIsFound(t *testing.T) {
	whole := sampleSegment()
	object := whole.Encode()
	for _, section := range whole.Sections() {
		for _, s := range section.Streams {
			for _, ref := range s.Blocks {
				requireDamageFound(t, s.Stream, ref, slices.Clone(object[ref.Offset:][:ref.Stored]))
			}
		}
	}
}

func requireDamageFound(t *testing.T, id stream.ID, ref BlockRef, stored []byte) {
	for i := range stored {
		for bit := range 8 {
			stored[i] ^= 1 << bit
			_, err := DecodeBlock(id, ref, stored)
			require.ErrorIs(t, err, ErrCorrupt)
			stored[i] ^= 1 << bit
		}
		_, err := DecodeBlock(id, ref, stored[:i])
		require.ErrorIs(t, err, ErrCorrupt)
	}
	for _, change := range []func(id *stream.ID, r *BlockRef){
		func(id *stream.ID, _ *BlockRef) { id[3]++ },
		func(_ *stream.ID, r *BlockRef) { r.Stored++ },
		func(_ *stream.ID, r *BlockRef) { r.Raw++ },
		func(_ *stream.ID, r *BlockRef) { r.Codec ^= 1 },
		func(_ *stream.ID, r *BlockRef) { r.Codec = 2 },
		func(_ *stream.ID, r *BlockRef) { r.Checksum++ },
		func(_ *stream.ID, r *BlockRef) { r.First++ },
		func(_ *stream.ID, r *BlockRef) { r.Count++ },
		func(_ *stream.ID, r *BlockRef) { r.FirstTimestamp-- },
		func(_ *stream.ID, r *BlockRef) { r.LastTimestamp++ },
	} {
		otherID, other := id, ref
		change(&otherID, &other)
		_, err := DecodeBlock(otherID, other, stored)
		require.ErrorIs(t, err, ErrCorrupt, "%+v", other)
	}
}

// refFor makes a ref whose checksum fits, so that what lies behind it is tested.
func refFor(ref BlockRef, stored []byte) BlockRef {
	ref.Stored = uint32(len(stored))
	var fields [blockFields]byte
	ref.Checksum = blockChecksum(&fields, idA, &ref, stored)
	return ref
}

func TestDecodeBlock_RefusesDecompressionBombs(t *testing.T) {
	c := newCompressor()
	bomb := slices.Clone(c.compress(make([]byte, MaxBlockBytes+1)))

	for _, raw := range []uint32{0, 1, 4096, MaxBlockBytes, MaxBlockBytes + 1, 1<<32 - 1} {
		_, err := DecodeBlock(idA, refFor(BlockRef{Codec: CodecZstd, Raw: raw, Count: 1}, bomb), bomb)

		require.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestDecodeBlock_RefusesMalformedContentBehindAGoodChecksum(t *testing.T) {
	record := AppendRecord(nil, nil, []byte("body"))
	batch := func(parts ...byte) []byte {
		return append(append([]byte{Version}, parts...), appendString(nil, record)...)
	}
	for name, raw := range map[string][]byte{
		"no batch":              {Version},
		"no records":            batch(0, 5, 0),
		"more records declared": batch(2, 5, 0, 0),
		"endless count":         append([]byte{Version}, bytes.Repeat([]byte{0xff}, 20)...),
		"cut in the payload":    batch(1, 5, 0)[:8],
		"falling time":          append(batch(1, 5, 0), batch(1, 0, 1)[1:]...),
		"bytes left over":       append(batch(1, 5, 0), 1),
		"overlong varint":       batch(1, 0x85, 0, 0),
		"overflowing header":    append([]byte{Version, 1, 5, 0, 10}, binary.AppendUvarint(nil, 1<<63)...),
	} {
		ref := BlockRef{Raw: uint32(len(raw)), Count: 1, FirstTimestamp: 5, LastTimestamp: 5}
		if name == "more records declared" || name == "falling time" {
			ref.Count = 2
		}
		_, err := DecodeBlock(idA, refFor(ref, raw), raw)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	_, err := DecodeBlock(idA, refFor(BlockRef{Raw: 11, Count: 1, FirstTimestamp: 5, LastTimestamp: 5}, batch(1, 5, 0)), batch(1, 5, 0))
	require.NoError(t, err)
}

func TestObjects_OtherVersionsAreNamed(t *testing.T) {
	var unknown *VersionError

	control := sampleChainEntry().Encode()
	control[4] = 9
	reseal(control)
	_, err := DecodeChainEntry(control)
	require.ErrorAs(t, err, &unknown)
	require.EqualValues(t, 9, unknown.Version)
	require.ErrorContains(t, err, "a chain entry has format version 9, this program knows only 1: upgrade it")

	last := EncodeSeal(sampled, logB)
	last = last[len(last)-TrailerSize:]
	last[53] = 2
	reseal(last)
	_, err = DecodeTrailer(last)
	require.ErrorAs(t, err, &unknown)

	raw := []byte{7, 0}
	_, err = DecodeBlock(idA, refFor(BlockRef{Raw: 2, Count: 1}, raw), raw)
	require.ErrorAs(t, err, &unknown)
}

// reseal makes the checksum at the end fit again.
func reseal(b []byte) {
	binary.LittleEndian.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
}

func TestObjects_OtherKindsAreNamed(t *testing.T) {
	var other *KindError

	_, err := DecodeFooter(EncodeSeal(sampled, logB))
	require.ErrorAs(t, err, &other)
	require.Equal(t, KindError{Want: KindSegment, Got: KindSeal}, *other)

	_, _, err = DecodeSeal(sampleSegment().Encode())
	require.ErrorAs(t, err, &other)

	_, err = DecodeState(sampleChainEntry().Encode())
	require.ErrorAs(t, err, &other)
	require.ErrorContains(t, err, "the object is a chain entry, not a state")
}
