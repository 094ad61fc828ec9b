package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Store holds immutable objects under keys (see [CheckKey]). It is safe for
// concurrent use. Errors other than the sentinels below, and contexts that end,
// say nothing about whether the call took effect.
type Store interface {
	// PutIfAbsent creates key with body, which is not kept. nil: created, and as
	// durable as the store makes an object. ErrExists: the key stands already,
	// just as durable. ErrConflict: the store could not decide, try again. After
	// any other error the object may exist, or come to exist later. The call is
	// never repeated by the store, by a wrapper or by a library below them.
	PutIfAbsent(ctx context.Context, key string, body []byte) error

	// Get reads the part of the object that r names. ErrNotFound: there is none.
	Get(ctx context.Context, key string, r Range) (Object, error)

	// Head tells about the object. ErrNotFound: there is none.
	Head(ctx context.Context, key string) (Info, error)

	// Delete removes the object; nil if there was none.
	Delete(ctx context.Context, key string) error

	// List yields the objects whose keys begin with prefix and are greater than
	// startAfter, ordered by the bytes of their keys. An error ends it.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error]
}

// Info is what a store tells about an object without its body.
type Info struct {
	Key      string
	Size     int64     // of the whole object, in bytes
	Modified time.Time // by the store's clock; coarse, no order follows from it
	// Date is the store's clock when it answered a Get or Head, to the second;
	// zero if it did not say, and in a List.
	Date time.Time
}

// Object is an object, or the part of it that was asked for.
type Object struct {
	Info
	Body []byte // the caller's own
}

// The answers that callers tell apart.
var (
	// ErrExists: the key stands already.
	ErrExists = errors.New("object exists")
	// ErrConflict: another write of the key is under way (409); try again.
	ErrConflict = errors.New("conflicting write under way")
	// ErrNotFound: no object has the key.
	ErrNotFound = errors.New("object not found")
	// ErrInvalidKey: no store would take the key.
	ErrInvalidKey = errors.New("invalid object key")
	// ErrRefused: the store understood and will not: credentials, permissions, a
	// bucket that is not there. Asking again changes nothing.
	ErrRefused = errors.New("store refused the request")
	// ErrFatal: the store can no longer tell what is durable (an fsync failed).
	// Every later call fails with it; the process has to end.
	ErrFatal = errors.New("store failed for good")
)

// Error says which call on which key failed. It wraps the reason.
type Error struct {
	Op  string // "put", "get", "head", "delete", "list", as metrics name them
	Key string // for "list" the prefix
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("objstore: %s %q: %v", e.Op, e.Key, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Names of the operations in errors, metrics, spans and scripts of faults.
const (
	OpPut    = "put"
	OpGet    = "get"
	OpHead   = "head"
	OpDelete = "delete"
	OpList   = "list"
)

func opError(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Key: key, Err: err}
}

// Close releases what a store holds: connections, locks. Stores that hold
// nothing need no Close; wrappers pass it on.
func Close(s Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
