package faulty

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// What faults answer. None says whether the call took effect.
var (
	ErrReplyLost   = errors.New("faulty: connection reset while waiting for the reply")
	ErrTimeout     = errors.New("faulty: no reply in time")
	ErrUnavailable = errors.New("faulty: 503 SlowDown")
)

// Fault is something that happens to a call.
type Fault struct {
	name  string
	apply func(ctx context.Context, call *call) error
}

func (f Fault) String() string { return f.name }

// call is one call on the store below. do carries it out.
type call struct {
	do   func() error
	hold func() // keeps a put for later
	body *[]byte
	flip func(bits int) int // chooses the bit to flip
}

// Fail answers err; nothing happens.
func Fail(err error) Fault {
	return Fault{"fail", func(context.Context, *call) error { return err }}
}

// Conflict answers 409; nothing happens.
func Conflict() Fault { return named("conflict", Fail(objstore.ErrConflict)) }

// Unavailable answers 503; nothing happens.
func Unavailable() Fault { return named("unavailable", Fail(ErrUnavailable)) }

// ReplyLost lets the call take effect and loses the answer. A list breaks off
// after its first key.
func ReplyLost() Fault {
	return Fault{"reply_lost", func(_ context.Context, c *call) error {
		_ = c.do()
		return ErrReplyLost
	}}
}

// Late answers a time-out; a put takes effect when [Store.Land] is called, other
// calls never.
func Late() Fault {
	return Fault{"late", func(_ context.Context, c *call) error {
		c.hold()
		return ErrTimeout
	}}
}

// Slow makes the call wait for d first.
func Slow(d time.Duration) Fault {
	return Fault{"slow", func(ctx context.Context, c *call) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		return waitThenDo(ctx, timer.C, c)
	}}
}

// Until makes the call wait for the channel to close first.
func Until(released <-chan struct{}) Fault {
	return Fault{"until", func(ctx context.Context, c *call) error { return waitThenDo(ctx, released, c) }}
}

func waitThenDo[T any](ctx context.Context, over <-chan T, c *call) error {
	select {
	case <-over:
		return c.do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Truncate cuts the second half off the body that a get gives, without a word.
func Truncate() Fault {
	return Fault{"truncate", func(_ context.Context, c *call) error {
		err := c.do()
		if c.body != nil {
			*c.body = (*c.body)[:len(*c.body)/2]
		}
		return err
	}}
}

// FlipBit changes one bit of the body that a get gives, without a word.
func FlipBit() Fault {
	return Fault{"flip_bit", func(_ context.Context, c *call) error {
		err := c.do()
		if c.body != nil && len(*c.body) > 0 {
			bit := c.flip(8 * len(*c.body))
			*c.body = slices.Clone(*c.body)
			(*c.body)[bit/8] ^= 1 << (bit % 8)
		}
		return err
	}}
}

func named(name string, f Fault) Fault {
	f.name = name
	return f
}
