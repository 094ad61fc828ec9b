package clienttest

import (
	"context"
	"errors"
	"io"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// heartbeat is how often a read session says something.
const heartbeat = 15 * time.Second

type streamService struct {
	samsav1.UnimplementedStreamServiceServer
	s *Server
}

func (v streamService) CheckTail(_ context.Context, r *samsav1.CheckTailRequest) (*samsav1.CheckTailResponse, error) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	_, l, err := v.s.log(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	tail := l.tail()
	return &samsav1.CheckTailResponse{
		NextSeqId: tail.GetNextSeqId(), NextSeqNum: tail.GetNextSeqNum(), LastTimestamp: tail.GetLastTimestamp(),
	}, nil
}

func (v streamService) Append(_ context.Context, r *samsav1.AppendRequest) (*samsav1.AppendResponse, error) {
	return v.append(&samsav1.AppendSessionRequest{
		Bucket: r.GetBucket(), Stream: r.GetStream(), Records: r.GetRecords(),
		MatchSeqId: r.MatchSeqId, MatchSeqNum: r.MatchSeqNum, FencingToken: r.FencingToken,
		ProducerId: r.ProducerId, ProducerSeq: r.ProducerSeq,
	})
}

func (v streamService) append(r *samsav1.AppendSessionRequest) (*samsav1.AppendResponse, error) {
	if err := v.s.fault("BeforeAppend", func(f Faults) func(int) error { return f.BeforeAppend }); err != nil {
		return nil, err
	}
	ack, err := v.store(r)
	if err != nil {
		return nil, err
	}
	if err := v.s.fault("AfterAppend", func(f Faults) func(int) error { return f.AfterAppend }); err != nil {
		return nil, err
	}
	return ack, nil
}

func (v streamService) store(r *samsav1.AppendSessionRequest) (*samsav1.AppendResponse, error) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	b, l, err := v.s.log(r.GetBucket(), r.GetStream())
	if l == nil && b != nil && b.config.GetCreateStreamOnAppend() {
		l, err = b.create(r.GetStream(), nil), nil
	}
	if err != nil {
		return nil, err
	}
	return l.append(r)
}

func (v streamService) AppendSession(call samsav1.StreamService_AppendSessionServer) error {
	type outcome struct {
		ack *samsav1.AppendResponse
		err error
	}
	outcomes := make(chan outcome, 10_000)
	go func() {
		defer close(outcomes)
		var first *samsav1.AppendSessionRequest
		for {
			r, err := call.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					outcomes <- outcome{err: err}
				}
				return
			}
			if first == nil {
				first = r
			}
			r.Bucket, r.Stream = first.GetBucket(), first.GetStream()
			ack, err := v.append(r)
			outcomes <- outcome{ack, err}
			if err != nil {
				return
			}
		}
	}()
	for o := range outcomes {
		if o.err != nil {
			return o.err
		}
		if err := v.s.fault("BeforeAck", func(f Faults) func(int) error { return f.BeforeAck }); err != nil {
			return err
		}
		if err := call.Send(sessionAck(o.ack)); err != nil {
			return err
		}
	}
	return nil
}

func sessionAck(a *samsav1.AppendResponse) *samsav1.AppendSessionResponse {
	return &samsav1.AppendSessionResponse{
		StartSeqId: a.GetStartSeqId(), EndSeqId: a.GetEndSeqId(), NextSeqId: a.GetNextSeqId(),
		StartTimestamp: a.GetStartTimestamp(), EndTimestamp: a.GetEndTimestamp(), LastTimestamp: a.GetLastTimestamp(),
		StartSeqNum: a.GetStartSeqNum(), EndSeqNum: a.GetEndSeqNum(), NextSeqNum: a.GetNextSeqNum(),
	}
}

