package objstore

import (
	"fmt"
	"math"
)

// Range names a part of an object. It is cut to what the object has: a range
// past the end gives no bytes, a suffix longer than the object gives all of it.
type Range struct {
	Offset int64 // negative: the range is a suffix of Length bytes
	Length int64 // negative: up to the end
}

// Whole is all of an object.
//
//nolint:gochecknoglobals // a constant, which Go has no literal for
var Whole = Range{Offset: 0, Length: -1}

// Bytes is the range of n bytes from off on.
func Bytes(off, n int64) Range { return Range{Offset: off, Length: n} }

// From is everything from off on.
func From(off int64) Range { return Range{Offset: off, Length: -1} }

// Suffix is the last n bytes.
func Suffix(n int64) Range { return Range{Offset: -1, Length: n} }

func (r Range) String() string {
	switch {
	case r.Offset < 0:
		return fmt.Sprintf("last %d", r.Length)
	case r.Length < 0:
		return fmt.Sprintf("%d-", r.Offset)
	default:
		return fmt.Sprintf("%d+%d", r.Offset, r.Length)
	}
}

// within gives the range's first byte and the byte after its last in an object
// of size bytes.
func (r Range) within(size int64) (from, to int64) {
	switch {
	case r.Offset < 0 && r.Length < 0:
		return 0, size
	case r.Offset < 0:
		return size - min(size, r.Length), size
	}
	from = min(r.Offset, size)
	if r.Length < 0 || r.Length > size-from {
		return from, size
	}
	return from, from + r.Length
}

// header gives the range as RFC 9110 spells it. ok is false when HTTP has no
// words for it: a range of no bytes.
func (r Range) header() (value string, ok bool) {
	switch {
	case r.Length == 0:
		return "", false
	case r.Length < 0 && r.Offset <= 0:
		return "", true
	case r.Offset < 0:
		return fmt.Sprintf("bytes=-%d", r.Length), true
	case r.Length < 0 || r.Offset > math.MaxInt64-r.Length:
		return fmt.Sprintf("bytes=%d-", r.Offset), true
	default:
		return fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1), true
	}
}
