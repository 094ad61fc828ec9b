package read

import (
	"errors"
	"fmt"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// ErrStopping ends sessions when the reader stops: another one will serve them.
var ErrStopping = errors.New("this reader is stopping; resume elsewhere")

// PastTailError says that a read was to start behind the tail.
type PastTailError struct {
	Start  stream.SeqNum
	Tail   live.Tail
	NextID stream.SeqID
}

func (e *PastTailError) Error() string {
	return fmt.Sprintf("seq_num %d lies past the tail, which is at %d; set clamp to start there", e.Start, e.Tail.Next)
}

// ForeignIDError says that a seq_id belongs to another stream.
type ForeignIDError struct{ ID stream.SeqID }

func (e *ForeignIDError) Error() string {
	return fmt.Sprintf("seq_id %s belongs to another stream", e.ID)
}

// OverloadError says that the reader has no room for the request.
type OverloadError struct {
	What  string // what there is too much of
	Key   string // the setting that bounds it
	Limit int64
}

func (e *OverloadError) Error() string {
	return fmt.Sprintf("too many %s: %s allows %d; try another reader or later", e.What, e.Key, e.Limit)
}
