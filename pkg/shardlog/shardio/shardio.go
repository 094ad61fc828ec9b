// Package shardio carries out on an object store what pkg/shardlog asks for, which
// does no I/O itself.
package shardio

import (
	"context"
	"errors"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/shardlog"
)

// Put creates an object. body is what p.Body gives, which may take time to make.
func Put(ctx context.Context, store objstore.Store, p shardlog.Put, body []byte) shardlog.PutDone {
	err := store.PutIfAbsent(ctx, p.Key, body)
	done := shardlog.PutDone{Op: p.Op, Outcome: Outcome(err, shardlog.Created), Err: err}
	done.TimedOut = done.Outcome == shardlog.Failed && errors.Is(err, context.DeadlineExceeded)
	return done
}

// Get reads an object, or its end.
func Get(ctx context.Context, store objstore.Store, g shardlog.Get) shardlog.GetDone {
	which := objstore.Whole
	if g.Suffix > 0 {
		which = objstore.Suffix(g.Suffix)
	}
	object, err := store.Get(ctx, g.Key, which)
	return shardlog.GetDone{Op: g.Op, Outcome: Outcome(err, shardlog.Found), Body: object.Body, Err: err}
}

// Head looks whether an object stands.
func Head(ctx context.Context, store objstore.Store, h shardlog.Head) shardlog.HeadDone {
	_, err := store.Head(ctx, h.Key)
	return shardlog.HeadDone{Op: h.Op, Outcome: Outcome(err, shardlog.Found), Err: err}
}

// Outcome is what a store's error says; good stands for none.
func Outcome(err error, good shardlog.Outcome) shardlog.Outcome {
	switch {
	case err == nil:
		return good
	case errors.Is(err, objstore.ErrExists):
		return shardlog.Exists
	case errors.Is(err, objstore.ErrConflict):
		return shardlog.Conflict
	case errors.Is(err, objstore.ErrNotFound):
		return shardlog.Absent
	case errors.Is(err, objstore.ErrFatal):
		return shardlog.Fatal
	}
	return shardlog.Failed
}
