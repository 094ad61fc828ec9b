package segment

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func appendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendDelta writes v by its distance from base, in either direction. The
// distance wraps around, so every pair of values has one.
func appendDelta(dst []byte, base, v uint64) []byte {
	return binary.AppendVarint(dst, int64(v-base))
}

// reader takes values off the front of b. After the first failure it yields
// zeros and keeps the error, so a decoder checks err once, at its end, and
// before it trusts a count.
type reader struct {
	b    []byte
	what string // what is being decoded, for errors
	err  error
}

func (r *reader) failf(format string, args ...any) {
	if r.err == nil {
		r.err = corruptf(r.what+": "+format, args...)
		r.b = nil
	}
}

// done is the error of the whole decoding; bytes left over are one.
func (r *reader) done() error {
	if len(r.b) > 0 {
		r.failf("%d bytes left over", len(r.b))
	}
	return r.err
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.failf("cut short: %d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failf("cut short")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// uvarint takes an unsigned varint; a longer form than needed is refused, so
// that a value has one encoding.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.failf("malformed varint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.failf("%d exceeds 32 bits", v)
		return 0
	}
	return uint32(v)
}

func (r *reader) delta(base uint64) uint64 {
	u := r.uvarint()
	return base + (u>>1 ^ -(u & 1))
}

// sum takes an unsigned varint that is added to base.
func (r *reader) sum(base uint64) uint64 {
	v := base + r.uvarint()
	if v < base {
		r.failf("%d overflows", base)
		return 0
	}
	return v
}

func (r *reader) fixed32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.failf("cut short: a string of %d bytes, %d left", n, len(r.b))
		return ""
	}
	return string(r.take(int(n)))
}

// count takes a number of items that have at least size bytes each, so what is
// allocated for them is bounded by the input.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.failf("%d items cannot stand in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

// items makes room for n items; none is nil, as in what was encoded.
func items[T any](n int) []T {
	if n == 0 {
		return nil
	}
	return make([]T, n)
}
