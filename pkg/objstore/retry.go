package objstore

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/samsa-io/samsa/pkg/clock"
)

// RetryPolicy says how long reads, deletes and lists go on trying.
type RetryPolicy struct {
	Attempts int           // at most, the first one included
	Base     time.Duration // the longest wait before the second attempt; it doubles from there
	Max      time.Duration // the longest wait ever
}

// DefaultRetryPolicy gives up after about two seconds.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{Attempts: 6, Base: 50 * time.Millisecond, Max: time.Second}
}

// WithRetry repeats reads, deletes and lists that failed in a way that may pass.
// A put goes through once: only its caller knows what an ErrExists would mean
// after an attempt whose answer was lost.
func WithRetry(s Store, policy RetryPolicy) Store { return &retrying{Store: s, policy: policy} }

type retrying struct {
	Store
	policy RetryPolicy
}

func (r *retrying) Close() error { return Close(r.Store) }

func (r *retrying) Get(ctx context.Context, key string, part Range) (object Object, err error) {
	err = r.do(ctx, func() error {
		object, err = r.Store.Get(ctx, key, part)
		return err
	})
	return object, err
}

func (r *retrying) Head(ctx context.Context, key string) (info Info, err error) {
	err = r.do(ctx, func() error {
		info, err = r.Store.Head(ctx, key)
		return err
	})
	return info, err
}

func (r *retrying) Delete(ctx context.Context, key string) error {
	return r.do(ctx, func() error { return r.Store.Delete(ctx, key) })
}

// List goes on after the last key that it yielded. Each key that arrives earns a
// fresh set of attempts.
func (r *retrying) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		last := startAfter
		for attempt := 0; ; attempt++ {
			err, stopped := r.listFrom(ctx, prefix, &last, &attempt, yield)
			if stopped || err == nil {
				return
			}
			if r.wait(ctx, attempt, err) != nil {
				yield(Info{}, err)
				return
			}
		}
	}
}

func (r *retrying) listFrom(
	ctx context.Context, prefix string, last *string, attempt *int, yield func(Info, error) bool,
) (failure error, stopped bool) {
	for info, err := range r.Store.List(ctx, prefix, *last) {
		if err != nil {
			return err, false
		}
		*last, *attempt = info.Key, 0
		if !yield(info, nil) {
			return nil, true
		}
	}
	return nil, false
}

func (r *retrying) do(ctx context.Context, call func() error) error {
	for attempt := 0; ; attempt++ {
		err := call()
		if err == nil || r.wait(ctx, attempt, err) != nil {
			return err
		}
	}
}

var errGiveUp = errors.New("give up")

// wait returns nil when it is time for the attempt after attempt (from 0) failed
// with err.
func (r *retrying) wait(ctx context.Context, attempt int, err error) error {
	if attempt+1 >= r.policy.Attempts || Permanent(err) || ctx.Err() != nil {
		return errGiveUp
	}
	if clock.Sleep(ctx, r.pause(attempt)) != nil {
		return errGiveUp
	}
	return nil
}

// pause is random up to a bound that doubles, so that many who failed together
// do not come back together.
func (r *retrying) pause(attempt int) time.Duration {
	bound := min(r.policy.Max, r.policy.Base<<min(attempt, 20))
	return rand.N(max(bound, 1))
}
