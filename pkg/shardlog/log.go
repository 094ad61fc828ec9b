package shardlog

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// ownLog is this incarnation's log: it gathers batches into groups, gives each
// group a slot, and reports groups durable in slot order.
//
//	open ──close──▶ queue ──slot──▶ flights ──resolved, in order──▶ durable
//
// A slot is put only while fewer than window slots are unresolved, so whoever
// finds slot p knows that every slot up to p − window is data.
type ownLog struct {
	w  *Writer
	id stream.Incarnation

	open    *group
	queue   []*group  // closed, oldest first
	flights []*flight // the slots from durable on, in order

	// Every slot below it is resolved as this incarnation's data.
	durable stream.Slot
	// The lowest seal found so far; noSeal if none. Nothing at or above it is
	// ever acknowledged.
	seal stream.Slot
	// oldestReturned tells that a put has come back since open was opened.
	oldestReturned bool
	// width is how many slots may be under way at once: one after a put has timed out,
	// for all together may be more than the line can carry in time, then one more
	// with each that lands, up to the window.
	width int

	latency latency
	proofs  proofs
}

const noSeal = ^stream.Slot(0)

// A group is what will be one segment.
type group struct {
	segment  *segment.Segment
	bytes    int
	deadline time.Time // when the shortest linger among its batches ends
	// then is called once the group is durable (nil) or will never be, in order.
	then []func(error)
	// traces are those of its appends that have one.
	traces []any
}

// A flight is a group on its way into its slot.
type flight struct {
	slot     stream.Slot
	group    *group
	issued   time.Time
	object   func() []byte // encodes the group, once
	puts     int           // under way
	attempt  int           // counts them, without those that hedge
	tries    tries
	due      bool // it is to be put again
	reading  bool // what stands in its slot is being found out
	resolved bool
}

func newOwnLog(w *Writer, id stream.Incarnation) *ownLog {
	l := &ownLog{w: w, id: id, seal: noSeal, width: int(w.cfg.Window)}
	l.proofs.log = l
	return l
}

// next is the slot that will be given next.
func (l *ownLog) next() stream.Slot { return l.durable + stream.Slot(len(l.flights)) }

// fenced tells whether a seal was found: the log takes nothing more.
func (l *ownLog) fenced() bool { return l.seal != noSeal }

// gather returns the open group, opening one if need be; its deadline is at most
// linger away.
func (l *ownLog) gather(linger time.Duration) *group {
	if l.open == nil {
		l.open = &group{segment: &segment.Segment{}, deadline: l.w.now.Add(linger)}
		l.oldestReturned = false
		l.w.wake(l.open.deadline)
	}
	if d := l.w.now.Add(linger); d.Before(l.open.deadline) {
		l.open.deadline = d
		l.w.wake(d)
	}
	return l.open
}

// addEntry adds an entry; then is called when it is durable or never will be.
func (l *ownLog) addEntry(e segment.Entry, then func(error)) {
	g := l.gather(0)
	g.segment.Entries = append(g.segment.Entries, e)
	g.bytes += entryBytes
	if then != nil {
		g.then = append(g.then, then)
	}
}

// entryBytes is about what an entry takes in a segment.
const entryBytes = 64

// addBatch adds a batch; then is called when it is durable or never will be.
func (l *ownLog) addBatch(b segment.Batch, trace any, linger time.Duration, then func(error)) *group {
	g := l.gather(linger)
	g.segment.Batches = append(g.segment.Batches, b)
	g.bytes += len(b.Payload)
	g.then = append(g.then, then)
	if trace != nil {
		g.traces = append(g.traces, trace)
	}
	if l.full(g) {
		l.close()
	}
	return g
}

func (l *ownLog) full(g *group) bool {
	limit := l.w.cfg.BatchRecords
	return g.bytes >= l.w.cfg.BatchBytes || limit > 0 && records(g) >= limit
}

