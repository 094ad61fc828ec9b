package failpoint

import (
	"fmt"
	"strings"
)

// Step is something that a program does which may be the last thing that it does.
type Step uint8

// The steps.
const (
	SegmentPut Step = iota // of one's own log
	SealPut
	ChainPut
	StatePut
	ChunkPut
	GonePut // the mark that comes before a log's first slot is deleted
	SlotDelete
	ChunkDelete

	HandOverAsk    // a successor asks an owner for a shard
	HandOverAnswer // an owner writes the entry that ends its part; after: it has not answered yet

	// Transactions on the chunk index; before: before the commit.
	IndexDiscover
	IndexBegin
	IndexPublish
	IndexSeal
	IndexMarkGone
	IndexCollected
	IndexRemove
	IndexForget

	steps
)

func (s Step) String() string {
	return [steps]string{
		SegmentPut: "segment-put", SealPut: "seal-put", ChainPut: "chain-put", StatePut: "state-put",
		ChunkPut: "chunk-put", GonePut: "gone-put", SlotDelete: "slot-delete", ChunkDelete: "chunk-delete",
		HandOverAsk: "hand-over-ask", HandOverAnswer: "hand-over-answer",
		IndexDiscover: "index-discover", IndexBegin: "index-begin", IndexPublish: "index-publish", IndexSeal: "index-seal",
		IndexMarkGone: "index-mark-gone", IndexCollected: "index-collected", IndexRemove: "index-remove", IndexForget: "index-forget",
	}[s]
}

// Point is the moment before or after a step.
type Point struct {
	Step  Step
	After bool
}

func (p Point) String() string {
	if p.After {
		return p.Step.String() + ".after"
	}
	return p.Step.String() + ".before"
}

// All are the points of all steps.
func All() []Point {
	var all []Point
	for s := range steps {
		all = append(all, Point{s, false}, Point{s, true})
	}
	return all
}

// Variable is the environment's name for the point to be killed at.
const Variable = "SAMSA_TEST_FAILPOINT"

// Parse reads the value of Variable: a point, and the how manieth time it counts.
func Parse(text string) (Point, int, error) {
	name, count, counted := strings.Cut(text, ":")
	nth := 1
	if counted {
		if _, err := fmt.Sscanf(count, "%d", &nth); err != nil || nth < 1 {
			return Point{}, 0, fmt.Errorf("%s = %q: %q is not a count: give 1 or more", Variable, text, count)
		}
	}
	for _, p := range All() {
		if p.String() == name {
			return p, nth, nil
		}
	}
	return Point{}, 0, fmt.Errorf("%s = %q: no such point: give one of %v", Variable, text, All())
}
