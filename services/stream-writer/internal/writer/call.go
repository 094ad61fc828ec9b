package writer

import (
	"context"
	"time"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A Call is a request under way.
type Call struct {
	done    chan shardlog.Reply // holds the one answer
	release func()              // called once the log is done with the request; may be nil
	w       *Writer
	begun   time.Time
	journey *journey // of the segment that made an append durable; set before the answer
}

func (c *Call) answer(r shardlog.Reply) {
	select {
	case c.done <- r:
		if c.release != nil {
			c.release()
		}
	default: // answered before
	}
}

// Wait returns the answer. If ctx ends first the request may still take effect.
func (c *Call) Wait(ctx context.Context) (shardlog.Reply, error) {
	select {
	case r := <-c.done:
		c.measure(ctx, r)
		return r, r.Err
	case <-ctx.Done():
		return shardlog.Reply{}, ctx.Err()
	case <-c.w.stopped:
	}
	select {
	case r := <-c.done:
		return r, r.Err
	default:
		return shardlog.Reply{}, ErrStopped
	}
}

// measure tells how long the phases of an append took.
func (c *Call) measure(ctx context.Context, r shardlog.Reply) {
	if c.journey == nil || r.Err != nil || r.Ack.Count == 0 {
		return
	}
	queue, put, ack := c.journey.phases(c.begun)
	c.w.metrics.appended(queue, put, ack)
	c.journey.note(ctx, queue, put, ack)
}

// Append hands a batch over; calls made one after the other are taken in order.
// release is called once nothing waits with the batch any more: when it is
// answered, whether or not anyone waits for the answer, or when it is not taken.
func (w *Writer) Append(ctx context.Context, a *shardlog.Append, release func()) (*Call, error) {
	call, err := w.start(ctx, func(tag *Call) shardlog.Event {
		tag.release = release
		a.Tag, a.Trace = tag, traceOf(ctx)
		return a
	})
	if err != nil {
		release()
	}
	return call, err
}

// Inspect tells where a stream stands. release is called once nothing waits with the
// question any more: while the store does not answer it goes on waiting though nobody
// wants to know.
func (w *Writer) Inspect(ctx context.Context, q shardlog.Inspect, release func()) (shardlog.View, error) {
	begun := time.Now()
	call, err := w.start(ctx, func(tag *Call) shardlog.Event {
		tag.release = release
		q.Tag = tag
		return q
	})
	if err != nil {
		release()
		return shardlog.View{}, err
	}
	r, err := call.Wait(ctx)
	if q.Prove && err == nil {
		w.metrics.proof.Observe(time.Since(begun).Seconds())
	}
	return r.View, err
}

// Take makes this writer the owner of a shard, unless a living one keeps it, and
// returns the head of the shard's chain.
func (w *Writer) Take(ctx context.Context, t shardlog.Take) (segment.ChainEntry, error) {
	r, err := w.do(ctx, func(tag *Call) shardlog.Event { t.Tag = tag; return t })
	return r.Head, err
}

// HandOver lets a shard go and returns where this writer's part of it ends.
func (w *Writer) HandOver(ctx context.Context, h shardlog.HandOver) (stream.Slot, error) {
	failpoint.Before(failpoint.HandOverAnswer)
	r, err := w.do(ctx, func(tag *Call) shardlog.Event { h.Tag = tag; return h })
	failpoint.After(failpoint.HandOverAnswer)
	return r.End, err
}

// Configure brings a stream's configuration into effect.
func (w *Writer) Configure(ctx context.Context, c shardlog.Configure) error {
	_, err := w.do(ctx, func(tag *Call) shardlog.Event { c.Tag = tag; return c })
	return err
}

// Tombstone ends a stream for good.
func (w *Writer) Tombstone(ctx context.Context, t shardlog.Tombstone) error {
	_, err := w.do(ctx, func(tag *Call) shardlog.Event { t.Tag = tag; return t })
	return err
}

// TombstoneBucket ends a bucket's streams in one shard.
func (w *Writer) TombstoneBucket(ctx context.Context, t shardlog.TombstoneBucket) error {
	_, err := w.do(ctx, func(tag *Call) shardlog.Event { t.Tag = tag; return t })
	return err
}

// Trim moves a stream's trim point.
func (w *Writer) Trim(ctx context.Context, t shardlog.Trim) error {
	_, err := w.do(ctx, func(tag *Call) shardlog.Event { t.Tag = tag; return t })
	return err
}

// Survey gives a page of a shard's streams whose records can expire.
func (w *Writer) Survey(ctx context.Context, q shardlog.Survey) (shardlog.Page, error) {
	r, err := w.do(ctx, func(tag *Call) shardlog.Event { q.Tag = tag; return q })
	return r.Page, err
}

func (w *Writer) do(ctx context.Context, request func(tag *Call) shardlog.Event) (shardlog.Reply, error) {
	call, err := w.start(ctx, request)
	if err != nil {
		return shardlog.Reply{}, err
	}
	return call.Wait(ctx)
}

func (w *Writer) start(ctx context.Context, request func(tag *Call) shardlog.Event) (*Call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	call := &Call{done: make(chan shardlog.Reply, 1), w: w, begun: time.Now()}
	select {
	case w.requests <- request(call):
		return call, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.stopped:
		return nil, ErrStopped
	}
}

// callOf is the call behind a request.
func callOf(e shardlog.Event) *Call {
	call, _ := shardlog.TagOf(e).(*Call)
	return call
}