func (v streamService) Read(ctx context.Context, r *samsav1.ReadRequest) (*samsav1.ReadResponse, error) {
	session := &samsav1.ReadSessionRequest{Bucket: r.GetBucket(), Stream: r.GetStream(), Clamp: r.GetClamp()}
	switch start := r.GetStart().(type) {
	case *samsav1.ReadRequest_SeqNum:
		session.Start = &samsav1.ReadSessionRequest_SeqNum{SeqNum: start.SeqNum}
	case *samsav1.ReadRequest_SeqId:
		session.Start = &samsav1.ReadSessionRequest_SeqId{SeqId: start.SeqId}
	case *samsav1.ReadRequest_Timestamp:
		session.Start = &samsav1.ReadSessionRequest_Timestamp{Timestamp: start.Timestamp}
	case *samsav1.ReadRequest_TailOffset:
		session.Start = &samsav1.ReadSessionRequest_TailOffset{TailOffset: start.TailOffset}
	}
	l, at, err := v.open(session, false)
	if err != nil {
		return nil, err
	}
	left := limitOf(r.GetLimit(), r.Until)
	deadline := time.After(time.Duration(r.GetWaitMs()) * time.Millisecond)
	for {
		v.s.mu.Lock()
		records, met := l.take(&at, &left)
		tail, changed := l.tail(), l.changed
		v.s.mu.Unlock()
		if len(records) > 0 || met {
			return readResponse(records, at, tail), nil
		}
		select {
		case <-changed:
		case <-deadline:
			return readResponse(nil, at, tail), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func readResponse(records []*samsav1.SequencedRecord, at uint64, tail *samsav1.Tail) *samsav1.ReadResponse {
	resp := &samsav1.ReadResponse{NextSeqNum: at}
	if len(records) > 0 {
		resp.Output = &samsav1.ReadResponse_Batch{Batch: &samsav1.SequencedRecordBatch{Records: records}}
	} else {
		resp.Output = &samsav1.ReadResponse_NextSeqId{NextSeqId: tail.GetNextSeqId()}
	}
	if resp.GetNextSeqNum() == tail.GetNextSeqNum() {
		resp.Tail = tail
	}
	return resp
}

// open finds the stream and the position to read from.
func (v streamService) open(r *samsav1.ReadSessionRequest, fromTail bool) (*log, uint64, error) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	b, l, err := v.s.log(r.GetBucket(), r.GetStream())
	if l == nil && b != nil && b.config.GetCreateStreamOnRead() {
		l, err = b.create(r.GetStream(), nil), nil
	}
	if err != nil {
		return nil, 0, err
	}
	byDefault := l.trim
	if fromTail {
		byDefault = uint64(len(l.records))
	}
	at, err := l.start(r, byDefault)
	return l, at, err
}

func (v streamService) ReadSession(r *samsav1.ReadSessionRequest, call samsav1.StreamService_ReadSessionServer) error {
	l, at, err := v.open(r, true)
	if err != nil {
		return err
	}
	left := limitOf(r.GetLimit(), r.Until)
	for caughtUp := false; ; {
		v.s.mu.Lock()
		records, met := l.take(&at, &left)
		tail, changed := l.tail(), l.changed
		v.s.mu.Unlock()
		resp := sessionResponse(records)
		if at >= tail.GetNextSeqNum() && (!caughtUp || len(records) > 0) {
			resp.Tail, caughtUp = tail, true
		}
		if len(records) > 0 || resp.GetTail() != nil {
			if err := v.send(call, resp); err != nil {
				return err
			}
		}
		if met {
			return nil
		}
		if at < tail.GetNextSeqNum() {
			continue
		}
		if done, err := v.follow(r, call, changed); done || err != nil {
			return err
		}
	}
}

// follow waits for an append, with heartbeats. It tells whether wait_ms is over.
func (v streamService) follow(r *samsav1.ReadSessionRequest, call samsav1.StreamService_ReadSessionServer, changed chan struct{}) (bool, error) {
	var deadline <-chan time.Time
	if r.GetWaitMs() > 0 {
		deadline = time.After(time.Duration(r.GetWaitMs()) * time.Millisecond)
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-changed:
			return false, nil
		case <-deadline:
			return true, nil
		case <-beat.C:
			if err := call.Send(&samsav1.ReadSessionResponse{}); err != nil {
				return false, err
			}
		case <-call.Context().Done():
			return false, call.Context().Err()
		}
	}
}

func (v streamService) send(call samsav1.StreamService_ReadSessionServer, resp *samsav1.ReadSessionResponse) error {
	if err := v.s.fault("BeforeRead", func(f Faults) func(int) error { return f.BeforeRead }); err != nil {
		return err
	}
	return call.Send(resp)
}

func sessionResponse(records []*samsav1.SequencedRecord) *samsav1.ReadSessionResponse {
	if len(records) == 0 {
		return &samsav1.ReadSessionResponse{}
	}
	return &samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{
		Output: &samsav1.ReadOutput_Batch{Batch: &samsav1.SequencedRecordBatch{Records: records}},
	}}
}
