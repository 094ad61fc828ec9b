package server

import (
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// common is what the two requests share.
type common interface {
	GetBucket() string
	GetStream() string
	GetLimit() *samsav1.ReadLimit
	GetClamp() bool
	GetWaitMs() uint64
}

func readRequest(in *samsav1.ReadRequest) (read.Request, error) {
	req, err := request(in, in.Until)
	if err != nil {
		return req, err
	}
	switch start := in.GetStart().(type) {
	case nil:
		req.Start = live.Start{Kind: live.AtSeqNum}
	case *samsav1.ReadRequest_SeqNum:
		req.Start = atSeqNum(start.SeqNum)
	case *samsav1.ReadRequest_SeqId:
		req.Start, err = atSeqID(start.SeqId)
	case *samsav1.ReadRequest_Timestamp:
		req.Start = live.Start{Kind: live.AtTimestamp, Value: start.Timestamp}
	case *samsav1.ReadRequest_TailOffset:
		req.Start = live.Start{Kind: live.AtTailOffset, Value: start.TailOffset}
	}
	return req, err
}

func sessionRequest(in *samsav1.ReadSessionRequest) (read.Request, error) {
	req, err := request(in, in.Until)
	if err != nil {
		return req, err
	}
	req.Heartbeats = in.GetHeartbeats()
	switch start := in.GetStart().(type) {
	case nil:
		req.Start = live.Start{Kind: live.AtTailOffset}
	case *samsav1.ReadSessionRequest_SeqNum:
		req.Start = atSeqNum(start.SeqNum)
	case *samsav1.ReadSessionRequest_SeqId:
		req.Start, err = atSeqID(start.SeqId)
	case *samsav1.ReadSessionRequest_Timestamp:
		req.Start = live.Start{Kind: live.AtTimestamp, Value: start.Timestamp}
	case *samsav1.ReadSessionRequest_TailOffset:
		req.Start = live.Start{Kind: live.AtTailOffset, Value: start.TailOffset}
	}
	return req, err
}

func request(in common, until *uint64) (read.Request, error) {
	if err := stream.CheckBucketName(in.GetBucket()); err != nil {
		return read.Request{}, invalid("bucket", err)
	}
	if err := stream.CheckStreamName(in.GetStream()); err != nil {
		return read.Request{}, invalid("stream", err)
	}
	limits := frame.NoLimits()
	if limit := in.GetLimit(); limit != nil {
		limits.Count, limits.Bytes = orUnlimited(limit.Count), orUnlimited(limit.Bytes)
	}
	limits.Until = until
	return read.Request{
		Name:   stream.Name{Bucket: in.GetBucket(), Stream: in.GetStream()},
		Limits: limits,
		Clamp:  in.GetClamp(),
		Wait:   milliseconds(in.GetWaitMs()),
	}, nil
}

func orUnlimited(limit *uint64) uint64 {
	if limit == nil {
		return frame.Unlimited
	}
	return *limit
}

// milliseconds saturates far beyond any call's life.
func milliseconds(n uint64) time.Duration {
	const most = 366 * 24 * time.Hour
	return time.Duration(min(n, uint64(most/time.Millisecond))) * time.Millisecond
}

// atSeqNum cuts positions that no stream can have to the largest, so that they lie
// past the tail rather than wrap around somewhere.
func atSeqNum(seq uint64) live.Start {
	return live.Start{Kind: live.AtSeqNum, Value: min(seq, uint64(stream.MaxSeqNum))}
}

func atSeqID(text string) (live.Start, error) {
	id, err := stream.ParseSeqID(text)
	if err != nil {
		return live.Start{}, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "%v", err).In("seq_id")
	}
	return live.Start{Kind: live.AtSeqID, SeqID: id, Value: uint64(id.SeqNum())}, nil
}

func invalid(field string, err error) error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%v", err).In(field)
}
