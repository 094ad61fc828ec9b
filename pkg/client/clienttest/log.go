package clienttest

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Limits of what a stream remembers of its producers.
const (
	maxProducers       = 64
	maxProducerBatches = 5
)

// log is one stream. The server's mu guards it.
type log struct {
	info      *samsav1.StreamInfo
	config    *samsav1.StreamConfig
	salt      stream.Salt
	records   []*samsav1.SequencedRecord // from 0; trimmed ones are nil
	trim      uint64
	fence     string
	last      uint64 // timestamp
	millis    uint64 // of the last seq_id
	producers []*producer
	forgotten map[string]bool
	changed   chan struct{} // closed, and replaced, by each append
}

type producer struct {
	id      string
	next    uint64
	batches []producedBatch // the last few
}

type producedBatch struct {
	seq uint64
	ack *samsav1.AppendResponse
}

func newLog(name string, config *samsav1.StreamConfig) *log {
	return &log{
		info: &samsav1.StreamInfo{Name: name, CreatedAt: nowMillis()}, config: config,
		salt: stream.NewID().Salt(), changed: make(chan struct{}),
		forgotten: map[string]bool{},
	}
}

func (l *log) tail() *samsav1.Tail {
	return &samsav1.Tail{
		NextSeqId: l.seqID(uint64(len(l.records))), NextSeqNum: uint64(len(l.records)), LastTimestamp: l.last,
	}
}

func (l *log) seqID(n uint64) string {
	return stream.NewSeqID(l.millis, stream.SeqNum(n), l.salt).String()
}

