package frame

import (
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/samsa-io/samsa/pkg/stream"
)

// Fields of SequencedRecord and Header.
const (
	fieldSeqID     protowire.Number = 1
	fieldTimestamp protowire.Number = 2
	fieldHeaders   protowire.Number = 3
	fieldBody      protowire.Number = 4
	fieldSeqNum    protowire.Number = 20

	fieldName  protowire.Number = 1
	fieldValue protowire.Number = 2
)

// recordSize is the length of the message SequencedRecord. As proto3 has it,
// zeros and empty bytes are left out.
func recordSize(r *stream.Record) int {
	size := 2 + idText
	if r.Timestamp != 0 {
		size += 1 + protowire.SizeVarint(r.Timestamp)
	}
	for i := range r.Headers {
		size += 1 + protowire.SizeBytes(headerSize(&r.Headers[i]))
	}
	size += optionalBytes(r.Body)
	if r.SeqNum != 0 {
		size += 2 + protowire.SizeVarint(uint64(r.SeqNum))
	}
	return size
}

func headerSize(h *stream.Header) int { return optionalBytes(h.Name) + optionalBytes(h.Value) }

func optionalBytes(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(b))
}

// appendRecord appends the record as field 1 of a batch; size is its recordSize.
func appendRecord(dst []byte, r *stream.Record, salt stream.Salt, size int) []byte {
	dst = append(dst, lengthTag)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = append(dst, lengthTag, idText)
	dst = appendID(dst, stream.NewSeqID(r.IDMillis, r.SeqNum, salt))
	if r.Timestamp != 0 {
		dst = protowire.AppendTag(dst, fieldTimestamp, protowire.VarintType)
		dst = protowire.AppendVarint(dst, r.Timestamp)
	}
	for i := range r.Headers {
		dst = protowire.AppendTag(dst, fieldHeaders, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(headerSize(&r.Headers[i])))
		dst = appendOptional(dst, fieldName, r.Headers[i].Name)
		dst = appendOptional(dst, fieldValue, r.Headers[i].Value)
	}
	dst = appendOptional(dst, fieldBody, r.Body)
	if r.SeqNum != 0 {
		dst = protowire.AppendTag(dst, fieldSeqNum, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(r.SeqNum))
	}
	return dst
}

func appendOptional(dst []byte, field protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, b)
}

// record is what limits need to know of a serialized record.
type record struct {
	wire      []byte // all of it, tag and length included
	seq       stream.SeqNum
	idMillis  uint64
	timestamp uint64
	metered   uint64
}

// parseRecord reads the first of serialized records that this package wrote.
func parseRecord(b []byte) (r record, rest []byte) {
	message, n := protowire.ConsumeBytes(b[1:])
	r.wire, rest = b[:1+n], b[1+n:]
	r.metered = leastMetered
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		message = message[n:]
		if kind == protowire.VarintType {
			value, n := protowire.ConsumeVarint(message)
			message = message[n:]
			r.number(field, value)
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		message = message[n:]
		r.bytes(field, value)
	}
	return r, rest
}

func (r *record) number(field protowire.Number, value uint64) {
	if field == fieldTimestamp {
		r.timestamp = value
	} else {
		r.seq = stream.SeqNum(value)
	}
}

func (r *record) bytes(field protowire.Number, value []byte) {
	switch field {
	case fieldSeqID:
		id, _ := uuid.ParseBytes(value)
		r.idMillis = stream.SeqID(id).Millis()
	case fieldBody:
		r.metered += uint64(len(value))
	case fieldHeaders:
		r.metered += 2
		for len(value) > 0 {
			_, _, n := protowire.ConsumeTag(value)
			content, m := protowire.ConsumeBytes(value[n:])
			r.metered += uint64(len(content))
			value = value[n+m:]
		}
	}
}
