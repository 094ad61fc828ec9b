package logindex

import (
	"errors"
	"fmt"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// DamageError says that the object store does not hold what it must. Nothing of
// it has been served.
type DamageError struct {
	Key    string
	Offset uint64 // where in the object, if a block is at fault
	// Collected: the object is a slot that was deleted by the rules. Its records are
	// in chunks, or are not kept any more.
	Collected bool
	Err       error
}

func (e *DamageError) Error() string {
	if e.Collected {
		return fmt.Sprintf("object %q has been compacted and deleted", e.Key)
	}
	return fmt.Sprintf("object %q is damaged at offset %d: %v; restore it from a copy", e.Key, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// Missing tells whether err says that an object which must exist does not.
func Missing(err error) bool {
	var damage *DamageError
	return errors.As(err, &damage) && errors.Is(damage.Err, objstore.ErrNotFound)
}

// twice repeats a read whose bytes were wrong: a proxy or a cache in between may
// have been at fault.
func twice[T any](read func() (T, error)) (T, error) {
	value, err := read()
	var damage *DamageError
	if errors.As(err, &damage) {
		return read()
	}
	return value, err
}
