package objstore

import (
	"context"
	"errors"
)

// Outcome names an error in metrics, spans and logs: a handful of words, so
// that a label made of it stays bounded.
func Outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrExists):
		return "exists"
	case errors.Is(err, ErrConflict):
		return "conflict"
	case isNotFound(err):
		return "not_found"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, ErrRefused), errors.Is(err, ErrInvalidKey):
		return "refused"
	case errors.Is(err, ErrFatal):
		return "fatal"
	default:
		return "error"
	}
}

// Permanent tells whether repeating a call that failed so is of no use.
func Permanent(err error) bool {
	for _, p := range []error{ErrExists, ErrNotFound, ErrInvalidKey, ErrRefused, ErrFatal} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
