package live

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"

	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Notification says what a slot holds of a shard; the slot is durable.
type Notification struct {
	Log     stream.Incarnation
	Shard   stream.Shard
	Epoch   stream.Epoch
	Slot    stream.Slot
	Before  uint64 // the slot of the notification before, plus one; 0: none
	Appends []Append
	Trace   trace.SpanContext // of its publication; not valid: it is not traced
}

// Append is a block of a stream in the notification's slot.
type Append struct {
	Stream stream.ID
	Block  logindex.Block
	Data   []byte // the stored bytes, if they came along
	trace  trace.SpanContext
}

// Beacon says what a writer has announced.
type Beacon struct{ Shards []ShardBeacon }

// ShardBeacon says what a writer has announced for a shard that it owns.
type ShardBeacon struct {
	Shard stream.Shard
	Epoch stream.Epoch
	Last  uint64 // the last slot announced, plus one; 0: none
}

// Change says that a bucket or a stream was changed. Stream is empty if it was
// the bucket.
type Change struct{ Bucket, Stream string }

// Bus delivers messages, some of them twice, late or never; it calls lost when it
// knows that some may be missing. Handlers must not block. stop ends the
// subscription, and may wait for a handler to return.
type Bus interface {
	SubscribeShard(shard stream.Shard, handle func(*Notification), lost func()) (stop func(), err error)
	SubscribeBeacons(handle func(*Beacon)) (stop func(), err error)
	SubscribeChanges(handle func(Change), lost func()) (stop func(), err error)
}

// Owner answers where a stream stands; see Query.
type Owner interface {
	// Locate fails with *GoneError if the stream does not exist or is being
	// deleted, and with *RefusedError if the owner cannot serve it. Any other error
	// may pass.
	Locate(ctx context.Context, query Query) (Located, error)
}

// Query is a question to a shard's owner.
type Query struct {
	Name       stream.Name
	Start      Start
	MaxBytes   uint64 // of blocks to name; 0: none
	PlacesOnly bool   // without the bytes of blocks
	Prove      bool   // the tail must be proved after the question was asked
	ForRead    bool   // create the stream if its bucket says so
}

// Start is a position in a stream.
type Start struct {
	Kind  StartKind
	Value uint64       // seq_num, timestamp or offset
	SeqID stream.SeqID // of AtSeqID
}

// StartKind says how a position is given.
type StartKind uint8

// The ways to give a position.
const (
	AtSeqNum StartKind = iota
	AtTimestamp
	AtTailOffset
	AtSeqID
)

// Located is an owner's answer.
type Located struct {
	Stream       stream.ID
	Epoch        stream.Epoch
	Log          stream.Incarnation
	Trim         stream.SeqNum
	Tail         Tail
	Start        stream.SeqNum
	StartUnknown bool          // the start is a timestamp below Index
	Index        stream.SeqNum // the owner knows the blocks from here on
	Blocks       []LocatedBlock
}

// LocatedBlock is a block, with its stored bytes if they came along.
type LocatedBlock struct {
	logindex.Block
	Data []byte
}

// Tail is the position after a stream's last record.
type Tail struct {
	Next          stream.SeqNum
	LastTimestamp uint64
	LastIDMillis  uint64
}

// Blocks fetches and decodes blocks.
type Blocks interface {
	Get(ctx context.Context, id stream.ID, blocks []logindex.Block) ([]*segment.Block, error)
	Decode(id stream.ID, at logindex.Block, stored []byte) (*segment.Block, error)
	// Holds tells whether a block is in memory.
	Holds(id stream.ID, at logindex.Block) bool
}

// GoneError says that there is nothing to read any more. Err is what the client
// gets to see.
type GoneError struct{ Err error }

func (e *GoneError) Error() string { return e.Err.Error() }

func (e *GoneError) Unwrap() error { return e.Err }

// RefusedError says that the owner does not serve the stream, because the object store
// does not hold what it must. Err is what the client gets to see.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

func (e *RefusedError) Unwrap() error { return e.Err }

// ErrClosed ends sessions whose hub was closed.
var ErrClosed = errors.New("the reader has stopped following streams")
