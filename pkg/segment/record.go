package segment

import (
	"encoding/binary"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// AppendRecord writes a record, all but its timestamp, for a Batch's Payload.
func AppendRecord(dst []byte, headers []*samsav1.Header, body []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(headers)))
	for _, h := range headers {
		dst = appendString(dst, h.GetName())
		dst = appendString(dst, h.GetValue())
	}
	return appendString(dst, body)
}

// number takes a varint that stands at b[at:]; next is negative if there is no
// sound one, or if it exceeds what b could hold.
func number(b []byte, at int) (n, next int) {
	if at < len(b) && b[at] < 0x80 {
		return int(b[at]), at + 1
	}
	return longNumber(b, at)
}

func longNumber(b []byte, at int) (n, next int) {
	if at >= len(b) {
		return 0, -1
	}
	v, size := binary.Uvarint(b[at:])
	if size <= 0 || v > uint64(len(b)) {
		return 0, -1
	}
	return int(v), at + size
}

// skipField passes over bytes that their length precedes.
func skipField(b []byte, at int) (next int) {
	n, next := number(b, at)
	if next < 0 || n > len(b)-next {
		return -1
	}
	return next + n
}

// checkRecords tells whether payload is exactly count records, and how many
// headers one of them has at most.
func checkRecords(payload []byte, count uint32) (headers int, ok bool) {
	at := 0
	for range count {
		n, next := number(payload, at)
		if next < 0 || n > len(payload)-next {
			return 0, false
		}
		headers = max(headers, n)
		for range 2*n + 1 {
			if next = skipField(payload, next); next < 0 {
				return 0, false
			}
		}
		at = next
	}
	return headers, at == len(payload)
}

// skipRecord passes over a record that checkRecords has seen.
func skipRecord(payload []byte, at int) (next int) {
	n, next := number(payload, at)
	for range 2*n + 1 {
		next = skipField(payload, next)
	}
	return next
}

// fill reads the record at payload[at:], which checkRecords has seen. headers
// holds what it reads of them.
func fill(record *stream.Record, headers []stream.Header, payload []byte, at int) (next int) {
	n, next := number(payload, at)
	for i := range n {
		headers[i].Name, next = field(payload, next)
		headers[i].Value, next = field(payload, next)
	}
	record.Headers = headers[:n:n]
	record.Body, next = field(payload, next)
	return next
}

func field(b []byte, at int) (value []byte, next int) {
	n, start := number(b, at)
	next = start + n
	return b[start:next:next], next
}