// append appends a batch, as the API says.
func (l *log) append(r *samsav1.AppendSessionRequest) (*samsav1.AppendResponse, error) {
	if err := l.validate(r); err != nil {
		return nil, err
	}
	if r.ProducerId != nil {
		if ack, err := l.recall(r); ack != nil || err != nil {
			return ack, err
		}
	}
	if err := l.conditions(r); err != nil {
		return nil, err
	}
	ack := l.store(r.GetRecords())
	if r.ProducerId != nil {
		l.remember(r, ack)
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return ack, nil
}

func (l *log) validate(r *samsav1.AppendSessionRequest) error {
	if n := len(r.GetRecords()); n == 0 || n > stream.MaxBatchRecords {
		return invalid("records", "%d records: want 1 to %d", n, stream.MaxBatchRecords)
	}
	metered := 0
	for _, record := range r.GetRecords() {
		metered += meteredBytes(record.GetHeaders(), record.GetBody())
		if err := validateRecord(record); err != nil {
			return err
		}
		if record.Timestamp == nil && l.config.GetTimestampingMode() == samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_REQUIRE {
			return invalid("records.timestamp", "the stream demands timestamps")
		}
	}
	if metered > stream.MaxBatchBytes {
		return invalid("records", "%d metered bytes: want at most %d", metered, stream.MaxBatchBytes)
	}
	return nil
}

func meteredBytes(headers []*samsav1.Header, body []byte) int {
	n := 8 + 2*len(headers) + len(body)
	for _, h := range headers {
		n += len(h.GetName()) + len(h.GetValue())
	}
	return n
}

func validateRecord(r *samsav1.AppendRecord) error {
	for _, h := range r.GetHeaders() {
		if len(h.GetName()) > 0 {
			continue
		}
		command := string(h.GetValue())
		if len(r.GetHeaders()) > 1 || command != "fence" && command != "trim" {
			return invalid("records.headers", "a header has an empty name")
		}
		if command == "trim" && len(r.GetBody()) != 8 || command == "fence" && len(r.GetBody()) > stream.MaxFencingTokenBytes {
			return invalid("records.body", "command %q: body of %d bytes", command, len(r.GetBody()))
		}
	}
	return nil
}

// recall looks for a batch that a producer has sent before.
func (l *log) recall(r *samsav1.AppendSessionRequest) (*samsav1.AppendResponse, error) {
	expected := uint64(0)
	if p := l.producer(r.GetProducerId()); p != nil {
		expected = p.next
		for _, b := range p.batches {
			if b.seq == r.GetProducerSeq() {
				return b.ack, nil
			}
		}
	}
	switch {
	case l.forgotten[r.GetProducerId()], r.GetProducerSeq() < expected:
		return nil, forgotten()
	case r.GetProducerSeq() > expected:
		return nil, failed("producer_gap", map[string]string{"expected_producer_seq": strconv.FormatUint(expected, 10)},
			"producer %q leaves a gap", r.GetProducerId())
	}
	return nil, nil
}

func (l *log) producer(id string) *producer {
	for i, p := range l.producers {
		if p.id == id {
			l.producers = append(slices.Delete(l.producers, i, i+1), p)
			return p
		}
	}
	return nil
}

func (l *log) remember(r *samsav1.AppendSessionRequest, ack *samsav1.AppendResponse) {
	p := l.producer(r.GetProducerId())
	if p == nil {
		p = &producer{id: r.GetProducerId()}
		l.producers = append(l.producers, p)
	}
	p.next = r.GetProducerSeq() + uint64(len(r.GetRecords()))
	p.batches = append(p.batches, producedBatch{r.GetProducerSeq(), ack})
	p.batches = p.batches[max(len(p.batches)-maxProducerBatches, 0):]
	l.forgetProducers(len(l.producers) - maxProducers)
}

// forgetProducers forgets those that were silent the longest.
func (l *log) forgetProducers(count int) {
	for range max(count, 0) {
		l.forgotten[l.producers[0].id] = true
		l.producers = l.producers[1:]
	}
}

func (l *log) conditions(r *samsav1.AppendSessionRequest) error {
	if r.FencingToken != nil && r.GetFencingToken() != l.fence {
		return failed("condition_failed", map[string]string{"fencing_token": l.fence}, "fencing token is %q", l.fence)
	}
	tail := l.tail()
	position := map[string]string{
		"next_seq_num": strconv.FormatUint(tail.GetNextSeqNum(), 10), "next_seq_id": tail.GetNextSeqId(),
	}
	if r.MatchSeqNum != nil && r.GetMatchSeqNum() != tail.GetNextSeqNum() {
		return failed("condition_failed", position, "next seq_num is %d", tail.GetNextSeqNum())
	}
	if r.MatchSeqId == nil {
		return nil
	}
	id, err := stream.ParseSeqID(r.GetMatchSeqId())
	switch {
	case err != nil || id.Salt() != l.salt:
		return invalid("match_seq_id", "seq_id %q is not of this stream", r.GetMatchSeqId())
	case uint64(id.SeqNum()) != tail.GetNextSeqNum():
		return failed("condition_failed", position, "next seq_id is %s", tail.GetNextSeqId())
	}
	return nil
}

func (l *log) store(records []*samsav1.AppendRecord) *samsav1.AppendResponse {
	arrival := nowMillis()
	l.millis = max(l.millis, arrival)
	first := uint64(len(l.records))
	started := uint64(0)
	for i, r := range records {
		l.storeOne(r, arrival)
		if i == 0 {
			started = l.last
		}
	}
	tail := l.tail()
	return &samsav1.AppendResponse{
		StartSeqId: l.seqID(first), EndSeqId: l.seqID(tail.GetNextSeqNum() - 1), NextSeqId: tail.GetNextSeqId(),
		StartTimestamp: started, EndTimestamp: l.last, LastTimestamp: l.last,
		StartSeqNum: first, EndSeqNum: tail.GetNextSeqNum(), NextSeqNum: tail.GetNextSeqNum(),
	}
}

func (l *log) storeOne(r *samsav1.AppendRecord, arrival uint64) {
	n := uint64(len(l.records))
	timestamp := arrival
	if r.Timestamp != nil && l.config.GetTimestampingMode() != samsav1.TimestampingMode_TIMESTAMPING_MODE_ARRIVAL {
		timestamp = r.GetTimestamp()
		if !l.config.GetAllowFutureTimestamps() {
			timestamp = min(timestamp, arrival)
		}
	}
	l.last = max(l.last, timestamp)
	l.records = append(l.records, &samsav1.SequencedRecord{
		SeqId: l.seqID(n), SeqNum: n, Timestamp: l.last, Headers: r.GetHeaders(), Body: r.GetBody(),
	})
	if len(r.GetHeaders()) == 1 && len(r.GetHeaders()[0].GetName()) == 0 {
		l.command(string(r.GetHeaders()[0].GetValue()), r.GetBody(), n)
	}
}

func (l *log) command(name string, body []byte, own uint64) {
	switch name {
	case "fence":
		l.fence = string(body)
	case "trim":
		l.trimTo(min(binary.BigEndian.Uint64(body), own+1))
	}
}

func (l *log) trimTo(n uint64) {
	for ; l.trim < n; l.trim++ {
		l.records[l.trim] = nil
	}
}

// start is the position where a read begins.
func (l *log) start(r *samsav1.ReadSessionRequest, byDefault uint64) (uint64, error) {
	tail := uint64(len(l.records))
	at := byDefault
	switch start := r.GetStart().(type) {
	case *samsav1.ReadSessionRequest_SeqNum:
		at = start.SeqNum
	case *samsav1.ReadSessionRequest_SeqId:
		id, err := stream.ParseSeqID(start.SeqId)
		if err != nil || id.Salt() != l.salt {
			return 0, Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, 3, nil, "seq_id %q is not of this stream", start.SeqId)
		}
		at = uint64(id.SeqNum())
	case *samsav1.ReadSessionRequest_TailOffset:
		at = tail - min(start.TailOffset, tail)
	case *samsav1.ReadSessionRequest_Timestamp:
		for at = l.trim; at < tail && l.records[at].GetTimestamp() < start.Timestamp; at++ {
		}
	}
	if at > tail {
		if !r.GetClamp() {
			return 0, Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, 11,
				map[string]string{"next_seq_num": strconv.FormatUint(tail, 10)}, "seq_num %d is past the tail %d", at, tail)
		}
		at = tail
	}
	return max(at, l.trim), nil
}

// limit is what is left of a read's limits.
type limit struct {
	count, bytes uint64
	until        uint64
	any          bool // a record was read
}

func limitOf(l *samsav1.ReadLimit, until *uint64) limit {
	left := limit{count: math.MaxUint64, bytes: math.MaxUint64, until: math.MaxUint64}
	if l != nil && l.Count != nil {
		left.count = l.GetCount()
	}
	if l != nil && l.Bytes != nil {
		left.bytes = l.GetBytes()
	}
	if until != nil {
		left.until = *until
	}
	return left
}

// take reads from *at on, up to what fits one message, and tells whether the limit is
// met. It moves *at behind what it read, and behind what was trimmed.
func (l *log) take(at *uint64, left *limit) (records []*samsav1.SequencedRecord, met bool) {
	const most = 1000
	size := 0
	for *at = max(*at, l.trim); *at < uint64(len(l.records)) && len(records) < most && size < stream.MaxBatchBytes; *at++ {
		r := l.records[*at]
		metered := uint64(meteredBytes(r.GetHeaders(), r.GetBody()))
		if left.count == 0 || left.bytes == 0 || r.GetTimestamp() >= left.until || left.any && metered > left.bytes {
			return records, true
		}
		left.count--
		left.bytes -= min(left.bytes, metered)
		left.any = true
		size += int(metered)
		records = append(records, r)
	}
	return records, left.count == 0 || left.bytes == 0
}
