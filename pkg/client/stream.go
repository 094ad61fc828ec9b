package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Stream is a handle on a stream, which need not exist.
type Stream struct {
	client *Client
	bucket string
	name   string
}

// Stream gives the handle on the stream of that name.
func (b *Bucket) Stream(name string) *Stream {
	return &Stream{client: b.client, bucket: b.name, name: name}
}

// Name is the stream's name in its bucket.
func (s *Stream) Name() string { return s.name }

// Conditions must hold for an append to happen. The fencing token is compared
// first. ErrConditionFailed carries the actual value.
type Conditions struct {
	MatchSeqNum  *uint64 // the next record would get this seq_num
	MatchSeqID   *SeqID  // the next record would get this seq_id
	FencingToken *string // the stream's token
}

// ProducerSeq numbers a batch so that it is appended at most once.
type ProducerSeq struct {
	ID  string
	Seq uint64 // how many records the producer has appended to the stream before
}

// AppendInput is a batch to append: whole or not at all.
type AppendInput struct {
	Records []AppendRecord // 1 to MaxBatchRecords, at most MaxBatchBytes metered
	Conditions
}

// AppendOption changes how Stream.Append, Trim and Fence send their batch.
type AppendOption func(*appendOptions)

type appendOptions struct {
	producer  ProducerSeq
	timestamp *uint64
}

// AsProducer numbers the batch, so that it is retried also when its outcome is
// unknown. A stream remembers 64 producers: give few of them many batches rather
// than each batch its own.
func AsProducer(p ProducerSeq) AppendOption {
	return func(o *appendOptions) { o.producer = p }
}

// WithTimestamp gives records that have no timestamp this one, in Unix milliseconds:
// also the command of a Trim or a Fence, as a stream demands that is in mode
// TimestampingClientRequire.
func WithTimestamp(millis uint64) AppendOption {
	return func(o *appendOptions) { o.timestamp = &millis }
}

// Append appends one batch and returns when it is durable.
func (s *Stream) Append(ctx context.Context, input AppendInput, opts ...AppendOption) (Ack, error) {
	var o appendOptions
	for _, opt := range opts {
		opt(&o)
	}
	input.Records = stamped(input.Records, o.timestamp)
	b, err := encodeBatch(input)
	if err != nil {
		return Ack{}, err
	}
	b.producerSeq = o.producer.Seq
	resp, err := call(ctx, s.client.retry, appends, o.producer.ID != "", s.invokeAppend,
		&appendMessage{prefix: s.appendPrefix(b, o.producer.ID, true), records: b.records})
	if err != nil {
		return Ack{}, err
	}
	return ackOf(resp, b.count)
}

// stamped is records, of which those without a timestamp have this one; nil: none.
func stamped(records []AppendRecord, timestamp *uint64) []AppendRecord {
	if timestamp == nil {
		return records
	}
	records = slices.Clone(records)
	for i := range records {
		if records[i].Timestamp == nil {
			records[i].Timestamp = timestamp
		}
	}
	return records
}

func (s *Stream) invokeAppend(ctx context.Context, m *appendMessage, opts ...grpc.CallOption) (*samsav1.AppendResponse, error) {
	resp := new(samsav1.AppendResponse)
	return resp, s.client.conn().Invoke(ctx, samsav1.StreamService_Append_FullMethodName, m, resp, opts...)
}

// appendPrefix encodes all of an append request but its records.
func (s *Stream) appendPrefix(b *batch, producer string, named bool) []byte {
	var dst []byte
	if named {
		dst = appendString(dst, fieldBucket, s.bucket)
		dst = appendString(dst, fieldStream, s.name)
	}
	if b.conditions.MatchSeqID != nil {
		dst = appendString(dst, fieldMatchSeqID, b.conditions.MatchSeqID.String())
	}
	if b.conditions.FencingToken != nil {
		dst = appendString(dst, fieldFencingToken, *b.conditions.FencingToken)
	}
	if b.conditions.MatchSeqNum != nil {
		dst = appendUint(dst, fieldMatchSeqNum, *b.conditions.MatchSeqNum)
	}
	if producer != "" {
		dst = appendString(dst, fieldProducerID, producer)
		dst = appendUint(dst, fieldProducerSeq, b.producerSeq)
	}
	return dst
}

// Trim asks for all records before seqNum to go, by appending a trim command. It
// never reaches beyond the command's own position, and never goes back.
func (s *Stream) Trim(ctx context.Context, seqNum uint64, conditions Conditions, opts ...AppendOption) (Ack, error) {
	return s.command(ctx, "trim", binary.BigEndian.AppendUint64(nil, seqNum), conditions, opts)
}

// Fence sets the stream's fencing token, by appending a fence command. "" frees
// the stream.
func (s *Stream) Fence(ctx context.Context, token string, conditions Conditions, opts ...AppendOption) (Ack, error) {
	return s.command(ctx, "fence", []byte(token), conditions, opts)
}

