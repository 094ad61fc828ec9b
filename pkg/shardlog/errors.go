package shardlog

import (
	"errors"
	"fmt"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// What a request can fail with. All but ErrOutcomeUnknown mean that it changed
// nothing.
var (
	// ErrOutcomeUnknown: the batch may or may not have been appended.
	ErrOutcomeUnknown = errors.New("it is not known whether the batch was appended")
	// ErrProducerForgotten: what the stream remembers of its producers does not
	// reach back to this batch, so nobody can tell whether it was appended.
	ErrProducerForgotten = fmt.Errorf("%w: the stream remembers the last %d batches of the last %d producers only; "+
		"read the stream to see, or go on as a new producer: take a new UUIDv7 for a producer_id",
		ErrOutcomeUnknown, producerBatchesKept, producersKept)
	// ErrProducerTime: the producer's id is a UUIDv7 from the future.
	ErrProducerTime = errors.New("the producer_id is a UUIDv7 that lies more than a day in the future: set the client's clock")
	// ErrDeleting: the stream or its bucket is being deleted.
	ErrDeleting = errors.New("deletion pending")
	// ErrTimestampRequired: a record lacks the timestamp that its stream demands.
	ErrTimestampRequired = errors.New("the stream's timestamping mode is client-require: give every record a timestamp")
	// ErrTimestampRange: a record's timestamp, which its stream would keep, is more
	// than a seq_id's 48 bits can tell, some 8,900 years.
	ErrTimestampRange = errors.New("a record's timestamp is out of range: want Unix milliseconds")
	// ErrStreamFull: the stream has no seq_num left.
	ErrStreamFull = errors.New("the stream has used up its seq_nums")
	// ErrSessionFailed: an earlier append of the session failed.
	ErrSessionFailed = errors.New("an earlier append of this session failed")
	// ErrForeignSeqID: the seq_id to match belongs to another stream.
	ErrForeignSeqID = errors.New("match_seq_id is an id of another stream")
	// ErrReconfigured: a trim was asked for by a configuration that the stream has
	// no more.
	ErrReconfigured = errors.New("the stream's configuration has changed meanwhile")
	// ErrCatalogBehind: what a control request says of a stream is older than the
	// shard's log.
	ErrCatalogBehind = errors.New("the catalog is behind the log, as when Postgres was put back to an older backup; the compactors bring it up to date")
	// ErrDied: this incarnation ended before the request took effect.
	ErrDied = errors.New("this writer lost its log and starts anew")
	// ErrDamaged: an object that must stand is missing or broken.
	ErrDamaged = errors.New("the log is damaged")
)

// KeptError says that a stream is not to be deleted for being empty.
type KeptError struct {
	// Millis is for how long at least it can't be otherwise; 0: nobody can tell.
	Millis uint64
}

func (e *KeptError) Error() string { return "the stream is not empty, or not for long enough" }

// NotOwnerError says that this writer does not own the shard.
type NotOwnerError struct {
	Shard stream.Shard
	// Head is the newest chain entry known; nil if none is.
	Head *segment.ChainEntry
}

func (e *NotOwnerError) Error() string {
	if e.Head == nil {
		return fmt.Sprintf("shard %d is not owned by this writer", e.Shard)
	}
	return fmt.Sprintf("shard %d is owned by %s, not by this writer", e.Shard, e.Head.Instance)
}

// Condition is what an append can ask for, by its name in the API.
type Condition string

// The conditions, in the order in which they are compared.
const (
	FencingToken Condition = "fencing_token"
	MatchSeqNum  Condition = "match_seq_num"
	MatchSeqID   Condition = "match_seq_id"
)

// ConditionError says which condition of an append did not hold.
type ConditionError struct {
	Failed Condition
	// FencingToken is the stream's actual token.
	FencingToken string
	// NextSeqNum is the stream's actual next position, NextSeqID its id.
	NextSeqNum stream.SeqNum
	NextSeqID  stream.SeqID
}

func (e *ConditionError) Error() string {
	if e.Failed == FencingToken {
		return fmt.Sprintf("the stream's fencing token is %q", e.FencingToken)
	}
	if e.Failed == MatchSeqID {
		return fmt.Sprintf("the stream's next seq_id is %s", e.NextSeqID)
	}
	return fmt.Sprintf("the stream's next seq_num is %d", e.NextSeqNum)
}

// ProducerGapError says that a producer left batches out, or cut them anew.
type ProducerGapError struct {
	// Expected is how many records of the producer the stream holds.
	Expected uint64
}

func (e *ProducerGapError) Error() string {
	return fmt.Sprintf("the stream holds %d records of this producer", e.Expected)
}
