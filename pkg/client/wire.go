package client

import (
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that codec wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/samsa-io/samsa/pkg/stream"
)

// The two messages that carry the bulk, AppendSessionRequest and
// ReadSessionResponse, are coded here by hand: a batch is encoded once, when its
// records are given, and is resent as it stands; a read message's records share
// the one buffer that it arrived in. All other messages are protobuf-go's.

// codec is the proto codec with those two exceptions.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*appendMessage); ok {
		return mem.BufferSlice{mem.SliceBuffer(m.prefix), mem.SliceBuffer(m.records)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*readMessage); ok {
		return m.decode(data.Materialize())
	}
	return c.CodecV2.Unmarshal(data, v)
}

// appendMessage is an AppendSessionRequest on its way: all fields but the
// records, then the records.
type appendMessage struct{ prefix, records []byte }

// Field numbers of AppendRequest and AppendSessionRequest.
const (
	fieldBucket       = 1
	fieldStream       = 2
	fieldRecords      = 3
	fieldMatchSeqID   = 4
	fieldFencingToken = 5
	fieldMatchSeqNum  = 20
	fieldProducerID   = 21
	fieldProducerSeq  = 22
)

func appendString(dst []byte, field protowire.Number, s string) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendString(dst, s)
}

func appendUint(dst []byte, field protowire.Number, n uint64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, n)
}

// appendRecord appends r as a field of an append request.
func appendRecord(dst []byte, r AppendRecord) []byte {
	dst = protowire.AppendTag(dst, fieldRecords, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(recordSize(r)))
	if r.Timestamp != nil {
		dst = appendUint(dst, 1, *r.Timestamp)
	}
	for _, h := range r.Headers {
		dst = protowire.AppendTag(dst, 2, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(headerSize(h)))
		dst = appendBytes(dst, 1, h.Name)
		dst = appendBytes(dst, 2, h.Value)
	}
	return appendBytes(dst, 3, r.Body)
}

// appendBytes leaves an empty field out, as proto3 does.
func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, b)
}

func recordSize(r AppendRecord) int {
	n := bytesSize(r.Body)
	if r.Timestamp != nil {
		n += 1 + protowire.SizeVarint(*r.Timestamp)
	}
	for _, h := range r.Headers {
		n += 1 + protowire.SizeBytes(headerSize(h))
	}
	return n
}

func headerSize(h Header) int { return bytesSize(h.Name) + bytesSize(h.Value) }

func bytesSize(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(b))
}

// readMessage is a ReadSessionResponse. Its records alias the decoded bytes.
type readMessage struct {
	records []Record
	next    *SeqID // where reading goes on, if the message says so
	tail    *Tail
}

var errMalformed = errors.New("malformed ReadSessionResponse")

func (m *readMessage) decode(b []byte) error {
	*m = readMessage{}
	return eachField(b, func(field protowire.Number, n uint64, b []byte) (err error) {
		switch field {
		case 1:
			err = m.decodeOutput(b)
		case 20:
			m.tail, err = decodeTail(b)
		}
		return err
	})
}

func (m *readMessage) decodeOutput(b []byte) error {
	return eachField(b, func(field protowire.Number, _ uint64, b []byte) error {
		switch field {
		case 1:
			return m.decodeBatch(b)
		case 2:
			id, err := decodeSeqID(b)
			m.next = &id
			return err
		}
		return nil
	})
}

func (m *readMessage) decodeBatch(b []byte) error {
	count, err := countFields(b, 1)
	if err != nil {
		return err
	}
	m.records = make([]Record, 0, count)
	var headers []Header
	return eachField(b, func(field protowire.Number, _ uint64, b []byte) (err error) {
		if field == 1 {
			m.records = append(m.records, Record{})
			headers, err = decodeRecord(&m.records[len(m.records)-1], headers, b)
		}
		return err
	})
}

// decodeRecord puts the record's headers behind those in headers, which many
// records share, and returns that slice.
func decodeRecord(r *Record, headers []Header, b []byte) ([]Header, error) {
	first := len(headers)
	err := eachField(b, func(field protowire.Number, n uint64, b []byte) (err error) {
		switch field {
		case 1:
			r.SeqID, err = decodeSeqID(b)
		case 2:
			r.Timestamp = n
		case 3:
			var h Header
			h, err = decodeHeader(b)
			headers = append(headers, h)
		case 4:
			r.Body = b
		case 20:
			r.SeqNum = n
		}
		return err
	})
	if len(headers) > first {
		r.Headers = headers[first:len(headers):len(headers)]
	}
	return headers, err
}

func decodeHeader(b []byte) (h Header, err error) {
	err = eachField(b, func(field protowire.Number, _ uint64, b []byte) error {
		switch field {
		case 1:
			h.Name = b
		case 2:
			h.Value = b
		}
		return nil
	})
	return h, err
}

func decodeTail(b []byte) (*Tail, error) {
	t := &Tail{}
	err := eachField(b, func(field protowire.Number, n uint64, b []byte) (err error) {
		switch field {
		case 1:
			t.SeqID, err = decodeSeqID(b)
		case 2:
			t.SeqNum = n
		case 3:
			t.LastTimestamp = n
		}
		return err
	})
	return t, err
}

// eachField calls f for each varint and each length-delimited field of b, and
// skips the others, which the client knows nothing of.
func eachField(b []byte, f func(field protowire.Number, n uint64, b []byte) error) error {
	for len(b) > 0 {
		field, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errMalformed
		}
		b = b[size:]
		var n uint64
		var value []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(field, kind, b)
			field = 0
		}
		if size < 0 {
			return errMalformed
		}
		b = b[size:]
		if field == 0 {
			continue
		}
		if err := f(field, n, value); err != nil {
			return err
		}
	}
	return nil
}

func countFields(b []byte, want protowire.Number) (int, error) {
	count := 0
	err := eachField(b, func(field protowire.Number, _ uint64, _ []byte) error {
		if field == want {
			count++
		}
		return nil
	})
	return count, err
}

// decodeSeqID reads the 36 characters of a UUIDv7.
func decodeSeqID(text []byte) (SeqID, error) {
	var id SeqID
	if len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		var digits [32]byte
		n := copy(digits[:], text[:8])
		n += copy(digits[n:], text[9:13])
		n += copy(digits[n:], text[14:18])
		n += copy(digits[n:], text[19:23])
		copy(digits[n:], text[24:])
		if _, err := hex.Decode(id[:], digits[:]); err == nil && id[6]>>4 == 7 && id[8]>>6 == 0b10 {
			return id, nil
		}
	}
	if _, err := stream.ParseSeqID(string(text)); err != nil {
		return SeqID{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return SeqID{}, errMalformed
}
