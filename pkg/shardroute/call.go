package shardroute

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Func is a call, or the start of one, on a connection to a shard's owner.
type Func = func(ctx context.Context, conn grpc.ClientConnInterface) error

// Do calls f with the shard's owner, and again with whoever it finds to be the
// owner instead, while f's error says that nothing has happened: a NotOwner
// detail, a typed SERVICE_UNAVAILABLE, NotSent, or a connection that could not be
// made. It returns any other error as it is.
//
// f must use conn for whatever it sends, so that it is known what was sent, or
// mark its errors with NotSent. Of a session it holds only the start.
func (r *Router) Do(ctx context.Context, shard stream.Shard, f Func) error {
	c, err := r.newCall(ctx, shard)
	if err != nil {
		return err
	}
	return c.run(f)
}

// Ask is Do for calls that may be repeated whatever became of them. An attempt
// ends after Options.AttemptTimeout; an owner that has not answered by then is
// taken for unreachable, and so is one that broke off.
func (r *Router) Ask(ctx context.Context, shard stream.Shard, f Func) error {
	c, err := r.newCall(ctx, shard)
	if err != nil {
		return err
	}
	c.repeatable = true
	return c.run(f)
}

// call is one caller's way to an owner.
type call struct {
	*Router
	ctx        context.Context
	shard      stream.Shard
	repeatable bool

	hops     int   // hints followed since the last search
	searches int   // since the call began
	last     error // why it is still under way
}

// maxHops is how many hints are followed in a row. More is a circle.
const maxHops = 4

func (r *Router) newCall(ctx context.Context, shard stream.Shard) (*call, error) {
	if int(shard) >= len(r.shards) {
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "shard %d: this cluster has %d", shard, len(r.shards))
	}
	return &call{Router: r, ctx: ctx, shard: shard}, nil
}

func (c *call) run(f Func) error {
	for {
		owner, err := c.target()
		if err != nil {
			return err
		}
		err = c.try(owner, f)
		switch c.judge(owner, err) {
		case settled:
			return err
		case redirected:
			c.hops++
		case lost:
			if err = c.replace(owner, owner, err); err != nil {
				return err
			}
		case unowned:
			if err = c.replace(owner, Owner{}, err); err != nil {
				return err
			}
		case slow:
			if err = c.lookInto(owner, err); err != nil {
				return err
			}
		}
	}
}

// replace finds another owner, asking failed last.
func (c *call) replace(owner, failed Owner, why error) error {
	c.last = why
	if c.ctx.Err() != nil { // which may well be why: the owner is not to blame
		return c.giveUp()
	}
	if !c.lose(c.shard, owner, failed) {
		return nil // somebody else found one
	}
	return c.search()
}

// lookInto has an owner looked into that took too long. If it keeps the shard it is
// asked again.
func (c *call) lookInto(owner Owner, why error) error {
	c.last = why
	if c.ctx.Err() != nil {
		return c.giveUp()
	}
	if _, known := c.cached(c.shard); !known { // it was a guess
		return c.replace(owner, owner, why)
	}
	return c.await(func() *search { return c.startLook(c.shard, owner.Address) })
}

// target is whom to try: the owner that is known, or whoever ranks best where
// nobody was known yet, or whoever is found.
func (c *call) target() (Owner, error) {
	for {
		if owner, ok := c.cached(c.shard); ok {
			return owner, nil
		}
		if owner, ok := c.guess(); ok {
			return owner, nil
		}
		if err := c.search(); err != nil {
			return Owner{}, err
		}
	}
}

// guess is the best-ranked member, for a shard of which nothing is known at all.
func (c *call) guess() (Owner, bool) {
	c.mu.Lock()
	heard := c.shards[c.shard].heard
	c.mu.Unlock()
	if heard {
		return Owner{}, false
	}
	ranked := discovery.Rank(c.shard, c.members.Snapshot())
	if len(ranked) == 0 {
		return Owner{}, false
	}
	return Owner{Instance: ranked[0].Instance, Address: ranked[0].Address}, true
}

