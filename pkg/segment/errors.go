package segment

import (
	"errors"
	"fmt"
)

// ErrCorrupt is in the chain of every error that damaged bytes cause: a wrong
// checksum, a truncation, a length that does not fit.
var ErrCorrupt = errors.New("corrupt")

// VersionError says that an object is sound but of a format version that this
// program does not know.
type VersionError struct {
	What    string
	Version byte
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("segment: %s has format version %d, this program knows only %d: upgrade it",
		e.What, e.Version, Version)
}

// KindError says that a sound object is not of the kind asked for, such as a
// seal where a segment was wanted.
type KindError struct {
	Want, Got Kind
}

func (e *KindError) Error() string {
	return fmt.Sprintf("segment: the object is a %s, not a %s", e.Got, e.Want)
}

// NeedMore says that the suffix given to DecodeFooter does not hold the whole
// footer.
type NeedMore struct {
	Bytes int64 // length of the suffix that does
}

func (e *NeedMore) Error() string {
	return fmt.Sprintf("segment: the footer and trailer take the last %d bytes of the object", e.Bytes)
}

func corruptf(format string, args ...any) error {
	return fmt.Errorf("segment: %w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
