package writer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/failpoint"
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
	// PutTimeout is how long one operation on the object store may take; a put that has
	// timed out is given twice as long the next time.
	PutTimeout time.Duration
	// A writer rolls to a new log after about RollInterval, or RollBytes.
	RollInterval time.Duration
	RollBytes    int64
	// Reads is how many gets and heads may be under way at once.
	Reads int
	// Tracer makes the spans of segments that carry traced appends; nil: none.
	Tracer trace.TracerProvider
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
	tracer    trace.Tracer

	heads    map[stream.Shard]segment.ChainEntry // that its incarnations know; Run's
	requests chan shardlog.Event
	reads    chan struct{}
	leave    func()        // closes leaving
	leaving  chan struct{} // closed: the present incarnation is the last
	stopped  chan struct{} // closed when Run returns
}

// New makes a Writer; Run brings it to life.
func New(cfg Config, store objstore.Store, catalog Catalog, owners Owners, log *zap.Logger, m *Metrics, observers ...Observer) *Writer {
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider()
	}
	leaving := make(chan struct{})
	return &Writer{
		cfg: cfg, store: store, catalog: catalog, owners: owners, log: log, metrics: m,
		observers: append([]Observer{m}, observers...),
		tracer:    cfg.Tracer.Tracer("github.com/samsa-io/samsa/services/stream-writer"),
		heads:     map[stream.Shard]segment.ChainEntry{},
		requests:  make(chan shardlog.Event, 1024),
		reads:     make(chan struct{}, cfg.Reads),
		leave:     sync.OnceFunc(func() { close(leaving) }),
		leaving:   leaving,
		stopped:   make(chan struct{}),
	}
}

// ErrStopped is what requests get once the writer has stopped.
var ErrStopped = errors.New("this writer has stopped")

// restartPause lies between the end of an incarnation and the next one.
const restartPause = 20 * time.Millisecond

// Retire seals the writer's log once nothing is on its way into it, which ends Run.
// Nothing depends on it but that others need not find out that the log has ended. It
// gives up with ctx.
func (w *Writer) Retire(ctx context.Context) error {
	w.leave()
	select {
	case <-w.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run runs incarnations until ctx ends, the writer has retired, or the object store
// can't be trusted any more, which is an error.
func (w *Writer) Run(ctx context.Context) error {
	defer close(w.stopped)
	for {
		err := w.incarnate(ctx)
		if errors.Is(err, objstore.ErrFatal) && ctx.Err() == nil {
			w.drop()
			return err
		}
		if w.last(ctx) {
			w.drop()
			return nil
		}
		w.log.Info("begins anew", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

// last tells that no incarnation is to follow.
func (w *Writer) last(ctx context.Context) bool {
	select {
	case <-ctx.Done():
	case <-w.leaving:
	default:
		return false
	}
	return true
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

// An incarnation is one run of the protocol: that of the log in id, and while it
// rolls that of the log before.
type incarnation struct {
	w     *Writer
	id    stream.Incarnation
	core  *shardlog.Node
	ctx   context.Context
	back  chan shardlog.Event // answers to actions
	work  sync.WaitGroup
	bytes int64 // in the youngest log
	cause error
	fatal error
	mu    sync.Mutex // protects fatal

	journeys map[place]*journey // of the segments in flight
	landing  *journey           // of the segment that this step's replies are about
}

func (w *Writer) incarnate(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cfg := w.cfg.Log
	cfg.Incarnation, cfg.Heads = stream.NewIncarnation(), w.heads
	i := &incarnation{
		w: w, id: cfg.Incarnation, core: shardlog.NewNode(cfg), ctx: ctx,
		back: make(chan shardlog.Event, 1024), journeys: map[place]*journey{},
	}
	defer i.work.Wait()
	defer cancel()
	i.began(cfg.Incarnation)
	i.run()
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
	roll := time.NewTimer(i.w.cfg.rollAfter())
	defer roll.Stop()
	leaving := i.w.leaving
	for i.core.Alive() {
		i.setTimer(timer)
		select {
		case e := <-i.w.requests:
			i.step(e)
		case e := <-i.back:
			i.step(e)
		case <-timer.C:
			i.step(shardlog.Tick{})
		case <-roll.C:
			i.roll()
			roll.Reset(i.w.cfg.rollAfter())
		case <-leaving:
			leaving = nil
			i.step(shardlog.Retire{})
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
	i.landing = nil
	for _, a := range i.core.Step(time.Now(), e) {
		i.act(a)
	}
}

// act carries an action out; what takes time goes on in a goroutine.
func (i *incarnation) act(a shardlog.Action) {
	switch a := a.(type) {
	case shardlog.Put:
		j := i.journeyOf(a)
		i.async(func() shardlog.Event { return i.put(a, j) })
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
			call.journey = i.landing
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
		i.landing = i.arrive(placeOf(a.Segment))
		ctx := i.landing.context(i.ctx)
		i.w.observe(func(o Observer) { o.Durable(ctx, a.Segment.Log, a) })
		i.written(a)
	case shardlog.Owned:
		i.w.observe(func(o Observer) { o.Owned(a) })
	case shardlog.Lost:
		i.w.observe(func(o Observer) { o.Lost(a.Shard) })
	case shardlog.SealedLog:
		i.w.observe(func(o Observer) { o.Sealed(a.Log) })
	case shardlog.Died:
		i.ended(a)
	case shardlog.Began:
		i.began(a.Log)
	}
}

func (i *incarnation) began(log stream.Incarnation) {
	i.id, i.bytes = log, 0
	i.w.log.Info("begins a log", zap.Stringer("incarnation", log))
	i.w.observe(func(o Observer) { o.Began(log) })
}

func (i *incarnation) ended(d shardlog.Died) {
	i.cause = d.Err
	if d.Retired {
		i.w.log.Info("has retired a log; it is sealed", zap.Stringer("incarnation", d.Log))
	} else {
		i.w.log.Warn("a log has ended", zap.Stringer("incarnation", d.Log), zap.Error(d.Err))
	}
	i.strand(d.Log)
	i.w.observe(func(o Observer) { o.Ended(d.Log, d.Err) })
}

// written has the writer roll when its log is large enough.
func (i *incarnation) written(d shardlog.Durable) {
	if d.Segment.Log != i.id {
		return
	}
	i.bytes += int64(len(d.Object))
	if i.bytes >= i.w.cfg.RollBytes && !i.core.Rolling() {
		i.bytes = 0
		i.async(func() shardlog.Event { return shardlog.Roll{Incarnation: stream.NewIncarnation()} })
	}
}

func (i *incarnation) roll() { i.step(shardlog.Roll{Incarnation: stream.NewIncarnation()}) }

// rollAfter is the time between two rolls, spread so that writers started together
// don't roll together.
func (c Config) rollAfter() time.Duration {
	return c.RollInterval*4/5 + rand.N(c.RollInterval*2/5+1)
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
	failpoint.Before(failpoint.HandOverAsk)
	answer, end := i.w.owners.AskHandOver(i.ctx, a.Entry, a.Planned)
	failpoint.After(failpoint.HandOverAsk)
	return shardlog.AskDone{Op: a.Op, Answer: answer, End: end}
}