func records(g *group) (n int) {
	for i := range g.segment.Batches {
		n += len(g.segment.Batches[i].Timestamps)
	}
	return n
}

func (l *ownLog) close() {
	l.queue = append(l.queue, l.open)
	l.open = nil
}

// pump puts what is due: first what is to be put again, then every closed group for
// which there is room, and the open one if nothing is in flight, the oldest put has
// returned, or its linger is over.
func (l *ownLog) pump() {
	l.putAgain()
	for l.hasRoom() {
		if len(l.queue) == 0 {
			if l.open == nil || !l.due() {
				return
			}
			l.close()
		}
		g := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		l.launch(g)
	}
}

func (l *ownLog) hasRoom() bool {
	return !l.fenced() && len(l.flights) < int(l.w.cfg.Window) && l.underWay() < l.width
}

// underWay is how many slots have a put under way that they wait for. The oldest
// counts also while it pauses: its place is not for others.
func (l *ownLog) underWay() (n int) {
	for i, f := range l.flights {
		if (f.puts > 0 || i == 0) && !f.resolved {
			n++
		}
	}
	return n
}

func (l *ownLog) due() bool {
	return len(l.flights) == 0 || l.oldestReturned || !l.w.now.Before(l.open.deadline)
}

func (l *ownLog) launch(g *group) {
	f := &flight{slot: l.next(), group: g, issued: l.w.now, object: sync.OnceValue(g.segment.Encode)}
	l.flights = append(l.flights, f)
	g.segment.Header = segment.Header{Log: l.id, Slot: f.slot, Window: l.w.cfg.Window}
	g.segment.States = l.w.stateRefs()
	l.attempt(f)
}

// attempt puts the flight on its slot, and a second time if that takes longer than
// puts usually do: the first request may be stuck where another would not be. Not so
// while the line seems to be too narrow.
func (l *ownLog) attempt(f *flight) {
	f.due = false
	f.attempt++
	l.put(f)
	attempt := f.attempt
	l.w.after(l.latency.slow(), func() {
		if !f.resolved && f.puts == 1 && f.attempt == attempt && l.width == int(l.w.cfg.Window) {
			l.put(f)
		}
	})
}

func (l *ownLog) put(f *flight) {
	f.puts++
	l.w.do(Put{
		Op:  l.w.op(func(e Event) { l.putDone(f, e.(PutDone)) }),
		Key: segment.SlotKey(l.id, f.slot), Body: f.object, Segment: f.group.segment, Traces: f.group.traces,
		Timeouts: f.tries.timeouts,
	})
}

func (l *ownLog) putDone(f *flight, r PutDone) {
	f.puts--
	if f.resolved {
		return
	}
	f.tries.count(r)
	if r.TimedOut {
		l.width = 1
	}
	switch r.Outcome {
	case Created:
		l.resolve(f)
	case Exists:
		l.readBack(f)
	default: // Conflict and Failed: it may have landed, so try the same slot again
		l.retry(f)
	}
}

// retry has the flight put again after a pause, unless there is a better way to learn
// what became of it.
func (l *ownLog) retry(f *flight) {
	if f.puts == 0 && !f.reading {
		l.w.later(&f.tries, func() { f.due = f.puts == 0 && !f.reading })
	}
}

// putAgain puts the flights that are due, as many as there is room for. The oldest
// always is: nothing is acknowledged before it.
func (l *ownLog) putAgain() {
	for i, f := range l.flights {
		if !f.due || f.resolved || f.slot >= l.seal {
			continue
		}
		if i == 0 || l.underWay() < l.width {
			l.attempt(f)
		}
	}
}

// readBack finds out what stands in a slot that was not free: this put, whose
// reply was lost, or a seal. It is not put again while that can't be read.
func (l *ownLog) readBack(f *flight) {
	if !f.reading {
		f.reading = true
		l.read(f)
	}
}

