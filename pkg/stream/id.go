package stream

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// ID is the UUID of a stream or of a bucket. A name that is deleted and created
// again gets a new one.
type ID [16]byte

// NewID makes a random ID.
func NewID() ID { return ID(uuid.New()) }

func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero tells whether id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads the textual form of an ID.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	return ID(u), err
}

// IDFromBytes reads an ID of exactly 16 bytes.
func IDFromBytes(b []byte) (ID, error) {
	if len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("an id has 16 bytes, not %d", len(b))
	}
	return ID(b), nil
}

// Salt tells the stream's seq_ids from those of other streams. It is derived
// from the stream's UUID, so it need not be stored.
func (id ID) Salt() Salt { return Salt(xxhash.Sum64(id[:]) & maxSalt) }

// Incarnation names one run of a stream-writer, and with it that run's log.
type Incarnation [16]byte

// NewIncarnation makes a random Incarnation.
func NewIncarnation() Incarnation { return Incarnation(uuid.New()) }

func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// IsZero tells whether i was never set.
func (i Incarnation) IsZero() bool { return i == Incarnation{} }

// IncarnationFromBytes reads an Incarnation of exactly 16 bytes.
func IncarnationFromBytes(b []byte) (Incarnation, error) {
	if len(b) != len(Incarnation{}) {
		return Incarnation{}, fmt.Errorf("an incarnation has 16 bytes, not %d", len(b))
	}
	return Incarnation(b), nil
}

// SeqNum is a record's position in its stream: dense, from 0, below MaxSeqNum.
type SeqNum uint64

// MaxSeqNum is the tail that a full stream has.
const MaxSeqNum SeqNum = 1<<48 - 1

// Slot is an object's position in its log, from 0.
type Slot uint64

// Epoch is an entry's position in its shard's chain, from 0.
type Epoch uint64

// Shard is a fixed slice of streams, the unit of ownership.
type Shard uint32

// Name is what people call a stream.
type Name struct {
	Bucket string
	Stream string
}

func (n Name) String() string { return n.Bucket + "/" + n.Stream }

// Shard is the shard, out of count, that the stream belongs to for ever.
func (n Name) Shard(count uint32) Shard {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(n.Bucket)
	_, _ = d.Write([]byte{0})
	_, _ = d.WriteString(n.Stream)
	return Shard(d.Sum64() % uint64(count))
}

// Salt marks the seq_ids of one stream; it has 26 bits.
type Salt uint32

const (
	saltBits = 26
	maxSalt  = 1<<saltBits - 1
)

// SeqID is a UUIDv7 that names a record, or the position after the last one.
type SeqID [16]byte

// NewSeqID makes the id of position seq in the stream with that salt. millis is
// Unix time; of millis and seq the low 48 bits count.
func NewSeqID(millis uint64, seq SeqNum, salt Salt) SeqID {
	var id SeqID
	// 74 bits below the version: seq_num (48), salt (26).
	high12 := uint64(seq) >> 36 & 0xfff
	low62 := (uint64(seq)&(1<<36-1))<<saltBits | uint64(salt)&maxSalt
	binary.BigEndian.PutUint64(id[:8], millis<<16|0x7000|high12)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|low62)
	return id
}

// Millis is the Unix millisecond that the id carries.
func (id SeqID) Millis() uint64 { return binary.BigEndian.Uint64(id[:8]) >> 16 }

// SeqNum is the position that the id names.
func (id SeqID) SeqNum() SeqNum {
	high12 := binary.BigEndian.Uint64(id[:8]) & 0xfff
	low62 := binary.BigEndian.Uint64(id[8:]) &^ (0b11 << 62)
	return SeqNum(high12<<36 | low62>>saltBits)
}

// Salt is the salt of the stream that the id belongs to.
func (id SeqID) Salt() Salt { return Salt(binary.BigEndian.Uint64(id[8:]) & maxSalt) }

func (id SeqID) String() string { return string(id.AppendText(nil)) }

// AppendText appends the 36 characters of the id to dst.
func (id SeqID) AppendText(dst []byte) []byte {
	dst = hex.AppendEncode(dst, id[0:4])
	for _, part := range [...][]byte{id[4:6], id[6:8], id[8:10], id[10:16]} {
		dst = append(dst, '-')
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// ParseSeqID reads the textual form of an id. It does not tell whether the id
// belongs to a stream: compare its Salt.
func ParseSeqID(s string) (SeqID, error) {
	if len(s) != 36 {
		return SeqID{}, fmt.Errorf("seq_id %q: want the 36 characters of a UUID", clip(s))
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return SeqID{}, fmt.Errorf("seq_id %q: %w", s, err)
	}
	if u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		return SeqID{}, fmt.Errorf("seq_id %q: want a UUID of version 7, not %d", s, u.Version())
	}
	return SeqID(u), nil
}

func clip(s string) string {
	const most = 48
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