func (s *Stream) command(ctx context.Context, name string, body []byte, conditions Conditions, opts []AppendOption) (Ack, error) {
	record := AppendRecord{Headers: []Header{{Value: []byte(name)}}, Body: body}
	return s.Append(ctx, AppendInput{Records: []AppendRecord{record}, Conditions: conditions}, opts...)
}

// CheckTail is the position after the last record. It reflects every append
// acknowledged before the call.
func (s *Stream) CheckTail(ctx context.Context) (Tail, error) {
	resp, err := call(ctx, s.client.retry, readOnly, true, s.client.stream().CheckTail,
		&samsav1.CheckTailRequest{Bucket: s.bucket, Stream: s.name})
	if err != nil {
		return Tail{}, err
	}
	return tailOf(resp.GetNextSeqNum(), resp.GetNextSeqId(), resp.GetLastTimestamp())
}

// Start is where to begin reading. The zero value is the beginning for
// Stream.Read and the tail for a ReadSession.
type Start struct {
	set func(*samsav1.ReadSessionRequest)
}

// FromSeqNum starts at a seq_num, or at the first record kept if that is later.
func FromSeqNum(n uint64) Start {
	return Start{func(r *samsav1.ReadSessionRequest) { r.Start = &samsav1.ReadSessionRequest_SeqNum{SeqNum: n} }}
}

// FromSeqID starts at a record's id.
func FromSeqID(id SeqID) Start {
	return Start{func(r *samsav1.ReadSessionRequest) {
		r.Start = &samsav1.ReadSessionRequest_SeqId{SeqId: id.String()}
	}}
}

// FromTimestamp starts at the first record with this timestamp or a later one,
// in Unix milliseconds.
func FromTimestamp(millis uint64) Start {
	return Start{func(r *samsav1.ReadSessionRequest) {
		r.Start = &samsav1.ReadSessionRequest_Timestamp{Timestamp: millis}
	}}
}

// FromTailOffset starts n records before the tail, or at the first record if
// there are fewer.
func FromTailOffset(n uint64) Start {
	return Start{func(r *samsav1.ReadSessionRequest) {
		r.Start = &samsav1.ReadSessionRequest_TailOffset{TailOffset: n}
	}}
}

// Read says what to read.
type Read struct {
	Start Start
	Count *uint64       // at most so many records
	Bytes *uint64       // at most so many metered bytes, but at least one record unless 0
	Until *uint64       // only records with an earlier timestamp, in Unix milliseconds
	Clamp bool          // take a start past the tail as the tail
	Wait  time.Duration // follow the tail so long for a new record; for a session 0 is for ever
}

func (r Read) proto(s *Stream) *samsav1.ReadSessionRequest {
	req := &samsav1.ReadSessionRequest{
		Bucket: s.bucket, Stream: s.name, Until: r.Until, Clamp: r.Clamp, Heartbeats: true,
	}
	if r.Wait > 0 {
		req.WaitMs = max(uint64(r.Wait.Milliseconds()), 1)
	}
	if r.Count != nil || r.Bytes != nil {
		req.Limit = &samsav1.ReadLimit{Count: r.Count, Bytes: r.Bytes}
	}
	if r.Start.set != nil {
		r.Start.set(req)
	}
	return req
}

// Batch is a run of records.
type Batch struct {
	Records []Record
	// Skipped is how many records before the first one were trimmed away while
	// the session was on its way to them.
	Skipped uint64
	// Tail is set when the reader has caught up with the tail.
	Tail *Tail
}

// ReadResult is what one Read gave.
type ReadResult struct {
	Batch
	NextSeqNum uint64 // where to read on
}

// Read reads once: up to the limits, the tail, or what fits one answer.
func (s *Stream) Read(ctx context.Context, r Read) (ReadResult, error) {
	session := r.proto(s)
	req := &samsav1.ReadRequest{
		Bucket: s.bucket, Stream: s.name, Limit: session.Limit, Until: session.Until, Clamp: session.Clamp, WaitMs: session.WaitMs,
	}
	switch start := session.GetStart().(type) {
	case *samsav1.ReadSessionRequest_SeqNum:
		req.Start = &samsav1.ReadRequest_SeqNum{SeqNum: start.SeqNum}
	case *samsav1.ReadSessionRequest_SeqId:
		req.Start = &samsav1.ReadRequest_SeqId{SeqId: start.SeqId}
	case *samsav1.ReadSessionRequest_Timestamp:
		req.Start = &samsav1.ReadRequest_Timestamp{Timestamp: start.Timestamp}
	case *samsav1.ReadSessionRequest_TailOffset:
		req.Start = &samsav1.ReadRequest_TailOffset{TailOffset: start.TailOffset}
	}
	resp, err := call(ctx, s.client.retry, readOnly, true, s.client.stream().Read, req)
	if err != nil {
		return ReadResult{}, err
	}
	return readResult(resp)
}

