package shardlog

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Config is what one incarnation is told about itself and its bounds.
type Config struct {
	Incarnation stream.Incarnation
	// Instance and Address go into the chain entries that it puts.
	Instance string
	Address  string
	// Shards is the cluster's shard count.
	Shards uint32
	// Window is how many slots may be unresolved at once.
	Window uint32
	// BatchBytes closes a segment; BatchRecords does too unless it is 0.
	BatchBytes   int
	BatchRecords int
	// StandardLinger is how long a batch of a standard stream waits for company
	// while puts are in flight; express streams don't wait.
	StandardLinger time.Duration
	// RetryDelay lies between a failed operation and its repetition; it doubles with
	// each time that the same operation fails.
	RetryDelay time.Duration
	// StateSlots is how many slots with data of a shard may pass before its state
	// is written anew; it bounds what a takeover replays.
	StateSlots int
	// Heads has the newest chain entries known, as hints, and is kept up to date: what
	// one incarnation knew is to be given to the next. nil: none are known.
	Heads map[stream.Shard]segment.ChainEntry
}

// Writer is one incarnation of a stream-writer: its log and the shards it owns.
// It is not safe for concurrent use.
type Writer struct {
	cfg     Config
	log     *ownLog
	shards  map[stream.Shard]*shard
	order   []stream.Shard                      // of shards, rising
	heads   map[stream.Shard]segment.ChainEntry // Config.Heads
	sealers map[stream.Incarnation]*sealer
	footers map[footerKey]*footerLoad

	now     time.Time
	actions []Action
	ops     map[OpID]func(Event)
	lastOp  OpID
	timers  timers
	end     ending
	landed  bool // a slot has become durable since states were looked after

	retiring bool // it takes nothing more and ends when it holds nothing
	leaving  bool // it ends whatever it holds
	sealing  bool // its own log, to end
	// forwards tells that another incarnation goes on with what this one hands
	// over; forwarded is what it is to take along.
	forwards  bool
	forwarded []Event
}

// ending is how far a Writer is on its way out.
type ending uint8

const (
	living ending = iota
	checkingGone
	dead
)

// New makes a writer that owns nothing yet.
func New(cfg Config) *Writer {
	if cfg.Heads == nil {
		cfg.Heads = map[stream.Shard]segment.ChainEntry{}
	}
	w := &Writer{
		cfg:     cfg,
		shards:  map[stream.Shard]*shard{},
		heads:   cfg.Heads,
		sealers: map[stream.Incarnation]*sealer{},
		footers: map[footerKey]*footerLoad{},
		ops:     map[OpID]func(Event){},
	}
	w.log = newOwnLog(w, cfg.Incarnation)
	return w
}

// Step takes an event and returns what is to be done about it. The slice is
// reused by the next step.
func (w *Writer) Step(now time.Time, e Event) []Action {
	w.now = now
	clear(w.actions)
	w.actions = w.actions[:0]
	w.handle(e)
	w.runTimers()
	w.writeStates()
	w.log.pump()
	w.retireIfDone()
	return w.actions
}

// Deadline is when the writer wants a Tick at the latest; false: at no time.
func (w *Writer) Deadline() (time.Time, bool) {
	if len(w.timers) == 0 {
		return time.Time{}, false
	}
	return w.timers[0].at, true
}

// DurableSlot is the first slot that is not known to be durable.
func (w *Writer) DurableSlot() stream.Slot { return w.log.durable }

func (w *Writer) handle(e Event) {
	switch e := e.(type) {
	case PutDone:
		w.answer(e.Op, e)
	case GetDone:
		w.answer(e.Op, e)
	case HeadDone:
		w.answer(e.Op, e)
	case LookupDone:
		w.answer(e.Op, e)
	case AskDone:
		w.answer(e.Op, e)
	case Tick:
	case Retire:
		w.leave()
	case Stop:
		w.die(ErrOutcomeUnknown)
	default:
		w.request(e)
	}
}

// answer hands the result of an operation to whoever asked for it, unless the
// incarnation has ended since.
func (w *Writer) answer(op OpID, e Event) {
	then := w.ops[op]
	delete(w.ops, op)
	switch {
	case then == nil:
	case outcomeOf(e) == Fatal:
		w.die(fmt.Errorf("%w: the object store can't be trusted any more", ErrOutcomeUnknown))
	default:
		then(e)
	}
}

// outcomeOf is how an operation on the object store ended; 0: it was none.
func outcomeOf(e Event) Outcome {
	switch e := e.(type) {
	case PutDone:
		return e.Outcome
	case GetDone:
		return e.Outcome
	case HeadDone:
		return e.Outcome
	}
	return 0
}

