package writer

import (
	"context"
	"errors"
	"time"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/shardlog"
)

func (i *incarnation) put(p shardlog.Put) shardlog.Event {
	body := p.Body()
	ctx, cancel := context.WithTimeout(i.ctx, i.w.cfg.PutTimeout)
	defer cancel()
	begun := time.Now()
	err := i.w.store.PutIfAbsent(ctx, p.Key, body)
	outcome := i.outcome(err, shardlog.Created)
	i.w.metrics.put(outcome, time.Since(begun))
	return shardlog.PutDone{Op: p.Op, Outcome: outcome, Err: err}
}

func (i *incarnation) get(g shardlog.Get) shardlog.Event {
	which := objstore.Whole
	if g.Suffix > 0 {
		which = objstore.Suffix(g.Suffix)
	}
	var body []byte
	err := i.read(func(ctx context.Context) error {
		o, err := i.w.store.Get(ctx, g.Key, which)
		body = o.Body
		return err
	})
	return shardlog.GetDone{Op: g.Op, Outcome: i.outcome(err, shardlog.Found), Body: body, Err: err}
}

func (i *incarnation) head(h shardlog.Head) shardlog.Event {
	err := i.read(func(ctx context.Context) error {
		_, err := i.w.store.Head(ctx, h.Key)
		return err
	})
	return shardlog.HeadDone{Op: h.Op, Outcome: i.outcome(err, shardlog.Found), Err: err}
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

func (i *incarnation) outcome(err error, good shardlog.Outcome) shardlog.Outcome {
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
		i.setFatal(err)
		return shardlog.Fatal
	}
	return shardlog.Failed
}
