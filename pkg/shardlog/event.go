package shardlog

import (
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// An Event is something that happened outside: a request, the answer to an
// action, or the passing of time.
type Event interface{ event() }

// An Action is something that the driver is to do. Actions of one step are
// carried out in order; what they bring comes back as later events.
type Action interface{ action() }

// OpID ties an answer to the action that asked for it.
type OpID uint64

// Outcome says how an operation on the object store ended.
type Outcome uint8

// The outcomes. A put can end as Created, Exists, Conflict, Failed or Fatal; a
// get or head as Found, Absent, Failed or Fatal.
const (
	Created  Outcome = iota + 1
	Exists           // 412: the key stood already
	Conflict         // 409: try again
	Found
	Absent
	Failed // a time-out or another error: the put may have landed
	Fatal  // the store says that it can't be trusted any more
)

func (o Outcome) String() string {
	return [...]string{"", "created", "exists", "conflict", "found", "absent", "failed", "fatal"}[o]
}

// Put asks to create Key if it is absent. Body makes the object; it is safe to
// call anywhere and gives the same bytes each time.
type Put struct {
	Op   OpID
	Key  string
	Body func() []byte
	// Segment is what Body encodes if Key is a slot of this incarnation's log; nil
	// otherwise. Traces are those of its appends.
	Segment *segment.Segment
	Traces  []any
	// Timeouts is how often a put of this object has timed out: each time the next one
	// is to be given twice as long, so that what is large lands over a slow line too.
	Timeouts int
}

// Get asks for an object, or for its last Suffix bytes if that is positive.
type Get struct {
	Op     OpID
	Key    string
	Suffix int64
}

// Head asks whether Key stands.
type Head struct {
	Op  OpID
	Key string
}

// Lookup asks the catalog for a stream.
type Lookup struct {
	Op      OpID
	Name    stream.Name
	Purpose Purpose
}

// Purpose says why a stream is looked up: a bucket can have missing streams
// created when they are appended to or read.
type Purpose uint8

// The purposes.
const (
	ForInspection Purpose = iota
	ForAppend
	ForRead
)

// AskOwner asks the owner that Entry names to hand the shard over. If the move is
// only Planned an owner that does not answer keeps it, else it counts as gone.
type AskOwner struct {
	Op      OpID
	Entry   segment.ChainEntry
	Planned bool
}

// Reply answers the request that carried Tag.
type Reply struct {
	Tag  any
	Err  error
	Ack  Ack                // to an Append
	View View               // to an Inspect
	Page Page               // to a Survey
	Head segment.ChainEntry // to a Take
	End  stream.Slot        // to a HandOver or a Seal
}

// Durable says that a slot is this incarnation's data, and every lower one too.
// It comes before the replies to the slot's appends.
type Durable struct {
	Slot    stream.Slot
	Segment *segment.Segment
	Object  []byte
}

// Owned says that this incarnation owns a shard now. Recovered holds what the
// takeover replayed, for the index.
type Owned struct {
	Entry     segment.ChainEntry
	Streams   int
	Recovered []Recovered
	Takeover  Takeover
}

// Takeover says how a shard came to its owner.
type Takeover struct {
	From Origin
	// Took is the time since somebody asked for the shard; Replay is the part of it
	// from knowing where the part before ends to having its state written.
	Took, Replay time.Duration
}

// Origin says whose the shard was.
type Origin uint8

// The origins.
const (
	FromNobody Origin = iota // the first owner
	FromLiving               // handed over
	FromSealed               // of an owner that was gone
	FromSelf                 // taken back
)

func (o Origin) String() string {
	return [...]string{"nobody", "living", "sealed", "self"}[o]
}

// Recovered is a part of an older log that a takeover read.
type Recovered struct {
	Log     stream.Incarnation
	Slot    stream.Slot
	Section segment.Section
}

// Lost says that this incarnation no longer serves a shard.
type Lost struct {
	Shard stream.Shard
}

// SealedLog says that another incarnation's log is sealed: its shards need new
// owners.
type SealedLog struct {
	Log stream.Incarnation
}

// Died says that an incarnation has ended; every request to it has been answered.
type Died struct {
	Log stream.Incarnation
	Err error
	// Retired: it had handed everything over and ended by itself.
	Retired bool
}

func (Put) action()       {}
func (Get) action()       {}
func (Head) action()      {}
func (Lookup) action()    {}
func (AskOwner) action()  {}
func (Reply) action()     {}
func (Durable) action()   {}
func (Owned) action()     {}
func (Lost) action()      {}
func (SealedLog) action() {}
func (Died) action()      {}

// PutDone answers a Put.
type PutDone struct {
	Op      OpID
	Outcome Outcome
	// TimedOut: it has Failed because the time that it was given was over.
	TimedOut bool
	Err      error
}

// GetDone answers a Get.
type GetDone struct {
	Op      OpID
	Outcome Outcome
	Body    []byte
	Err     error
}

// HeadDone answers a Head.
type HeadDone struct {
	Op      OpID
	Outcome Outcome
	Err     error
}

// LookupDone answers a Lookup with the stream's active row, or with an error
// that every request waiting for it gets.
type LookupDone struct {
	Op     OpID
	Stream CatalogStream
	Err    error
}

// CatalogStream is what the catalog says of an active stream.
type CatalogStream struct {
	ID            stream.ID
	BucketID      stream.ID
	Config        stream.Config
	ConfigVersion uint64
}

// OwnerAnswer says what the owner answered to AskOwner.
type OwnerAnswer uint8

// The answers.
const (
	OwnerGone OwnerAnswer = iota + 1 // unreachable, or another incarnation answers at its address
	OwnerKeeps
	OwnerHandedOver
)

// AskDone answers AskOwner.
type AskDone struct {
	Op     OpID
	Answer OwnerAnswer
	End    stream.Slot // with OwnerHandedOver
}

// Tick says that time has passed.
type Tick struct{}

// Stop ends the incarnation at once. What is not durable yet may become so.
type Stop struct{}

// Take asks to own a shard. The reply carries the head of its chain: this
// incarnation's entry, or that of an owner that keeps it.
type Take struct {
	Tag   any
	Shard stream.Shard
	// Planned: the owner is believed to live; don't end it if it is slow.
	Planned bool
	// Hint is an epoch that the chain is believed to have; 0: none is known. It spares
	// reading a long chain from its beginning.
	Hint stream.Epoch
}

// HandOver asks to let a shard go; the reply says where this incarnation's part
// of it ends.
type HandOver struct {
	Tag         any
	Shard       stream.Shard
	Epoch       stream.Epoch
	Incarnation stream.Incarnation
}

// Inspect asks where a stream stands.
type Inspect struct {
	Tag     any
	Name    stream.Name
	Purpose Purpose
	// Prove asks for a view that is current at some moment after this event.
	Prove bool
}

// Configure brings a changed configuration into effect. ErrCatalogBehind: the name is
// another living stream's, or the stream has another configuration of this version or a
// later one.
type Configure struct {
	Tag           any
	Name          stream.Name
	ID            stream.ID
	Config        stream.Config
	ConfigVersion uint64
}

// Tombstone ends a stream for good. ErrCatalogBehind: the name is another living
// stream's.
type Tombstone struct {
	Tag  any
	Name stream.Name
	ID   stream.ID
	// IfEmpty: only if it holds no record, and was not appended to for as long as
	// its configuration says, at the millisecond Now; else *KeptError.
	IfEmpty bool
	Now     uint64
}

// TombstoneBucket ends the streams of a bucket in one shard.
type TombstoneBucket struct {
	Tag      any
	Shard    stream.Shard
	BucketID stream.ID
}

// Trim moves a stream's trim point, for retention.
type Trim struct {
	Tag  any
	Name stream.Name
	ID   stream.ID
	Trim stream.SeqNum
	// ConfigVersion is the configuration that asks for it: if the stream has got
	// another one since, the trim is refused with ErrReconfigured. 0: whatever it is.
	ConfigVersion uint64
}

// Survey asks for some of the streams of a shard that have a retention and records,
// as far as they are durable. It looks at so many streams at most, whether or not
// they are such; a stream that is there throughout is in one of the pages.
type Survey struct {
	Tag   any
	Shard stream.Shard
	From  int // 0, or Next of the page before
	Limit int // at least 1
}

// Seal asks to end another incarnation's log, dead or alive, by the rules in seal.go.
// The reply says where it ends, or ErrDamaged.
type Seal struct {
	Tag    any
	Log    stream.Incarnation
	Window uint32 // of that log
}

// Page is a part of a shard's streams.
type Page struct {
	Streams []View
	Durable stream.Slot // every slot of the owner's log below it is
	Next    int         // 0: there are no more
}

func (PutDone) event()         {}
func (GetDone) event()         {}
func (HeadDone) event()        {}
func (LookupDone) event()      {}
func (AskDone) event()         {}
func (Tick) event()            {}
func (Stop) event()            {}
func (Take) event()            {}
func (HandOver) event()        {}
func (Inspect) event()         {}
func (Configure) event()       {}
func (Tombstone) event()       {}
func (TombstoneBucket) event() {}
func (Trim) event()            {}
func (Survey) event()          {}
func (Seal) event()            {}
func (*Append) event()         {}

// Append is a batch of one stream to be appended whole or not at all.
type Append struct {
	Tag  any
	Name stream.Name
	// Trace comes back with the put of the batch's segment; nil: nothing does.
	Trace any
	// Session is shared by the appends of one session; nil outside of sessions.
	Session *Session

	// Payload holds Count records, each as segment.AppendRecord wrote it.
	Payload []byte
	Count   uint32
	// Timestamps has one per record, NoTimestamp where the client gave none.
	Timestamps []uint64
	Commands   []Command

	FencingToken *string
	MatchSeqNum  *stream.SeqNum
	MatchSeqID   *stream.SeqID

	ProducerID  string // "": none
	ProducerSeq uint64
}

// NoTimestamp stands for a timestamp that the client left to the system.
const NoTimestamp = ^uint64(0)

// Command is the effect of a command record.
type Command struct {
	// Index is the record's place in its batch.
	Index uint32
	// Fence is the new fencing token; nil: the command is a trim.
	Fence *string
	// Trim is the first seq_num to keep, as asked for.
	Trim stream.SeqNum
}

// Session ties the appends of one session together: after the first failure
// every later one fails too.
type Session struct {
	failed bool
	// pending counts its appends on their way in at. While there are any, no other
	// incarnation accepts one: the earlier may yet fail.
	pending int
	at      *Writer
}

// Ack says where an append stands in its stream.
type Ack struct {
	Stream         stream.ID
	First          stream.SeqNum
	Count          uint32
	IDMillis       uint64
	FirstTimestamp uint64
	LastTimestamp  uint64
}

// View is where a stream stood at one moment, as far as it was durable.
type View struct {
	ID            stream.ID
	Name          stream.Name
	Shard         stream.Shard
	Epoch         stream.Epoch
	Log           stream.Incarnation // the owner's
	Config        stream.Config
	ConfigVersion uint64
	Trim          stream.SeqNum
	Tail          stream.SeqNum
	LastTime      uint64 // Unix milliseconds, of the last record
	LastIDMillis  uint64
}
