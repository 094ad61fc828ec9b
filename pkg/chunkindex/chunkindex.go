package chunkindex

import (
	"errors"
	"fmt"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Chunk is a block of a chunk object.
type Chunk struct {
	Stream stream.ID
	Object segment.ChunkID
	segment.BlockRef
}

// State is where a chunk object stands in its life.
type State string

// The states. An object that is gone has no row.
const (
	StatePending State = "pending"
	StateLive    State = "live"
	StateRemoved State = "removed"
)

// Object is a chunk object's row.
type Object struct {
	ID    segment.ChunkID
	State State
	Job
	Bytes     int64 // of its blocks, as stored
	LiveBytes int64 // of those that chunks name
}

// Miscount says that the index contradicts itself.
type Miscount struct {
	ID        segment.ChunkID
	State     State // empty: the object has no row
	LiveBytes int64 // by the object's row
	Named     int64 // by the rows of chunks that name it
}

// Job is what a chunk object is made from: slots of a log, chunks of other objects,
// or both.
type Job struct {
	Log      stream.Incarnation // zero: none
	From, To stream.Slot        // [From, To)
	Sources  []segment.ChunkID  // ascending
}

// Log is a log's row.
type Log struct {
	Log       stream.Incarnation
	Watermark stream.Slot
	Sealed    bool
	End       stream.Slot // where the lowest seal stands, if Sealed
	Gone      bool        // its slots may have been deleted
}

// Drained tells that all of the log is in chunks, for good.
func (l Log) Drained() bool { return l.Sealed && l.Watermark == l.End }

// Span is positions of a stream, [First, Next).
type Span struct {
	Stream      stream.ID
	First, Next stream.SeqNum
}

// Limit says what of a stream need not be kept.
type Limit struct {
	Trim stream.SeqNum // nothing below it
	Dead bool          // nothing at all
}

// Publication is a finished job.
type Publication struct {
	Object segment.ChunkID // 0: the slots hold nothing to keep, there is no object
	Job
	Chunks   []Chunk // all of the object's
	Replaced []Chunk // go with it
	Facts    Facts
}

// Status is what a look at the index as a whole tells.
type Status struct {
	Last   segment.ChunkID // no greater id was given out
	Behind string          // why the index was halted; empty: it was not
}

// TailChunks is how many chunks before a span Tails looks at.
const TailChunks = 16

var (
	// ErrLost says that somebody else has done the job, or changed what it is
	// based on. Nothing was changed.
	ErrLost = errors.New("the chunk index has moved on")
	// ErrUnavailable says that Postgres did not answer: a change may have been made
	// or not.
	ErrUnavailable = errors.New("chunk index database is unavailable")
)

// BehindError says that the index is older than the store.
type BehindError struct{ Reason string }

func (e *BehindError) Error() string {
	return fmt.Sprintf("the chunk index is behind the object store (%s): rebuild it; until then nothing is compacted or collected", e.Reason)
}

// ChunksOf is what the footer of an object says, as rows.
func ChunksOf(object *segment.Chunks) []Chunk {
	var out []Chunk
	for i := range object.Runs {
		for _, ref := range object.Runs[i].Blocks {
			out = append(out, Chunk{Stream: object.Runs[i].Stream, Object: object.ID, BlockRef: ref})
		}
	}
	return out
}

// bytesOf is what the chunks take in their objects.
func bytesOf(chunks []Chunk) (n int64) {
	for i := range chunks {
		n += int64(chunks[i].Stored)
	}
	return n
}

// Overlaps tells whether the chunk holds a position of [first, next).
func (c *Chunk) Overlaps(first, next stream.SeqNum) bool { return c.First < next && first < c.Next() }