func (w *Writer) request(e Event) {
	if w.end == dead {
		w.refuse(e, ErrDied)
		return
	}
	switch e := e.(type) {
	case *Append:
		w.append(e)
	case Inspect:
		w.inspect(e)
	case Take:
		w.take(e)
	case HandOver:
		w.handOver(e)
	case Configure:
		w.configure(e)
	case Tombstone:
		w.tombstone(e)
	case TombstoneBucket:
		w.tombstoneBucket(e)
	case Trim:
		w.trim(e)
	case Survey:
		w.survey(e)
	case Seal:
		w.sealFor(e)
	}
}

func (w *Writer) do(a Action) { w.actions = append(w.actions, a) }

func (w *Writer) op(then func(Event)) OpID {
	w.lastOp++
	w.ops[w.lastOp] = then
	return w.lastOp
}

func (w *Writer) put(key string, body func() []byte, t *tries, then func(PutDone)) {
	op := w.op(func(e Event) {
		r := e.(PutDone)
		t.count(r)
		then(r)
	})
	w.do(Put{Op: op, Key: key, Body: body, Timeouts: t.timeouts})
}

func (w *Writer) get(key string, suffix int64, then func(GetDone)) {
	w.do(Get{Op: w.op(func(e Event) { then(e.(GetDone)) }), Key: key, Suffix: suffix})
}

func (w *Writer) head(key string, then func(HeadDone)) {
	w.do(Head{Op: w.op(func(e Event) { then(e.(HeadDone)) }), Key: key})
}

// fail answers a request with an error.
func (w *Writer) fail(tag any, err error) { w.do(Reply{Tag: tag, Err: err}) }

// refuse answers a request that is not admitted at all.
func (w *Writer) refuse(e Event, err error) {
	if w.forward(e, err) {
		return
	}
	if a, ok := e.(*Append); ok {
		a.Session.fail()
	}
	w.fail(TagOf(e), err)
}

// endFenced ends the incarnation after its log was sealed and every slot below
// the seal is acknowledged. What is left was not appended, unless the log was
// collected meanwhile: then nobody can tell any more.
func (w *Writer) endFenced() {
	if w.end != living {
		return
	}
	w.end = checkingGone
	w.lookForGone(&tries{})
}

func (w *Writer) lookForGone(t *tries) {
	w.head(segment.GoneKey(w.cfg.Incarnation), func(r HeadDone) {
		switch r.Outcome {
		case Absent:
			w.die(ErrDied)
		case Found:
			w.die(ErrOutcomeUnknown)
		default:
			w.later(t, func() { w.lookForGone(t) })
		}
	})
}

// die ends the incarnation: everything that waits fails with err.
func (w *Writer) die(err error) {
	if w.end == dead {
		return
	}
	w.end = dead
	clear(w.ops)
	w.timers = nil
	w.log.abandon(err)
	for _, id := range w.order {
		w.shards[id].abandon(err)
	}
	clear(w.shards)
	w.order = nil
	w.do(Died{Log: w.cfg.Incarnation, Err: err, Retired: w.sealing})
}

// tries is what one operation on the object store has been through. Each has its own,
// so that what succeeds beside it does not have it repeated without a pause.
type tries struct {
	failures int // the pause before it is repeated doubles with each
	timeouts int // of its puts; the time that one is given doubles with each
}

func (t *tries) count(r PutDone) {
	if r.TimedOut {
		t.timeouts++
	}
}

// later calls f, which repeats the operation that has failed, after a pause.
func (w *Writer) later(t *tries, f func()) {
	const doublings = 6
	w.after(w.cfg.RetryDelay<<min(t.failures, doublings), f)
	t.failures++
}

// after calls f when d has passed.
func (w *Writer) after(d time.Duration, f func()) { w.at(w.now.Add(d), f) }

func (w *Writer) at(t time.Time, f func()) {
	if w.end != dead {
		heap.Push(&w.timers, timer{t, f})
	}
}

// wake asks for a step at t.
func (w *Writer) wake(t time.Time) { w.at(t, func() {}) }

func (w *Writer) runTimers() {
	for len(w.timers) > 0 && !w.now.Before(w.timers[0].at) {
		heap.Pop(&w.timers).(timer).f()
	}
}

type timer struct {
	at time.Time
	f  func()
}

// timers is a heap, the earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = timer{}
	*t = (*t)[:last]
	return x
}
