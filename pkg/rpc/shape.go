package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Decoding multiplies: an empty header is two bytes on the wire and a hundred in
// memory. So the one kind of message that may be large is measured first, and not
// decoded if it is no batch that could be appended.

// Fields of AppendRequest, AppendSessionRequest, AppendRecord and Header.
const (
	recordsField = 3
	headersField = 2
	bodyField    = 3
	nameField    = 1
	valueField   = 2
)

// checkShape refuses a batch that is larger than batches may be. It passes what it
// can't read: decoding tells more about that.
func checkShape(m proto.Message, wire []byte) error {
	switch m.(type) {
	case *samsav1.AppendRequest, *samsav1.AppendSessionRequest:
	default:
		return nil
	}
	records, metered := MeasureBatch(wire)
	if records > stream.MaxBatchRecords {
		return Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
			"the batch has %d records: want 1 to %d", records, stream.MaxBatchRecords).In("records")
	}
	if metered > stream.MaxBatchBytes {
		return Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
			"the batch has %d metered bytes: want at most %d", metered, stream.MaxBatchBytes).In("records")
	}
	return nil
}

// MeasureBatch counts the records of an append request in wire format, and the
// bytes that they are metered with, without decoding them. Of what is malformed it
// counts what comes before.
func MeasureBatch(wire []byte) (records, metered int) {
	eachBytes(wire, func(field protowire.Number, record []byte) {
		if field == recordsField {
			records++
			metered += meterRecord(record)
		}
	})
	return records, metered
}

func meterRecord(record []byte) int {
	body, metered := 0, 8
	eachBytes(record, func(field protowire.Number, b []byte) {
		switch field {
		case bodyField:
			body = len(b) // of several the last counts
		case headersField:
			metered += 2 + headerLen(b)
		}
	})
	return metered + body
}

func headerLen(header []byte) int {
	name, value := 0, 0
	eachBytes(header, func(field protowire.Number, b []byte) {
		switch field {
		case nameField:
			name = len(b)
		case valueField:
			value = len(b)
		}
	})
	return name + value
}

// eachBytes calls f for every length-delimited field, up to what is malformed.
func eachBytes(wire []byte, f func(protowire.Number, []byte)) {
	for len(wire) > 0 {
		field, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return
		}
		wire = wire[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, wire); n < 0 {
				return
			}
			wire = wire[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(wire)
		if n < 0 {
			return
		}
		f(field, value)
		wire = wire[n:]
	}
}

// CountRecords counts the records of an append request in wire format.
func CountRecords(wire []byte) (records int) {
	eachBytes(wire, func(field protowire.Number, _ []byte) {
		if field == recordsField {
			records++
		}
	})
	return records
}

// WantsHeartbeats tells whether a ReadSessionRequest in wire format has heartbeats set.
func WantsHeartbeats(wire []byte) (wants bool) {
	const heartbeatsField = 7
	for len(wire) > 0 {
		field, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return wants
		}
		size := protowire.ConsumeFieldValue(field, kind, wire[n:])
		if size < 0 {
			return wants
		}
		if field == heartbeatsField && kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(wire[n:])
			wants = protowire.DecodeBool(v)
		}
		wire = wire[n+size:]
	}
	return wants
}

// CountRead counts the records of a response to a read in wire format: those of
// field 1 (records) in field 1 (batch), in ReadSessionResponse below another field 1
// (output).
func CountRead(wire []byte, session bool) (records int) {
	depth := 1
	if session {
		depth = 2
	}
	return countAt(wire, depth)
}

func countAt(wire []byte, depth int) (n int) {
	eachBytes(wire, func(field protowire.Number, inner []byte) {
		switch {
		case field != 1:
		case depth == 0:
			n++
		default:
			n += countAt(inner, depth-1)
		}
	})
	return n
}
