package segment

import (
	"encoding/binary"

	"github.com/samsa-io/samsa/pkg/stream"
)

// StateRef names a state object: what the footers of the epoch's part below Slot
// say is in it.
type StateRef struct {
	Shard stream.Shard
	Epoch stream.Epoch
	Slot  stream.Slot
}

// Key is the state object's.
func (s StateRef) Key() string { return StateKey(s.Shard, s.Epoch, s.Slot) }

// Before tells that the state is older than another one of its shard.
func (s StateRef) Before(other StateRef) bool {
	return s.Epoch < other.Epoch || s.Epoch == other.Epoch && s.Slot < other.Slot
}

func appendStateRef(dst []byte, s StateRef) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Shard))
	dst = binary.AppendUvarint(dst, uint64(s.Epoch))
	return binary.AppendUvarint(dst, uint64(s.Slot))
}

func (r *reader) stateRef() StateRef {
	return StateRef{
		Shard: stream.Shard(r.uint32()),
		Epoch: stream.Epoch(r.uvarint()),
		Slot:  stream.Slot(r.uvarint()),
	}
}

// ChainEntry says who owns a shard in an epoch.
type ChainEntry struct {
	Shard     stream.Shard
	Epoch     stream.Epoch
	Owner     stream.Incarnation
	Instance  string
	Address   string
	Window    uint32
	FirstSlot stream.Slot // of the part in the owner's log
	// PredecessorEnd is where the predecessor's part ends in its log, exclusive.
	PredecessorEnd stream.Slot
	State          *StateRef // as of that end; nil only in epoch 0
}

// Encode makes the object that stands under the entry's ChainKey.
func (e ChainEntry) Encode() []byte {
	dst := openEnvelope(nil, KindChainEntry)
	dst = binary.AppendUvarint(dst, uint64(e.Shard))
	dst = binary.AppendUvarint(dst, uint64(e.Epoch))
	dst = append(dst, e.Owner[:]...)
	dst = appendString(dst, e.Instance)
	dst = appendString(dst, e.Address)
	dst = binary.AppendUvarint(dst, uint64(e.Window))
	dst = binary.AppendUvarint(dst, uint64(e.FirstSlot))
	dst = binary.AppendUvarint(dst, uint64(e.PredecessorEnd))
	if e.State == nil {
		dst = append(dst, 0)
	} else {
		dst = appendStateRef(append(dst, 1), *e.State)
	}
	return closeEnvelope(dst)
}

// DecodeChainEntry reads what Encode made.
func DecodeChainEntry(object []byte) (ChainEntry, error) {
	payload, err := DecodeEnvelope(KindChainEntry, object)
	if err != nil {
		return ChainEntry{}, err
	}
	r := &reader{b: payload, what: "chain entry"}
	e := ChainEntry{
		Shard:          stream.Shard(r.uint32()),
		Epoch:          stream.Epoch(r.uvarint()),
		Owner:          r.id(),
		Instance:       r.string(),
		Address:        r.string(),
		Window:         r.uint32(),
		FirstSlot:      stream.Slot(r.uvarint()),
		PredecessorEnd: stream.Slot(r.uvarint()),
	}
	switch has := r.byte(); has {
	case 0:
	case 1:
		ref := r.stateRef()
		e.State = &ref
	default:
		r.failf("state mark %d", has)
	}
	if err := r.done(); err != nil {
		return ChainEntry{}, err
	}
	return e, nil
}
