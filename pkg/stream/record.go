package stream

// Limits of an append; see the API's field comments.
const (
	MaxBatchRecords      = 1000
	MaxBatchBytes        = 1 << 20 // metered
	MaxFencingTokenBytes = 36
	MaxProducerIDBytes   = 36
)

// Header is a name and value that travel with a record.
type Header struct {
	Name  []byte
	Value []byte
}

// Record is what one seq_num holds.
type Record struct {
	SeqNum    SeqNum
	IDMillis  uint64 // the millisecond of its seq_id
	Timestamp uint64 // Unix milliseconds
	Headers   []Header
	Body      []byte
}

// MeteredBytes is what the record counts for in limits.
func (r Record) MeteredBytes() int {
	n := 8 + 2*len(r.Headers) + len(r.Body)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}
