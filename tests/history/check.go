package history

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict is what a check has found.
type Verdict struct {
	Stream  string
	Ops     int // operations that say something
	Unknown int // appends without a known outcome
	Took    time.Duration
	// Undecided tells that the checker ran out of time.
	Undecided bool
	Problems  []string

	info porcupine.LinearizationInfo
}

// OK tells that the history is as it should be, as far as is known.
func (v *Verdict) OK() bool { return len(v.Problems) == 0 }

func (v *Verdict) String() string {
	return fmt.Sprintf("%s: %d operations, %d unknown, checked in %s: %s", v.Stream, v.Ops, v.Unknown, v.Took.Round(time.Millisecond),
		strings.Join(v.Problems, "; "))
}

func (v *Verdict) draw(path string) error { return porcupine.VisualizePath(model(), v.info, path) }

// Check looks for an order of the operations that explains all answers.
func (h *History) Check(patience time.Duration) *Verdict {
	begun := time.Now()
	ops := h.Ops()
	h.mu.Lock()
	v := &Verdict{Stream: h.Stream, Problems: append([]string(nil), h.violations...)}
	h.mu.Unlock()
	v.Problems = append(v.Problems, doubled(ops)...)
	operations, unknown := prepare(ops)
	result, info := porcupine.CheckOperationsVerbose(model(), operations, patience)
	v.Ops, v.Unknown, v.info, v.Took = len(operations), unknown, info, time.Since(begun)
	switch result {
	case porcupine.Illegal:
		v.Problems = append(v.Problems, "no order of its operations explains the answers")
	case porcupine.Unknown:
		v.Undecided = true
	}
	return v
}

// doubled finds records that reads show at two places.
func doubled(ops []*Op) (problems []string) {
	places := map[Digest]uint64{}
	for _, o := range ops {
		for i, d := range o.Got {
			place := o.Start + uint64(i)
			if before, ok := places[d]; ok && before != place {
				problems = append(problems, fmt.Sprintf("one record stands at %d and at %d", before, place))
			}
			places[d] = place
		}
	}
	return problems
}

// prepare turns operations into what porcupine checks, and counts the appends
// without a known outcome. What was refused without saying anything about the
// stream is left out.
func prepare(ops []*Op) (operations []porcupine.Operation, unknown int) {
	sights := sighted(ops)
	gap := findGaps(ops, sights)
	add := func(st step, until int64) {
		operations = append(operations, porcupine.Operation{ClientId: st.op.Client, Input: st, Call: st.op.Call, Return: until})
	}
	for _, o := range ops {
		switch {
		case o.Outcome == Failed, !o.appends() && o.Outcome == Unknown:
		case o.Outcome == Unknown:
			unknown++
			if known, until, ok := sights.resolve(o); ok {
				add(step{op: known}, until)
			} else if gap.anyFor(len(o.Records)) {
				add(step{op: o, gap: gap}, math.MaxInt64)
			}
		case o.Kind == Read && o.Outcome == OK:
			add(step{op: o, part: beginning}, o.Return)
			add(step{op: o}, o.Return)
		default:
			add(step{op: o}, o.Return)
		}
	}
	return operations, unknown
}

// sights tells where, and by when, a record was seen first.
type sights map[Digest]sight

type sight struct {
	place uint64
	until int64
}

func sighted(ops []*Op) sights {
	all := sights{}
	for _, o := range ops {
		for i, d := range o.Got {
			if before, ok := all[d]; !ok || o.Return < before.until {
				all[d] = sight{o.Start + uint64(i), o.Return}
			}
		}
	}
	return all
}

// resolve is an append of unknown outcome as it turned out: a read saw it at its
// place, so it happened before that read ended.
func (s sights) resolve(o *Op) (known *Op, until int64, ok bool) {
	for i, d := range o.Records {
		if seen, ok := s[d]; ok && seen.place >= uint64(i) {
			resolved := *o
			resolved.Outcome = OK
			resolved.Start = seen.place - uint64(i)
			resolved.Next = resolved.Start + uint64(len(o.Records))
			return &resolved, max(seen.until, o.Call), true
		}
	}
	return nil, 0, false
}

// gaps are the places below the last known tail that no acknowledged append and no
// record that was seen fills.
type gaps struct{ free map[uint64]bool }

func findGaps(ops []*Op, s sights) *gaps {
	g := &gaps{map[uint64]bool{}}
	tail := uint64(0)
	for _, o := range ops {
		if o.Outcome == OK {
			tail = max(tail, o.Next)
		}
		if o.ActualTail != nil {
			tail = max(tail, *o.ActualTail)
		}
	}
	for place := range tail {
		g.free[place] = true
	}
	for _, o := range ops {
		if o.appends() && o.Outcome == Unknown {
			if known, _, ok := s.resolve(o); ok {
				g.fill(known)
			}
		}
		if o.appends() && o.Outcome == OK || o.Kind == Read && o.Outcome == OK {
			g.fill(o)
		}
	}
	return g
}

func (g *gaps) fill(o *Op) {
	for place := o.Start; place < o.Next; place++ {
		delete(g.free, place)
	}
}

func (g *gaps) holds(place uint64, count int) bool {
	for i := range uint64(count) {
		if !g.free[place+i] {
			return false
		}
	}
	return true
}

func (g *gaps) anyFor(count int) bool {
	for place := range g.free {
		if g.holds(place, count) {
			return true
		}
	}
	return false
}
