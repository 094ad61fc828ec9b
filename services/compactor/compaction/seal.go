package compaction

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/shardlog/shardio"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A log ends with a seal, without which its slots stay for ever. Whoever takes a shard
// of a writer that is gone seals its log, and a writer that stops in good order seals
// its own. That leaves the logs of writers that were killed while they owned nothing:
// the compactor seals a log when no shard's newest chain entry names it, nobody is
// registered with it, and its newest slot is Options.SealAge old.
//
// None of that has to be true for the seal to be safe, and none of it is checked
// again: sealing the log of a writer that lives costs that incarnation its life and
// loses nothing. It only makes sure that this does not happen all the time.

// sealPatience bounds one attempt, sealRetry lies between two requests of it.
const (
	sealPatience = time.Minute
	sealRetry    = 100 * time.Millisecond
)

// owners is who the newest chain entries name, looked up once at most.
type owners func() (map[stream.Incarnation]bool, error)

func (c *Compactor) ownersOnce(ctx context.Context) owners {
	return sync.OnceValues(func() (map[stream.Incarnation]bool, error) {
		heads, err := c.index.Heads(ctx)
		if err != nil {
			return nil, err
		}
		return c.chains.owners(ctx, heads)
	})
}

// abandoned tells that nobody is going to seal a log.
func (c *Compactor) abandoned(w *window, owners owners) (bool, error) {
	o := &c.options
	if o.SealAge <= 0 || w.newest.IsZero() || o.Now().Sub(w.newest) < o.SealAge || o.Registered(w.log) {
		return false, nil
	}
	named, err := owners()
	return err == nil && !named[w.log], err
}

// sealLog ends a log as a writer would that takes a shard from it: by the same code,
// one request after the other.
func (c *Compactor) sealLog(ctx context.Context, w *window) error {
	ctx, cancel := context.WithTimeout(ctx, sealPatience)
	defer cancel()
	core := shardlog.New(shardlog.Config{Incarnation: stream.NewIncarnation(), Shards: c.options.Shards, RetryDelay: sealRetry})
	events := []shardlog.Event{shardlog.Seal{Log: w.log, Window: w.width}}
	for ctx.Err() == nil {
		if len(events) == 0 {
			at, _ := core.Deadline()
			_ = clock.Sleep(ctx, time.Until(at)) // the loop looks at ctx
			events = append(events, shardlog.Tick{})
		}
		e := events[0]
		events = events[1:]
		for _, a := range core.Step(time.Now(), e) {
			switch a := a.(type) {
			case shardlog.Reply:
				if a.Err == nil {
					c.metrics.sealed.Inc()
					c.log.Info("sealed a log that nobody ended", zap.Stringer("log", w.log), zap.Uint64("slot", uint64(a.End)))
				}
				return a.Err
			case shardlog.Died:
				return a.Err
			default:
				events = append(events, c.carryOut(ctx, a))
			}
		}
	}
	return ctx.Err()
}

// carryOut does what sealing wants done: it reads slots and puts seals.
func (c *Compactor) carryOut(ctx context.Context, a shardlog.Action) shardlog.Event {
	switch a := a.(type) {
	case shardlog.Put:
		return shardio.Put(ctx, c.store, a, a.Body())
	case shardlog.Head:
		return shardio.Head(ctx, c.store, a)
	case shardlog.Get:
		return shardio.Get(ctx, c.store, a)
	}
	return shardlog.Tick{} // news, which nobody waits for
}
