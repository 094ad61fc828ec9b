package frame

import "math"

// Unlimited is a limit that is never met.
const Unlimited = math.MaxUint64

// leastMetered is what the smallest record counts for.
const leastMetered = 8

// Limits is what a reader wants at most.
type Limits struct {
	Count uint64  // records; Unlimited: no limit
	Bytes uint64  // metered; Unlimited: no limit
	Wire  uint64  // serialized bytes; Unlimited: no limit
	Until *uint64 // only records with an earlier timestamp
	Since uint64  // leave out records with an earlier timestamp; they come first
}

// NoLimits wants everything.
func NoLimits() Limits { return Limits{Count: Unlimited, Bytes: Unlimited, Wire: Unlimited} }

// Budget is what is left of Limits. Records are offered to it in order.
type Budget struct {
	left    Limits
	any     bool // a record was taken: only the first may exceed the bytes
	stopped bool // a record did not fit
}

// NewBudget makes a budget of which nothing is used.
func NewBudget(limits Limits) *Budget { return &Budget{left: limits} }

// Verdict is what a budget says of a record.
type Verdict uint8

// The verdicts.
const (
	Take Verdict = iota
	Skip         // not this one, go on with the next
	Stop         // neither this one nor any later one
)

// Offer decides about the next record and counts it if it is taken.
func (b *Budget) Offer(timestamp, metered, wire uint64) Verdict {
	switch {
	case b.Exhausted():
		b.stopped = true
		return Stop
	case b.Early(timestamp):
		return Skip
	case b.left.Until != nil && timestamp >= *b.left.Until, b.any && (metered > b.left.Bytes || wire > b.left.Wire):
		b.stopped = true
		return Stop
	}
	b.take(1, metered, wire)
	return Take
}

// Early tells whether a record lies before those that are wanted.
func (b *Budget) Early(timestamp uint64) bool { return timestamp < b.left.Since }

// offerAll takes a run of records if each of them would be taken.
func (b *Budget) offerAll(f *Frame) bool {
	fits := uint64(f.Count) <= b.left.Count && f.Metered <= b.left.Bytes && uint64(f.Size()) <= b.left.Wire &&
		(b.left.Until == nil || f.LastTimestamp < *b.left.Until) && f.FirstTimestamp >= b.left.Since
	if fits && !b.stopped {
		b.take(uint64(f.Count), f.Metered, uint64(f.Size()))
		return true
	}
	return false
}

func (b *Budget) take(count, metered, wire uint64) {
	b.any = true
	b.left.Count = minus(b.left.Count, count)
	b.left.Bytes = minus(b.left.Bytes, metered)
	b.left.Wire = minus(b.left.Wire, wire)
}

func minus(left, used uint64) uint64 {
	if left == Unlimited {
		return left
	}
	return left - min(left, used)
}

// Exhausted tells that no later record can be taken, whatever it is.
func (b *Budget) Exhausted() bool {
	l := b.left
	return b.stopped || l.Count == 0 || l.Bytes == 0 || b.any && (l.Bytes < leastMetered || l.Wire < leastMetered)
}

// Unreachable tells that no record behind one with that timestamp is wanted.
func (b *Budget) Unreachable(lastTimestamp uint64) bool {
	return b.left.Until != nil && lastTimestamp >= *b.left.Until
}