func (c *call) try(owner Owner, f Func) error {
	conn, err := c.dial.Conn(owner.Address)
	if err != nil {
		return NotSent(err)
	}
	ctx := c.ctx
	if c.repeatable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.options.AttemptTimeout, errAttemptExpired)
		defer cancel()
	}
	traced := &tracedConn{ClientConn: conn}
	err = f(ctx, traced)
	switch {
	case err == nil:
		return nil
	case c.repeatable && c.ctx.Err() == nil && (ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded):
		return &expiredError{err} // the server may have noticed before us
	case !traced.sent.Load() && (isTransport(err) || c.ctx.Err() != nil):
		// It will be tried again sooner than gRPC would.
		conn.ResetConnectBackoff()
		return NotSent(err)
	default:
		return err
	}
}

// verdict is what an attempt's error means for the call.
type verdict uint8

const (
	settled    verdict = iota // it is the call's answer
	redirected                // somebody else is the owner, and is known now
	lost                      // this owner is of no use, and the call may be repeated
	unowned                   // nobody is known to own the shard, but this writer may take it
	slow                      // this owner took too long, and the call may be repeated
)

// reasonOwnerLost is what a writer gives beside SERVICE_UNAVAILABLE when its log
// was sealed. It lives, begins anew, and may well take the shard again.
const reasonOwnerLost = "owner_lost"

func (c *call) judge(owner Owner, err error) verdict {
	switch outcomeOf(err) {
	case outcomeNotOwner:
		return c.judgeNotOwner(owner, err)
	case outcomeNothing:
		switch detail := rpc.Detail(err); {
		case detail == nil:
			c.suspect(owner.Address)
		case detail.GetMetadata()["reason"] == reasonOwnerLost:
			return unowned
		}
		return lost
	case outcomeUnclear:
		c.suspect(owner.Address)
		switch {
		case c.repeatable && isExpired(err):
			return slow
		case c.repeatable:
			return lost
		}
		if c.lose(c.shard, owner, owner) {
			c.startSearch(c.shard)
		}
		return settled
	default:
		if owner.guessed() {
			c.confirm(c.shard, owner)
		}
		if err == nil {
			c.clear(owner.Address)
		}
		return settled
	}
}

// judgeNotOwner follows a writer's hint unless it leads back or in circles.
func (c *call) judgeNotOwner(owner Owner, err error) verdict {
	hint, ok := ownerOf(notOwnerDetail(err).GetOwner())
	if !ok || c.hops >= maxHops || hint.Address == owner.Address || !c.learn(c.shard, hint) {
		return unowned
	}
	c.metrics.redirected.Inc()
	return redirected
}

// search waits for somebody to be found who takes the shard.
func (c *call) search() error {
	return c.await(func() *search { return c.startSearch(c.shard) })
}

// await begins a search, or joins one, and waits for its end. Only the end of the
// caller's context, or having waited for a first writer in vain, is an error.
func (c *call) await(start func() *search) error {
	c.hops = 0
	if c.searches > 0 {
		if err := c.pause(); err != nil {
			return err
		}
	}
	if err := c.awaitMembers(); err != nil {
		return err
	}
	c.searches++
	s := start()
	select {
	case <-s.done:
		if s.err != nil {
			c.last = s.err
		}
		return nil
	case <-c.ctx.Done():
		return c.giveUp()
	}
}

// pause waits before the next search.
func (c *call) pause() error {
	select {
	case <-c.ctx.Done():
		return c.giveUp()
	case <-c.Router.ctx.Done():
		return c.giveUp()
	case <-time.After(c.options.backoff(c.searches - 1)):
		return nil
	}
}

func (o Options) backoff(searches int) time.Duration {
	d := min(o.BackoffFirst<<min(searches, 16), o.BackoffMost)
	return d/2 + rand.N(d/2+1)
}

// awaitMembers waits a moment for a first writer.
func (c *call) awaitMembers() error {
	timeout := time.NewTimer(c.options.MembersWait)
	defer timeout.Stop()
	for {
		changed := c.members.Changed()
		if len(c.members.Snapshot()) > 0 {
			return nil
		}
		c.last = errors.New("no stream-writer is registered")
		select {
		case <-changed:
		case <-timeout.C:
			return c.giveUp()
		case <-c.ctx.Done():
			return c.giveUp()
		}
	}
}

func (c *call) giveUp() error {
	why := c.last
	if why == nil {
		why = errors.New("the search for it took too long")
	}
	cause := errors.Join(why, context.Cause(c.ctx))
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE,
		"shard %d has no owner that can be reached: %s", c.shard, describe(why)).
		With("shard", fmt.Sprint(c.shard)).Because(cause)
}
