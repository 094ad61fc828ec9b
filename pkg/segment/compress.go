package segment

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Codec says how a block is stored.
type Codec uint8

// The codecs. The numbers are part of the format.
const (
	CodecNone Codec = 0
	CodecZstd Codec = 1
)

func (c Codec) String() string {
	switch c {
	case CodecNone:
		return "none"
	case CodecZstd:
		return "zstd"
	}
	return "unknown"
}

const (
	// minCompressBytes is the smallest block worth trying.
	minCompressBytes = 512
	// sampleAboveBytes is the smallest block that is sampled first: samplePieces
	// pieces of it, evenly spread, must compress for the whole to be tried.
	sampleAboveBytes = 64 << 10
	samplePieces     = 3
	samplePieceBytes = 4 << 10
)

// pays tells whether compressing saves at least one eighth: less isn't worth
// the reader's time.
func pays(stored, raw int) bool { return stored <= raw-raw/8 }

// compressor makes stored bytes of raw ones. It serves one goroutine at a time.
type compressor struct {
	zstd   *zstd.Encoder
	sample []byte
	out    []byte
}

// The pools hold nothing but warm buffers: a zstd coder is costly to make.
var (
	compressors   = sync.Pool{New: func() any { return newCompressor() }}
	decompressors = sync.Pool{New: func() any { return newDecompressor() }}
)

func newCompressor() *compressor {
	// Blocks carry their own checksum.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // only wrong options fail
	}
	return &compressor{zstd: enc}
}

func newDecompressor() *zstd.Decoder {
	// The cap limit makes the declared size of a block the most that is written.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(MaxBlockBytes))
	if err != nil {
		panic(err) // only wrong options fail
	}
	return dec
}

// compress gives the compressed form of raw, valid until the next call, or nil
// if that doesn't pay.
func (c *compressor) compress(raw []byte) []byte {
	if len(raw) < minCompressBytes || !c.promising(raw) {
		return nil
	}
	c.out = c.zstd.EncodeAll(raw, c.out[:0])
	if !pays(len(c.out), len(raw)) {
		return nil
	}
	return c.out
}

// promising tells from a sample whether a large block is worth compressing, so
// that data which doesn't compress costs next to nothing.
func (c *compressor) promising(raw []byte) bool {
	if len(raw) < sampleAboveBytes {
		return true
	}
	c.sample = c.sample[:0]
	for i := range samplePieces {
		at := i * (len(raw) - samplePieceBytes) / (samplePieces - 1)
		c.sample = append(c.sample, raw[at:at+samplePieceBytes]...)
	}
	c.out = c.zstd.EncodeAll(c.sample, c.out[:0])
	return pays(len(c.out), len(c.sample))
}

// decompress fails unless stored is size bytes exactly.
func decompress(stored []byte, size uint32) ([]byte, error) {
	dec := decompressors.Get().(*zstd.Decoder)
	defer decompressors.Put(dec)
	raw, err := dec.DecodeAll(stored, make([]byte, 0, size))
	if err != nil {
		return nil, corruptf("block: %v", err)
	}
	if len(raw) != int(size) {
		return nil, corruptf("block: has %d bytes, %d declared", len(raw), size)
	}
	return raw, nil
}