func (l *ownLog) read(f *flight) {
	l.w.get(segment.SlotKey(l.id, f.slot), segment.TrailerSize, func(r GetDone) {
		if f.resolved {
			return
		}
		got, err := trailer(r)
		switch {
		case r.Outcome == Absent: // it stood a moment ago: a stale answer
			f.reading = false
			l.retry(f)
		case err != nil:
			l.w.later(&f.tries, func() { l.read(f) })
		case got.Kind == segment.KindSeal:
			l.foundSeal(f.slot)
		case got.Identity == l.identity(f):
			l.resolve(f)
		default: // nobody but this incarnation puts segments here
			l.w.die(fmt.Errorf("%w: slot %d of its log holds a foreign segment", ErrOutcomeUnknown, f.slot))
		}
	})
}

// trailer is what a Get of an object's last bytes found.
func trailer(r GetDone) (segment.Trailer, error) {
	if r.Outcome != Found {
		return segment.Trailer{}, errNotRead
	}
	return segment.DecodeTrailer(r.Body)
}

var errNotRead = errors.New("the object could not be read")

func (l *ownLog) identity(f *flight) [16]byte {
	body := f.object()
	t, _ := segment.DecodeTrailer(body[len(body)-segment.TrailerSize:])
	return t.Identity
}

func (l *ownLog) resolve(f *flight) {
	f.resolved = true
	l.width = min(l.width+1, int(l.w.cfg.Window))
	l.latency.add(l.w.now.Sub(f.issued))
	if f == l.flights[0] {
		l.oldestReturned = true
	}
	for len(l.flights) > 0 && l.flights[0].resolved && l.durable < l.seal {
		l.land()
	}
	l.settle()
}

// land makes the oldest flight durable.
func (l *ownLog) land() {
	f := l.flights[0]
	l.flights[0] = nil
	l.flights = l.flights[1:]
	l.durable++
	err := l.w.durable(f)
	f.group.settle(err)
	if err != nil {
		l.w.die(err)
	}
}

// foundSeal takes note that another writer has ended this log at or below slot.
func (l *ownLog) foundSeal(slot stream.Slot) {
	if slot < l.seal {
		l.seal = slot
	}
	l.settle()
}

// settle ends a fenced incarnation once every slot below the seal is resolved:
// what stands there is acknowledged by then, the rest never will be.
func (l *ownLog) settle() {
	if l.fenced() && l.durable == l.seal {
		l.w.endFenced()
	}
}

// abandon fails everything that is not durable; what was never put has certainly
// not been appended.
func (l *ownLog) abandon(err error) {
	flights, waiting := l.flights, l.queue
	if l.open != nil {
		waiting = append(waiting, l.open)
	}
	l.flights, l.queue, l.open = nil, nil, nil
	for _, f := range flights {
		f.resolved = true
		f.group.settle(err)
	}
	for _, g := range waiting {
		g.settle(notAppended(err))
	}
	l.proofs.abandon(err)
}

// settle tells everyone who waits for the group what became of it.
func (g *group) settle(err error) {
	for _, then := range g.then {
		then(err)
	}
}

// latest is the youngest group that is not in a slot yet; nil if there is none.
func (l *ownLog) latest() *group {
	if l.open != nil {
		return l.open
	}
	if n := len(l.queue); n > 0 {
		return l.queue[n-1]
	}
	return nil
}

// latency follows how long puts take, as TCP does for its retransmission time-out
// (RFC 6298): a smoothed mean and a smoothed deviation.
type latency struct {
	mean, deviation time.Duration
}

const leastHedgeDelay = 200 * time.Millisecond

func (l *latency) add(d time.Duration) {
	if l.mean == 0 {
		l.mean, l.deviation = d, d/2
		return
	}
	l.deviation += (max(d-l.mean, l.mean-d) - l.deviation) / 4
	l.mean += (d - l.mean) / 8
}

// slow is when a put counts as slower than usual.
func (l *latency) slow() time.Duration {
	return max(l.mean+4*l.deviation, leastHedgeDelay)
}
