package server

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// appendRequest is what Append and AppendSession requests have in common.
type appendRequest interface {
	GetBucket() string
	GetStream() string
	GetRecords() []*samsav1.AppendRecord
	GetMatchSeqId() string
	GetFencingToken() string
	GetMatchSeqNum() uint64
	GetProducerId() string
	GetProducerSeq() uint64
}

// present tells which of a request's optional fields were given.
type present struct {
	matchSeqID, fencingToken, matchSeqNum, producerID, producerSeq bool
}

// nameOf checks the name of a stream.
func nameOf(bucket, name string) (stream.Name, error) {
	if err := stream.CheckBucketName(bucket); err != nil {
		return stream.Name{}, invalid("bucket", err)
	}
	if err := stream.CheckStreamName(name); err != nil {
		return stream.Name{}, invalid("stream", err)
	}
	return stream.Name{Bucket: bucket, Stream: name}, nil
}

// batch checks a request and turns it into a batch for the log.
func batch(r appendRequest, given present) (*shardlog.Append, error) {
	a := &shardlog.Append{Count: uint32(len(r.GetRecords()))}
	if err := checkConditions(a, r, given); err != nil {
		return nil, err
	}
	if err := checkProducer(a, r, given); err != nil {
		return nil, err
	}
	return a, addRecords(a, r.GetRecords())
}

func checkConditions(a *shardlog.Append, r appendRequest, given present) error {
	if given.fencingToken {
		token := r.GetFencingToken()
		if err := checkToken("fencing_token", token); err != nil {
			return err
		}
		a.FencingToken = &token
	}
	if given.matchSeqNum {
		seq := stream.SeqNum(r.GetMatchSeqNum())
		a.MatchSeqNum = &seq
	}
	if given.matchSeqID {
		id, err := stream.ParseSeqID(r.GetMatchSeqId())
		if err != nil {
			return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "%v", err).In("match_seq_id")
		}
		a.MatchSeqID = &id
	}
	return nil
}

func checkProducer(a *shardlog.Append, r appendRequest, given present) error {
	switch id := r.GetProducerId(); {
	case given.producerID != given.producerSeq:
		return invalid("producer_seq", fmt.Errorf("producer_id and producer_seq go together: give both or neither"))
	case given.producerID && id == "":
		return invalid("producer_id", fmt.Errorf("producer_id is empty: want 1 to %d bytes", stream.MaxProducerIDBytes))
	case len(id) > stream.MaxProducerIDBytes:
		return invalid("producer_id", fmt.Errorf("producer_id has %d bytes: want at most %d", len(id), stream.MaxProducerIDBytes))
	case r.GetProducerSeq() > math.MaxInt64:
		return invalid("producer_seq", fmt.Errorf("producer_seq %d is out of range: want at most %d, the number of the producer's records before this batch", r.GetProducerSeq(), int64(math.MaxInt64)))
	}
	a.ProducerID, a.ProducerSeq = r.GetProducerId(), r.GetProducerSeq()
	return nil
}

func checkToken(field, token string) error {
	switch {
	case len(token) > stream.MaxFencingTokenBytes:
		return invalid(field, fmt.Errorf("%s has %d bytes: want at most %d", field, len(token), stream.MaxFencingTokenBytes))
	case !utf8.ValidString(token): // nobody could send it back as a fencing_token
		return invalid(field, fmt.Errorf("%s is no UTF-8: want a fencing token of at most %d bytes of text", field, stream.MaxFencingTokenBytes))
	}
	return nil
}

// addRecords encodes the records and collects what the log needs to know of them.
func addRecords(a *shardlog.Append, records []*samsav1.AppendRecord) error {
	if len(records) == 0 || len(records) > stream.MaxBatchRecords {
		return invalid("records", fmt.Errorf("the batch has %d records: want 1 to %d", len(records), stream.MaxBatchRecords))
	}
	metered := 0
	for _, r := range records {
		metered += meteredBytes(r)
	}
	if metered > stream.MaxBatchBytes {
		return invalid("records", fmt.Errorf("the batch has %d metered bytes: want at most %d", metered, stream.MaxBatchBytes))
	}
	a.Timestamps = make([]uint64, len(records))
	a.Payload = make([]byte, 0, metered+recordOverhead*len(records))
	for i, r := range records {
		if err := addRecord(a, i, r); err != nil {
			return err
		}
	}
	return nil
}

// recordOverhead is about what a record's lengths take beyond its metered bytes.
const recordOverhead = 4

func addRecord(a *shardlog.Append, i int, r *samsav1.AppendRecord) error {
	a.Timestamps[i] = shardlog.NoTimestamp
	if r.Timestamp != nil {
		a.Timestamps[i] = min(r.GetTimestamp(), shardlog.NoTimestamp-1)
	}
	for _, h := range r.GetHeaders() {
		if len(h.GetName()) == 0 {
			if err := addCommand(a, i, r); err != nil {
				return err
			}
			break
		}
	}
	a.Payload = segment.AppendRecord(a.Payload, r.GetHeaders(), r.GetBody())
	return nil
}

// addCommand reads a command record: its only header has an empty name.
func addCommand(a *shardlog.Append, i int, r *samsav1.AppendRecord) error {
	if len(r.GetHeaders()) != 1 {
		return invalid("records.headers", fmt.Errorf("record %d has a header with an empty name beside others: only a command record has one, alone", i))
	}
	c := shardlog.Command{Index: uint32(i)}
	switch command := string(r.GetHeaders()[0].GetValue()); command {
	case "fence":
		token := string(r.GetBody())
		if err := checkToken("records.body", token); err != nil {
			return err
		}
		c.Fence = &token
	case "trim":
		if len(r.GetBody()) != 8 {
			return invalid("records.body", fmt.Errorf("trim command (record %d) has a body of %d bytes: want a seq_num of 8 bytes, big-endian", i, len(r.GetBody())))
		}
		c.Trim = stream.SeqNum(binary.BigEndian.Uint64(r.GetBody()))
	default:
		return invalid("records.headers", fmt.Errorf("record %d has a header with an empty name and the value %.20q: want a command, \"fence\" or \"trim\"", i, command))
	}
	a.Commands = append(a.Commands, c)
	return nil
}

func meteredBytes(r *samsav1.AppendRecord) int {
	n := 8 + 2*len(r.GetHeaders()) + len(r.GetBody())
	for _, h := range r.GetHeaders() {
		n += len(h.GetName()) + len(h.GetValue())
	}
	return n
}
