package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/samsa-io/samsa/pkg/clock"
)

// RetryPolicy says which failed calls are made again.
type RetryPolicy uint8

const (
	// RetryNoSideEffects makes a call again if that can't do a thing twice: it
	// only reads, or nothing has happened, or a producer id guards it.
	RetryNoSideEffects RetryPolicy = iota
	// RetryAll makes a call again also if it may have happened already. An append
	// without a producer id may then be stored twice.
	RetryAll
	// RetryNone makes no call again, and sessions don't resume.
	RetryNone
)

// Retry says when and how failed calls are made again.
type Retry struct {
	Policy RetryPolicy
	// MinBackoff and MaxBackoff bound the wait before the next attempt, which
	// doubles each time and of which a random half is taken off (25 ms, 2 s). A
	// longer wait that the server asks for is kept.
	MinBackoff time.Duration
	MaxBackoff time.Duration
	// GiveUpAfter ends the attempts when so much time has passed without any
	// progress (1 min).
	GiveUpAfter time.Duration
	// OnRetry, if set, is told of each failure before the wait. It must not block.
	OnRetry func(err error, wait time.Duration)
}

// DefaultRetry is what New uses.
func DefaultRetry() Retry { return Retry{}.withDefaults() }

func (r Retry) withDefaults() Retry {
	if r.MinBackoff <= 0 {
		r.MinBackoff = 25 * time.Millisecond
	}
	if r.MaxBackoff <= 0 {
		r.MaxBackoff = 2 * time.Second
	}
	if r.GiveUpAfter <= 0 {
		r.GiveUpAfter = time.Minute
	}
	return r
}

// allows tells whether the policy lets a call be made again after err.
func (r Retry) allows(err *Error, guarded bool) bool {
	switch {
	case r.Policy == RetryNone || !err.transient():
		return false
	case guarded || r.Policy == RetryAll:
		return true
	}
	return err.nothingHappened()
}

// maxUnknown is how often the server may answer that it does not know, without
// any progress. One that lost its place knows better the next time; but a batch
// older than what it remembers gets the same answer for ever.
const maxUnknown = 8

// attempts counts failures since the last progress. Not for concurrent use.
type attempts struct {
	retry   Retry
	failed  int
	unknown int       // of them, answers that the outcome is unknown
	started time.Time // of the first failure since the last progress
}

// progress forgets the failures so far.
func (a *attempts) progress() { a.failed, a.unknown = 0, 0 }

// wait sleeps before the next attempt. It returns err if it is time to give up,
// and the context's error if that ends first.
func (a *attempts) wait(ctx context.Context, err *Error) error {
	now := time.Now()
	if a.failed == 0 {
		a.started = now
	}
	delay := a.delay(err.RetryAfter)
	a.failed++
	if err.detailed && errors.Is(err, ErrOutcomeUnknown) {
		a.unknown++
	}
	if a.unknown == maxUnknown || now.Add(delay).Sub(a.started) > a.retry.GiveUpAfter {
		return err
	}
	if a.retry.OnRetry != nil {
		a.retry.OnRetry(err, delay)
	}
	return clock.Sleep(ctx, delay)
}

func (a *attempts) delay(asked time.Duration) time.Duration {
	full := a.retry.MinBackoff << min(a.failed, 20)
	full = min(full, a.retry.MaxBackoff)
	jittered := full/2 + rand.N(full/2+1)
	if asked > 0 {
		return max(jittered, asked+rand.N(asked/4+1))
	}
	return jittered
}

// call makes one unary call, again and again as the retry policy allows.
// guarded says that a second call has no second effect, whatever the first did.
func call[Req, Resp any](
	ctx context.Context, r Retry, effect effect, guarded bool,
	f func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req,
) (Resp, error) {
	tries := attempts{retry: r}
	unsure := false // an earlier attempt may have done it
	for {
		var reached peer.Peer
		resp, err := f(ctx, req, grpc.Peer(&reached))
		if err == nil {
			return resp, nil
		}
		failure := asError(ctx, err, effect, reached.Addr != nil)
		whole := failure
		settled := guarded && failure.settles()
		if unsure && !settled && failure.nothingHappened() {
			whole = failure.unsure()
		}
		unsure = !whole.nothingHappened()
		if !r.allows(failure, guarded || effect == readOnly) {
			return resp, whole
		}
		if err := tries.wait(ctx, whole); err != nil {
			return resp, because(whole, err)
		}
	}
}

// pause is wait with an error that tells of the failure, too.
func (a *attempts) pause(ctx context.Context, failure *Error) error {
	if end := a.wait(ctx, failure); end != nil {
		return because(failure, end)
	}
	return nil
}

// because ends a row of attempts: with the last failure, and with the context's
// error as its cause if that is what ended it.
func because(failure *Error, end error) error {
	if errors.Is(end, context.Canceled) || errors.Is(end, context.DeadlineExceeded) {
		ended := *failure
		ended.cause = end
		return &ended
	}
	return failure
}
