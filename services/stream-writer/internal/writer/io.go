package writer

import (
	"context"
	"time"

	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/shardlog/shardio"
)

func (i *incarnation) put(p shardlog.Put, j *journey) shardlog.Event {
	body := p.Body()
	ctx, cancel := context.WithTimeout(j.context(i.ctx), putTimeout(i.w.cfg.PutTimeout, p.Timeouts))
	defer cancel()
	begun := time.Now()
	done := shardio.Put(ctx, i.w.store, p, body)
	i.note(done.Outcome, done.Err)
	j.answered(done.Outcome)
	i.w.metrics.putEnded(done.Outcome, time.Since(begun))
	return done
}

// longerPuts is how often a put's time doubles. More would carry segments over yet
// slower lines, but a put that goes into the void when the store comes back holds
// everything up for as long as it may take.
const longerPuts = 2

// putTimeout doubles with each put of the same object that has timed out.
func putTimeout(first time.Duration, timeouts int) time.Duration {
	return first << min(timeouts, longerPuts)
}

func (i *incarnation) get(g shardlog.Get) shardlog.Event {
	done := shardlog.GetDone{Op: g.Op, Outcome: shardlog.Failed}
	done.Err = i.read(func(ctx context.Context) error {
		done = shardio.Get(ctx, i.w.store, g)
		return done.Err
	})
	i.note(done.Outcome, done.Err)
	return done
}

func (i *incarnation) head(h shardlog.Head) shardlog.Event {
	done := shardlog.HeadDone{Op: h.Op, Outcome: shardlog.Failed}
	done.Err = i.read(func(ctx context.Context) error {
		done = shardio.Head(ctx, i.w.store, h)
		return done.Err
	})
	i.note(done.Outcome, done.Err)
	return done
}

// read runs f when there is a place for it.
func (i *incarnation) read(f func(context.Context) error) error {
	select {
	case i.w.reads <- struct{}{}:
	case <-i.ctx.Done():
		return i.ctx.Err()
	}
	defer func() { <-i.w.reads }()
	ctx, cancel := context.WithTimeout(i.ctx, i.w.cfg.PutTimeout)
	defer cancel()
	return f(ctx)
}

// note remembers that the store can't be trusted any more.
func (i *incarnation) note(o shardlog.Outcome, err error) {
	if o == shardlog.Fatal {
		i.setFatal(err)
	}
}
