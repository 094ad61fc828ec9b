package sim

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
)

// World is a clock, a die, and what is going to happen. It lives in a bubble of
// testing/synctest and, but for post, belongs to the goroutine that runs it.
type World struct {
	rng    *rand.Rand
	queue  eventQueue
	order  int
	heat   int  // of faults, in percent
	calm   bool // no more faults
	stats  Stats
	trace  io.Writer // nil: none
	begun  time.Time
	hash   uint64 // of everything that happened
	timer  *time.Timer
	recent [60]happening // a ring

	mu     sync.Mutex
	posted []event // what goroutines have asked for since the last look
	wake   chan struct{}
}

// Stats count what was done and what went wrong on purpose.
type Stats struct {
	Events, Appends, Acked, Trims, Fences, Deleted                   int // of clients
	Reads, Records, Followed                                         int
	Puts, Gets, Deletes, Queries, Lookups, Messages                  int // requests
	Takes, HandOvers, Sealed, Slots, Rolls, Retired                  int // of logs and chains
	ChunkObjects, Published, CollectedLogs, Rebuilds, Restores       int
	LostRequests, LostReplies, LatePuts, Doubled, Conflicts, Garbled int // faults
	Truncated, Slow, BrokenCommits, LostMessages, Kills, Pauses      int
}

// Add sums up.
func (s *Stats) Add(other Stats) {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(other)
	for i := range to.NumField() {
		to.Field(i).SetInt(to.Field(i).Int() + from.Field(i).Int())
	}
}

// Faults is how much went wrong on purpose.
func (s *Stats) Faults() int {
	return s.LostRequests + s.LostReplies + s.LatePuts + s.Doubled + s.Conflicts + s.Garbled + s.Truncated + s.Slow +
		s.BrokenCommits + s.LostMessages + s.Kills + s.Pauses
}

type event struct {
	at    time.Time
	order int
	what  string
	run   func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return x
}

func newWorld(seed uint64, trace io.Writer) *World {
	w := &World{
		rng: rand.New(rand.NewPCG(seed, 1)), trace: trace, begun: time.Now(),
		wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour),
	}
	w.heat = []int{10, 50, 100, 200}[w.rng.IntN(4)]
	return w
}

// failure is a broken rule; it ends the simulation.
type failure struct{ message string }

// mustf ends the simulation unless ok.
func (w *World) mustf(ok bool, format string, args ...any) {
	if !ok {
		panic(failure{fmt.Sprintf(format, args...)})
	}
}

// after runs something later.
func (w *World) after(d time.Duration, what string, run func()) {
	w.order++
	heap.Push(&w.queue, event{time.Now().Add(d), w.order, what, run})
}

// post is after for goroutines: run is called as soon as all of them wait.
func (w *World) post(what string, run func()) {
	w.mu.Lock()
	w.posted = append(w.posted, event{what: what, run: run})
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// lag is a random delay, now and then a long one. Odd nanoseconds keep it from
// coinciding with timers of the code under test.
func (w *World) lag() time.Duration {
	odd := time.Duration(1+w.rng.IntN(999)) * time.Nanosecond
	if !w.calm && w.rng.IntN(3000) < w.heat {
		w.stats.Slow++
		return time.Duration(w.rng.IntN(1500))*time.Millisecond + odd
	}
	if w.calm {
		return time.Duration(200+w.rng.IntN(2000))*time.Microsecond + odd
	}
	return time.Duration(500+w.rng.IntN(10_000))*time.Microsecond + odd
}

// chance is true in percent of all cases, and counts the fault.
func (w *World) chance(percent int, counter *int) bool {
	if w.calm || w.rng.IntN(10_000) >= percent*w.heat {
		return false
	}
	*counter++
	return true
}

// run lets happen what happens in the next while.
func (w *World) run(d time.Duration) {
	until := time.Now().Add(d)
	for {
		w.settle()
		now := time.Now()
		if len(w.queue) > 0 && !w.queue[0].at.After(now) {
			e := heap.Pop(&w.queue).(event)
			w.note(e.what)
			e.run()
			continue
		}
		next := until
		if len(w.queue) > 0 && w.queue[0].at.Before(until) {
			next = w.queue[0].at
		}
		if !next.After(now) {
			return
		}
		w.timer.Reset(next.Sub(now))
		select {
		case <-w.timer.C:
		case <-w.wake:
		}
	}
}

// runUntil lets things happen until done, for at most d; it tells whether it was.
func (w *World) runUntil(d time.Duration, done func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if done() {
			return true
		}
		w.run(20 * time.Millisecond)
	}
	return done()
}

// settle waits until every goroutine waits, and takes what they ask for, in an order
// that does not depend on who came first.
func (w *World) settle() {
	for {
		synctest.Wait()
		w.mu.Lock()
		posted := w.posted
		w.posted = nil
		w.mu.Unlock()
		if len(posted) == 0 {
			return
		}
		select {
		case <-w.wake:
		default:
		}
		slices.SortStableFunc(posted, func(a, b event) int { return strings.Compare(a.what, b.what) })
		for _, e := range posted {
			w.note(e.what)
			e.run()
		}
	}
}

func (w *World) note(what string) {
	w.stats.Events++
	at := time.Since(w.begun)
	w.hash = w.hash*1099511628211 ^ xxhash.Sum64String(what) ^ uint64(at)
	w.recent[w.stats.Events%len(w.recent)] = happening{at, what}
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%12s  %s\n", at, what)
	}
}

// happening is an event that was.
type happening struct {
	at   time.Duration
	what string
}

// lately is the last things that happened.
func (w *World) lately() string {
	var out strings.Builder
	for i := range w.recent {
		if h := w.recent[(w.stats.Events+1+i)%len(w.recent)]; h.what != "" {
			fmt.Fprintf(&out, "%12s  %s\n", h.at, h.what)
		}
	}
	return out.String()
}

// A process is a program that waits for answers. It can be killed and paused.
type process struct {
	w       *World
	name    string
	ctx     context.Context // ends with it
	kill    context.CancelFunc
	dead    bool
	paused  bool
	backlog []func()
	locks   []func() // gives back each that it took
}

var errKilled = errors.New("sim: this process was killed")

func (w *World) newProcess(name string) *process {
	p := &process{w: w, name: name}
	p.ctx, p.kill = context.WithCancel(context.Background())
	return p
}

// deliver brings an answer, unless nobody is there to take it.
func (p *process) deliver(f func()) {
	switch {
	case p.dead:
	case p.paused:
		p.backlog = append(p.backlog, f)
	default:
		f()
	}
}

func (p *process) die() {
	p.dead = true
	p.backlog = nil
	for _, give := range p.locks {
		give()
	}
	p.kill()
}

func (p *process) pause(d time.Duration) {
	p.w.stats.Pauses++
	p.paused = true
	p.w.after(d, "resume "+p.name, func() {
		p.paused = false
		backlog := p.backlog
		p.backlog = nil
		for _, f := range backlog {
			p.deliver(f)
		}
	})
}

// request has the world do something for a goroutine of a process, which waits for
// the answer. serve is called by the world.
func request[T any](ctx context.Context, p *process, what string, serve func(reply func(T))) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	answer := make(chan T, 1)
	p.w.post(p.name+" "+what, func() {
		if p.dead {
			return
		}
		serve(func(v T) {
			p.deliver(func() {
				select {
				case answer <- v:
				default: // answered already
				}
			})
		})
	})
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-p.ctx.Done():
		return none, errKilled
	}
}
