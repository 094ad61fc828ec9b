package client

import (
	"bytes"
	"fmt"

	"github.com/samsa-io/samsa/pkg/stream"
)

// Limits of a batch.
const (
	MaxBatchRecords = stream.MaxBatchRecords
	MaxBatchBytes   = stream.MaxBatchBytes // metered
)

// Header is a name and value that travel with a record.
type Header = stream.Header

// SeqID is the UUIDv7 of a record or of a tail.
type SeqID = stream.SeqID

// ParseSeqID reads the textual form of a SeqID.
func ParseSeqID(text string) (SeqID, error) { return stream.ParseSeqID(text) }

// AppendRecord is a record to append.
type AppendRecord struct {
	Timestamp *uint64 // Unix milliseconds; nil: the server gives it
	Headers   []Header
	Body      []byte
}

// MeteredBytes is what the record counts for in limits.
func (r AppendRecord) MeteredBytes() int {
	return stream.Record{Headers: r.Headers, Body: r.Body}.MeteredBytes()
}

// Record is a record of a stream.
type Record struct {
	SeqNum    uint64
	SeqID     SeqID
	Timestamp uint64 // Unix milliseconds
	Headers   []Header
	Body      []byte
}

// MeteredBytes is what the record counts for in limits.
func (r Record) MeteredBytes() int {
	return stream.Record{Headers: r.Headers, Body: r.Body}.MeteredBytes()
}

// Clone copies the record out of the message that it came with.
func (r Record) Clone() Record {
	r.Body = bytes.Clone(r.Body)
	headers := r.Headers
	r.Headers = nil
	for _, h := range headers {
		r.Headers = append(r.Headers, Header{Name: bytes.Clone(h.Name), Value: bytes.Clone(h.Value)})
	}
	return r
}

// Command tells whether the record is a fence or trim command, and which.
func (r Record) Command() (string, bool) {
	if len(r.Headers) == 1 && len(r.Headers[0].Name) == 0 {
		return string(r.Headers[0].Value), true
	}
	return "", false
}

// Tail is the position after a stream's last record.
type Tail struct {
	SeqNum        uint64
	SeqID         SeqID
	LastTimestamp uint64 // Unix milliseconds, of the last record; 0: there was none
}

// Ack says where a batch stands.
type Ack struct {
	StartSeqNum    uint64
	EndSeqNum      uint64 // exclusive
	StartSeqID     SeqID
	EndSeqID       SeqID // of the last record
	StartTimestamp uint64
	EndTimestamp   uint64
	Tail           Tail // when the batch was appended

	// Recovered marks a batch that is appended but whose ack was lost and can't
	// be had again. Its ids, timestamps and Tail are zero, and so are its seq_nums
	// unless Placed.
	Recovered bool
	// Placed tells that StartSeqNum and EndSeqNum hold.
	Placed bool
}

// CheckRecord tells why a record can't be appended, or nil.
func CheckRecord(r AppendRecord) error {
	if n := r.MeteredBytes(); n > MaxBatchBytes {
		return fmt.Errorf("record of %d metered bytes (%d of them body): want at most %d: %w",
			n, len(r.Body), MaxBatchBytes, ErrInvalidArgument)
	}
	return nil
}