func readResult(resp *samsav1.ReadResponse) (ReadResult, error) {
	result := ReadResult{NextSeqNum: resp.GetNextSeqNum()}
	for _, r := range resp.GetBatch().GetRecords() {
		record, err := recordOf(r)
		if err != nil {
			return ReadResult{}, err
		}
		result.Records = append(result.Records, record)
	}
	if t := resp.GetTail(); t != nil {
		tail, err := tailOf(t.GetNextSeqNum(), t.GetNextSeqId(), t.GetLastTimestamp())
		if err != nil {
			return ReadResult{}, err
		}
		result.Tail = &tail
	}
	return result, nil
}

func recordOf(r *samsav1.SequencedRecord) (Record, error) {
	id, err := ParseSeqID(r.GetSeqId())
	if err != nil {
		return Record{}, protocolErrorf("record %d: %v", r.GetSeqNum(), err)
	}
	record := Record{SeqNum: r.GetSeqNum(), SeqID: id, Timestamp: r.GetTimestamp(), Body: r.GetBody()}
	for _, h := range r.GetHeaders() {
		record.Headers = append(record.Headers, Header{Name: h.GetName(), Value: h.GetValue()})
	}
	return record, nil
}

func tailOf(seqNum uint64, seqID string, lastTimestamp uint64) (Tail, error) {
	id, err := ParseSeqID(seqID)
	if err != nil {
		return Tail{}, protocolErrorf("tail: %v", err)
	}
	return Tail{SeqNum: seqNum, SeqID: id, LastTimestamp: lastTimestamp}, nil
}

// appendResponse is what AppendResponse and AppendSessionResponse both are.
type appendResponse interface {
	GetStartSeqId() string
	GetEndSeqId() string
	GetNextSeqId() string
	GetStartTimestamp() uint64
	GetEndTimestamp() uint64
	GetLastTimestamp() uint64
	GetStartSeqNum() uint64
	GetEndSeqNum() uint64
	GetNextSeqNum() uint64
}

func ackOf(r appendResponse, count int) (Ack, error) {
	ack := Ack{
		StartSeqNum: r.GetStartSeqNum(), EndSeqNum: r.GetEndSeqNum(),
		StartTimestamp: r.GetStartTimestamp(), EndTimestamp: r.GetEndTimestamp(),
		Tail:   Tail{SeqNum: r.GetNextSeqNum(), LastTimestamp: r.GetLastTimestamp()},
		Placed: true,
	}
	if ack.EndSeqNum-ack.StartSeqNum != uint64(count) {
		return Ack{}, protocolErrorf("a batch of %d records is acknowledged as [%d, %d)", count, ack.StartSeqNum, ack.EndSeqNum)
	}
	err := errors.Join(
		parseInto(&ack.StartSeqID, r.GetStartSeqId()),
		parseInto(&ack.EndSeqID, r.GetEndSeqId()),
		parseInto(&ack.Tail.SeqID, r.GetNextSeqId()))
	return ack, err
}

func parseInto(id *SeqID, text string) (err error) {
	if *id, err = ParseSeqID(text); err != nil {
		return protocolErrorf("ack: %v", err)
	}
	return nil
}

// batch is an append on its way.
type batch struct {
	records    []byte // encoded
	count      int
	metered    int
	conditions Conditions

	producerSeq uint64
	sends       int
	unsure      bool         // an earlier attempt may have appended it
	finished    func(*batch) // called once, before done is closed
	done        chan struct{}
	ack         Ack   // valid once done is closed
	err         error // valid once done is closed
}

func newBatch(buffer []byte) *batch {
	return &batch{records: buffer[:0], done: make(chan struct{})}
}

// fits tells whether a record of so many metered bytes may join.
func (b *batch) fits(metered, maxRecords, maxBytes int) bool {
	return b.count == 0 || b.count < maxRecords && b.metered+metered <= maxBytes
}

func (b *batch) add(r AppendRecord, metered int) {
	b.records = appendRecord(b.records, r)
	b.count++
	b.metered += metered
}

func (b *batch) finish(ack Ack, err error) {
	b.ack, b.err = ack, err
	if b.finished != nil {
		b.finished(b)
	}
	close(b.done)
}

func encodeBatch(input AppendInput) (*batch, error) {
	if n := len(input.Records); n == 0 || n > MaxBatchRecords {
		return nil, fmt.Errorf("batch of %d records: want 1 to %d: %w", n, MaxBatchRecords, ErrInvalidArgument)
	}
	size := 0
	for i := range input.Records {
		size += 6 + recordSize(input.Records[i])
	}
	b := newBatch(make([]byte, 0, size))
	b.conditions = input.Conditions
	for i := range input.Records {
		b.add(input.Records[i], input.Records[i].MeteredBytes())
	}
	if b.metered > MaxBatchBytes {
		return nil, fmt.Errorf("batch of %d metered bytes: want at most %d: %w", b.metered, MaxBatchBytes, ErrInvalidArgument)
	}
	return b, nil
}
