package writer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Catalog finds streams by name, or creates them where their bucket says so.
type Catalog interface {
	Find(ctx context.Context, name stream.Name, purpose shardlog.Purpose) (shardlog.CatalogStream, error)
}

// Owners asks other writers for shards.
type Owners interface {
	AskHandOver(ctx context.Context, entry segment.ChainEntry, planned bool) (shardlog.OwnerAnswer, stream.Slot)
}

// Config is what a Writer needs to know.
type Config struct {
	Log shardlog.Config // without Incarnation
	// PutTimeout is how long one operation on the object store may take.
	PutTimeout time.Duration
	// Reads is how many gets and heads may be under way at once.
	Reads int
}

// Writer runs one incarnation after the other. It is safe for concurrent use.
type Writer struct {
	cfg       Config
	store     objstore.Store
	catalog   Catalog
	owners    Owners
	observers []Observer
	log       *zap.Logger
	metrics   *Metrics

	requests chan shardlog.Event
	reads    chan struct{}
	stopped  chan struct{} // closed when Run returns
}

// New makes a Writer; Run brings it to life.
func New(cfg Config, store objstore.Store, catalog Catalog, owners Owners, log *zap.Logger, m *Metrics, observers ...Observer) *Writer {
	return &Writer{
		cfg: cfg, store: store, catalog: catalog, owners: owners, observers: observers, log: log, metrics: m,
		requests: make(chan shardlog.Event, 1024),
		reads:    make(chan struct{}, cfg.Reads),
		stopped:  make(chan struct{}),
	}
}

// ErrStopped is what requests get once the writer has stopped.
var ErrStopped = errors.New("this writer has stopped")

// restartPause lies between the end of an incarnation and the next one.
const restartPause = 20 * time.Millisecond

// Run runs incarnations until ctx ends or the object store can't be trusted any
// more, which is an error.
func (w *Writer) Run(ctx context.Context) error {
	defer close(w.stopped)
	for {
		err := w.incarnate(ctx)
		if ctx.Err() != nil {
			w.drop()
			return nil
		}
		if errors.Is(err, objstore.ErrFatal) {
			w.drop()
			return err
		}
		w.log.Warn("this incarnation has ended, another one begins", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

// drop answers the requests that nobody will take any more.
func (w *Writer) drop() {
	for {
		select {
		case e := <-w.requests:
			if call := callOf(e); call != nil {
				call.answer(shardlog.Reply{Err: ErrStopped})
			}
		default:
			return
		}
	}
}

// An incarnation is one run of the protocol.
type incarnation struct {
	w     *Writer
	id    stream.Incarnation
	core  *shardlog.Writer
	ctx   context.Context
	back  chan shardlog.Event // answers to actions
	work  sync.WaitGroup
	died  bool
	cause error
	fatal error
	mu    sync.Mutex // protects fatal
}

func (w *Writer) incarnate(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cfg := w.cfg.Log
	cfg.Incarnation = stream.NewIncarnation()
	i := &incarnation{
		w: w, id: cfg.Incarnation, core: shardlog.New(cfg), ctx: ctx,
		back: make(chan shardlog.Event, 1024),
	}
	defer i.work.Wait()
	defer cancel()
	w.log.Info("begins a log", zap.Stringer("incarnation", i.id))
	w.observe(func(o Observer) { o.Began(i.id) })
	i.run()
	w.observe(func(o Observer) { o.Ended(i.id, i.cause) })
	return i.cause
}

func (w *Writer) observe(tell func(Observer)) {
	for _, o := range w.observers {
		tell(o)
	}
}

// run steps until the incarnation dies or its context ends.
func (i *incarnation) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !i.died {
		i.setTimer(timer)
		select {
		case e := <-i.w.requests:
			i.step(e)
		case e := <-i.back:
			i.step(e)
		case <-timer.C:
			i.step(shardlog.Tick{})
		case <-i.ctx.Done():
			i.step(shardlog.Stop{})
			i.cause = i.ctx.Err()
		}
	}
	if err := i.fatalError(); err != nil {
		i.cause = err
	}
}

func (i *incarnation) setTimer(timer *time.Timer) {
	if at, ok := i.core.Deadline(); ok {
		timer.Reset(time.Until(at))
		return
	}
	timer.Reset(time.Hour)
}

func (i *incarnation) step(e shardlog.Event) {
	for _, a := range i.core.Step(time.Now(), e) {
		i.act(a)
	}
}

// act carries an action out; what takes time goes on in a goroutine.
func (i *incarnation) act(a shardlog.Action) {
	switch a := a.(type) {
	case shardlog.Put:
		i.async(func() shardlog.Event { return i.put(a) })
	case shardlog.Get:
		i.async(func() shardlog.Event { return i.get(a) })
	case shardlog.Head:
		i.async(func() shardlog.Event { return i.head(a) })
	case shardlog.Lookup:
		i.async(func() shardlog.Event { return i.lookup(a) })
	case shardlog.AskOwner:
		i.async(func() shardlog.Event { return i.ask(a) })
	case shardlog.Reply:
		if call, ok := a.Tag.(*Call); ok && call != nil {
			call.answer(a)
		}
	default:
		i.tell(a)
	}
}

// tell passes on what observers want to know.
func (i *incarnation) tell(a shardlog.Action) {
	switch a := a.(type) {
	case shardlog.Durable:
		i.w.metrics.durable(a)
		i.w.observe(func(o Observer) { o.Durable(i.id, a) })
	case shardlog.Owned:
		i.w.observe(func(o Observer) { o.Owned(a) })
	case shardlog.Lost:
		i.w.observe(func(o Observer) { o.Lost(a.Shard) })
	case shardlog.SealedLog:
		i.w.observe(func(o Observer) { o.Sealed(a.Log) })
	case shardlog.Died:
		i.died, i.cause = true, a.Err
	}
}

func (i *incarnation) async(f func() shardlog.Event) {
	i.work.Go(func() {
		e := f()
		select {
		case i.back <- e:
		case <-i.ctx.Done():
		}
	})
}

func (i *incarnation) setFatal(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fatal = err
}

func (i *incarnation) fatalError() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fatal
}

func (i *incarnation) lookup(l shardlog.Lookup) shardlog.Event {
	s, err := i.w.catalog.Find(i.ctx, l.Name, l.Purpose)
	if err != nil {
		err = fmt.Errorf("stream %q in bucket %q: %w", l.Name.Stream, l.Name.Bucket, err)
	}
	return shardlog.LookupDone{Op: l.Op, Stream: s, Err: err}
}

func (i *incarnation) ask(a shardlog.AskOwner) shardlog.Event {
	answer, end := i.w.owners.AskHandOver(i.ctx, a.Entry, a.Planned)
	return shardlog.AskDone{Op: a.Op, Answer: answer, End: end}
}
