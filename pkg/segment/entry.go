package segment

import (
	"encoding/binary"

	"github.com/samsa-io/samsa/pkg/stream"
)

// EntryKind says what an entry does to its shard.
type EntryKind uint8

// The kinds of entries. The numbers are part of the format.
const (
	EntryOpen            EntryKind = 1 // a stream starts, at 0
	EntryConfigure       EntryKind = 2 // a stream's configuration changes
	EntryTombstone       EntryKind = 3 // a stream ends for good
	EntryTombstoneBucket EntryKind = 4 // all streams of a bucket end for good
	EntryTrim            EntryKind = 5 // a stream's records below a position end
	EntryHandOver        EntryKind = 6 // the owner's part ends here
)

func (k EntryKind) String() string {
	switch k {
	case EntryOpen:
		return "open"
	case EntryConfigure:
		return "configure"
	case EntryTombstone:
		return "tombstone"
	case EntryTombstoneBucket:
		return "tombstone-bucket"
	case EntryTrim:
		return "trim"
	case EntryHandOver:
		return "hand-over"
	}
	return "unknown"
}

// Entry is a change of a shard other than a batch.
type Entry struct {
	Shard stream.Shard
	Epoch stream.Epoch
	Kind  EntryKind

	Stream        stream.ID     // Open, Configure, Tombstone, Trim
	BucketID      stream.ID     // Open, TombstoneBucket
	Name          stream.Name   // Open
	Config        stream.Config // Open, Configure
	ConfigVersion uint64        // Open, Configure
	Trim          stream.SeqNum // Trim
}

// fields is a set of an entry's fields.
type fields uint8

const (
	hasStream fields = 1 << iota
	hasBucket
	hasName
	hasConfig
	hasTrim
)

// fieldsOf is what each kind carries; ok is false for unknown kinds.
func fieldsOf(k EntryKind) (f fields, ok bool) {
	switch k {
	case EntryOpen:
		return hasStream | hasBucket | hasName | hasConfig, true
	case EntryConfigure:
		return hasStream | hasConfig, true
	case EntryTombstone:
		return hasStream, true
	case EntryTombstoneBucket:
		return hasBucket, true
	case EntryTrim:
		return hasStream | hasTrim, true
	case EntryHandOver:
		return 0, true
	}
	return 0, false
}

// stored is the entry with those fields alone that its kind carries.
func (e Entry) stored() Entry {
	f, ok := fieldsOf(e.Kind)
	if !ok {
		panic("segment: an entry of no known kind")
	}
	kept := Entry{Shard: e.Shard, Epoch: e.Epoch, Kind: e.Kind}
	if f&hasStream != 0 {
		kept.Stream = e.Stream
	}
	if f&hasBucket != 0 {
		kept.BucketID = e.BucketID
	}
	if f&hasName != 0 {
		kept.Name = e.Name
	}
	if f&hasConfig != 0 {
		kept.Config, kept.ConfigVersion = e.Config, e.ConfigVersion
	}
	if f&hasTrim != 0 {
		kept.Trim = e.Trim
	}
	return kept
}

func appendEntry(dst []byte, e *Entry) []byte {
	f, _ := fieldsOf(e.Kind)
	dst = append(dst, byte(e.Kind))
	if f&hasStream != 0 {
		dst = append(dst, e.Stream[:]...)
	}
	if f&hasBucket != 0 {
		dst = append(dst, e.BucketID[:]...)
	}
	if f&hasName != 0 {
		dst = appendString(appendString(dst, e.Name.Bucket), e.Name.Stream)
	}
	if f&hasConfig != 0 {
		dst = appendConfig(dst, e.Config)
		dst = binary.AppendUvarint(dst, e.ConfigVersion)
	}
	if f&hasTrim != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.Trim))
	}
	return dst
}

func (r *reader) entry(shard stream.Shard, epoch stream.Epoch) Entry {
	e := Entry{Shard: shard, Epoch: epoch, Kind: EntryKind(r.byte())}
	f, ok := fieldsOf(e.Kind)
	if !ok {
		r.failf("entry of kind %d", e.Kind)
	}
	if f&hasStream != 0 {
		e.Stream = r.id()
	}
	if f&hasBucket != 0 {
		e.BucketID = r.id()
	}
	if f&hasName != 0 {
		e.Name.Bucket = r.string()
		e.Name.Stream = r.string()
	}
	if f&hasConfig != 0 {
		e.Config = r.config()
		e.ConfigVersion = r.uvarint()
	}
	if f&hasTrim != 0 {
		e.Trim = stream.SeqNum(r.uvarint())
	}
	return e
}

func appendConfig(dst []byte, c stream.Config) []byte {
	var flags byte
	if c.AllowFutureTimestamps {
		flags = 1
	}
	dst = append(dst, byte(c.StorageClass), byte(c.TimestampingMode), flags)
	dst = binary.AppendUvarint(dst, c.RetentionSeconds)
	return binary.AppendUvarint(dst, c.DeleteOnEmptySeconds)
}

func (r *reader) config() stream.Config {
	c := stream.Config{
		StorageClass:     stream.StorageClass(r.byte()),
		TimestampingMode: stream.TimestampingMode(r.byte()),
	}
	flags := r.byte()
	if flags > 1 {
		r.failf("configuration flags %#x", flags)
	}
	c.AllowFutureTimestamps = flags == 1
	c.RetentionSeconds = r.uvarint()
	c.DeleteOnEmptySeconds = r.uvarint()
	return c
}
