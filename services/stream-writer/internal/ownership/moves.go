package ownership

import (
	"cmp"
	"slices"
	"time"

	"github.com/samsa-io/samsa/pkg/stream"
)

// kind is why a shard is to move.
type kind uint8

const (
	free    kind = iota // nobody seems to own it: this writer takes it
	planned             // somebody else does: it is asked to hand it over
	away                // this writer does and is drained: others are asked to take it
)

func (k kind) String() string { return [...]string{"free", "planned", "away"}[k] }

// move is what is to be done about a shard.
type move struct {
	shard stream.Shard
	kind  kind
}

// moves keeps those under way to a few of each kind, and those that led to nothing
// from coming again at once: an owner that keeps its shard, or hangs, must not take
// the place of others.
type moves struct {
	places  [3]int // by kind
	running map[stream.Shard]kind
	failed  map[stream.Shard]failure
	held    time.Time // no planned one begins before
}

type failure struct {
	times int
	retry time.Time
}

func newMoves(parallel, plannedParallel int) moves {
	return moves{
		places:  [3]int{free: parallel, planned: plannedParallel, away: plannedParallel},
		running: map[stream.Shard]kind{}, failed: map[stream.Shard]failure{},
	}
}

// Pauses before a move that led to nothing is tried again: they double.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// hold lets no planned move begin before a time.
func (m *moves) hold(until time.Time) {
	if until.After(m.held) {
		m.held = until
	}
}

// begin chooses among the wanted moves those that may begin now, those first that
// have failed least, and tells when another one may, at most in longest.
func (m *moves) begin(now time.Time, wanted []move, longest time.Duration) (begun []move, next time.Duration) {
	next = longest
	slices.SortStableFunc(wanted, func(a, b move) int { return cmp.Compare(m.failed[a.shard].times, m.failed[b.shard].times) })
	for _, w := range wanted {
		if _, running := m.running[w.shard]; running {
			continue
		}
		if wait := m.notBefore(w).Sub(now); wait > 0 {
			next = min(next, wait)
		} else if m.places[w.kind] > 0 {
			m.places[w.kind]--
			m.running[w.shard] = w.kind
			begun = append(begun, w)
		}
	}
	return begun, next
}

func (m *moves) notBefore(w move) time.Time {
	at := m.failed[w.shard].retry
	if w.kind == planned && m.held.After(at) {
		return m.held
	}
	return at
}

// end notes that a move is over, and whether the shard is where it should be.
func (m *moves) end(now time.Time, d move, done bool) {
	delete(m.running, d.shard)
	m.places[d.kind]++
	if done {
		delete(m.failed, d.shard)
		return
	}
	f := m.failed[d.shard]
	pause := min(firstRetry<<min(f.times, 16), lastRetry)
	m.failed[d.shard] = failure{f.times + 1, now.Add(pause)}
}

// forgive has the moves tried again at once that led to nothing before.
func (m *moves) forgive() { clear(m.failed) }
