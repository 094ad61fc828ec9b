package compaction

import (
	"errors"
	"fmt"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
)

// DamageError says that an object is not what it must be. Nothing of it was taken
// over, and nothing that it was made from was deleted.
type DamageError struct {
	Key string
	Err error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("object %q is damaged: %v; restore it from a copy", e.Key, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

func damaged(key, format string, args ...any) error {
	return &DamageError{Key: key, Err: fmt.Errorf(format, args...)}
}

func behind(format string, args ...any) error {
	return &chunkindex.BehindError{Reason: fmt.Sprintf(format, args...)}
}

// namedButGone says that a chunk object does not stand which the index names. At the
// first time that may be because the index is from the past, and a rebuild tells. If it
// is named ever after, the object is lost, and rebuilding again would not help.
func (c *Compactor) namedButGone(id segment.ChunkID) error {
	if _, again := c.missed.LoadOrStore(id, true); again {
		return damaged(segment.ChunkKey(id), "it is not in the store, but the index names it, also since it was rebuilt")
	}
	return behind("chunk object %d is not in the store, but the index names it", id)
}

func isBehind(err error) bool {
	var b *chunkindex.BehindError
	return errors.As(err, &b)
}

func isDamage(err error) bool {
	var d *DamageError
	return errors.As(err, &d)
}

// twice repeats a read whose bytes were wrong: a proxy or a cache in between may
// have been at fault.
func twice[T any](read func() (T, error)) (T, error) {
	value, err := read()
	if isDamage(err) {
		return read()
	}
	return value, err
}
