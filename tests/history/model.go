package history

import (
	"encoding/binary"
	"fmt"

	"github.com/anishathalye/porcupine"
)

// state is where a stream stands. Equal states have equal chains, since a chain
// hashes all records.
type state struct {
	tail  uint64
	chain Digest
	token string
	trim  uint64
	last  *node
}

// node is a record of the content, newest first.
type node struct {
	before *node
	digest Digest
}

// step is what happens at one moment: an operation, or a part of one. A read looks
// for where to begin at one moment and for the tail at another.
type step struct {
	op   *Op
	part part
	// gap has the places that no known append fills; of appends whose place is not
	// known.
	gap *gaps
}

type part uint8

const (
	whole part = iota
	beginning
)

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, input, _ any) (bool, any) { return input.(step).take(s.(state)) },
		Equal: func(a, b any) bool {
			x, y := a.(state), b.(state)
			return x.tail == y.tail && x.chain == y.chain && x.token == y.token && x.trim == y.trim
		},
		Hash: func(s any) uint64 {
			x := s.(state)
			return binary.BigEndian.Uint64(x.chain[:]) ^ x.trim<<32
		},
		DescribeOperation: func(input, _ any) string { return input.(step).String() },
		DescribeState: func(s any) string {
			x := s.(state)
			return fmt.Sprintf("tail %d, token %q, trim %d, content %x", x.tail, x.token, x.trim, x.chain[:4])
		},
	}
}

func (st step) String() string {
	if st.part == beginning {
		return "beginning of " + st.op.String()
	}
	return st.op.String()
}

// take tells whether the step is possible in a state, and what comes of it.
func (st step) take(s state) (bool, state) {
	o := st.op
	switch {
	case o.Outcome == PastTail:
		return *o.ActualTail == s.tail && o.From > s.tail, s
	case o.Outcome == Mismatch:
		return s.mismatches(o), s
	case o.Kind == Tail:
		return o.Next == s.tail, s
	case o.Kind == Read && st.part == beginning:
		return s.beginsAt(o), s
	case o.Kind == Read:
		return s.holds(o), s
	case o.Outcome == OK:
		return o.Start == s.tail && s.meets(o), s.with(o)
	case s.meets(o) && st.gap.holds(s.tail, len(o.Records)):
		return true, s.with(o)
	default:
		return true, s
	}
}

// meets tells whether an append's conditions hold.
func (s state) meets(o *Op) bool {
	return (o.FencingToken == nil || *o.FencingToken == s.token) && (o.MatchSeqNum == nil || *o.MatchSeqNum == s.tail)
}

// mismatches tells whether an append's conditions fail in the way that it was told.
// The token is compared first.
func (s state) mismatches(o *Op) bool {
	if o.ActualToken != nil {
		return o.FencingToken != nil && *o.ActualToken == s.token && *o.FencingToken != s.token
	}
	return (o.FencingToken == nil || *o.FencingToken == s.token) &&
		o.MatchSeqNum != nil && *o.ActualTail == s.tail && *o.MatchSeqNum != s.tail
}

// with is the state after an append.
func (s state) with(o *Op) state {
	for _, d := range o.Records {
		s.last = &node{s.last, d}
		s.chain = DigestOf(s.chain[:], d[:])
		s.tail++
	}
	if o.SetToken != nil {
		s.token = *o.SetToken
	}
	if o.SetTrim != nil {
		s.trim = max(s.trim, min(*o.SetTrim, s.tail))
	}
	return s
}

// beginsAt tells whether a read begins where it should.
func (s state) beginsAt(o *Op) bool {
	from := max(o.From, s.trim)
	return from == o.Start || len(o.Got) == 0 && from >= o.Start
}

// holds compares what a read gave with the content.
func (s state) holds(o *Op) bool {
	// A read ends at the tail, or before what was trimmed since it began.
	if o.Next > s.tail || o.short() && o.Next != s.tail && (len(o.Got) == 0 || s.trim <= o.Next) {
		return false
	}
	at := s.last
	for range s.tail - o.Next {
		at = at.before
	}
	for i := len(o.Got) - 1; i >= 0; i-- {
		if at == nil || at.digest != o.Got[i] {
			return false
		}
		at = at.before
	}
	return true
}
