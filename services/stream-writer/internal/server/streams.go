package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Streams serves the part of StreamService that a shard's owner answers.
type Streams struct {
	samsav1.UnimplementedStreamServiceServer
	writer    *writer.Writer
	questions *Questions
	admission *Admission
	rates     *limit.Rates // of each stream; nil: no limit
}

// NewStreams makes the service.
func NewStreams(w *writer.Writer, q *Questions, a *Admission, rates *limit.Rates) *Streams {
	return &Streams{writer: w, questions: q, admission: a, rates: rates}
}

// CheckTail tells where a stream ends, proved to be current.
func (s *Streams) CheckTail(ctx context.Context, r *samsav1.CheckTailRequest) (*samsav1.CheckTailResponse, error) {
	name, err := nameOf(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	v, err := s.questions.ask(ctx, shardlog.Inspect{Name: name, Prove: true})
	if err != nil {
		return nil, toStatus(unproved(err))
	}
	return &samsav1.CheckTailResponse{
		NextSeqId:     stream.NewSeqID(v.LastIDMillis, v.Tail, v.ID.Salt()).String(),
		NextSeqNum:    uint64(v.Tail),
		LastTimestamp: v.LastTime,
	}, nil
}

// unproved is what an end of the incarnation means to a question: nothing is
// unknown about it, it can be asked again.
func unproved(err error) error {
	if errors.Is(err, shardlog.ErrOutcomeUnknown) {
		return shardlog.ErrDied
	}
	return err
}

// Append appends one batch.
func (s *Streams) Append(ctx context.Context, r *samsav1.AppendRequest) (*samsav1.AppendResponse, error) {
	name, err := nameOf(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	a, err := batch(r, present{
		r.MatchSeqId != nil, r.FencingToken != nil, r.MatchSeqNum != nil, r.ProducerId != nil, r.ProducerSeq != nil,
	})
	if err != nil {
		return nil, err
	}
	a.Name = name
	if err := s.allow(a); err != nil {
		return nil, err
	}
	release, err := s.admission.Admit(ctx, len(a.Payload))
	if err != nil {
		return nil, err
	}
	call, err := s.writer.Append(ctx, a, release)
	if err != nil {
		return nil, toStatus(err)
	}
	reply, err := call.Wait(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return response(reply.Ack), nil
}

func response(a shardlog.Ack) *samsav1.AppendResponse {
	salt, next := a.Stream.Salt(), a.First+stream.SeqNum(a.Count)
	return &samsav1.AppendResponse{
		StartSeqId:     stream.NewSeqID(a.IDMillis, a.First, salt).String(),
		EndSeqId:       stream.NewSeqID(a.IDMillis, next-1, salt).String(),
		StartTimestamp: a.FirstTimestamp,
		EndTimestamp:   a.LastTimestamp,
		NextSeqId:      stream.NewSeqID(a.IDMillis, next, salt).String(),
		LastTimestamp:  a.LastTimestamp,
		StartSeqNum:    uint64(a.First),
		EndSeqNum:      uint64(next),
		NextSeqNum:     uint64(next),
	}
}

func sessionResponse(a shardlog.Ack) *samsav1.AppendSessionResponse {
	r := response(a)
	return &samsav1.AppendSessionResponse{
		StartSeqId: r.StartSeqId, EndSeqId: r.EndSeqId,
		StartTimestamp: r.StartTimestamp, EndTimestamp: r.EndTimestamp,
		NextSeqId: r.NextSeqId, LastTimestamp: r.LastTimestamp,
		StartSeqNum: r.StartSeqNum, EndSeqNum: r.EndSeqNum, NextSeqNum: r.NextSeqNum,
	}
}

// sessionDepth is how many batches of a session may be in flight; the next one is
// not received before there is room.
const sessionDepth = 512

// AppendSession takes batches as they come and acknowledges them in order. The
// first failure ends it, after the acknowledgements before it.
func (s *Streams) AppendSession(server samsav1.StreamService_AppendSessionServer) error {
	in := &intake{
		s: s, server: server, session: &shardlog.Session{},
		inFlight: make(chan *writer.Call, sessionDepth),
	}
	ctx, cancel := context.WithCancel(server.Context())
	defer cancel()
	// Recv ends when this call does, so the intake can't be waited for here.
	go in.run(ctx)
	for call := range in.inFlight {
		if err := acknowledge(ctx, server, call); err != nil {
			return err
		}
	}
	return in.err
}

func acknowledge(ctx context.Context, server samsav1.StreamService_AppendSessionServer, call *writer.Call) error {
	reply, err := call.Wait(ctx)
	if err != nil {
		return toStatus(err)
	}
	return server.Send(sessionResponse(reply.Ack))
}

// intake receives a session's requests.
type intake struct {
	s        *Streams
	server   samsav1.StreamService_AppendSessionServer
	session  *shardlog.Session
	name     stream.Name
	inFlight chan *writer.Call // what waits for its answer
	err      error             // why it ended; nil: the client is done. Read it after inFlight is closed
}

func (in *intake) run(ctx context.Context) {
	defer close(in.inFlight)
	for {
		r, err := in.server.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = in.take(ctx, r)
		}
		if err != nil {
			in.err = err
			return
		}
	}
}

func (in *intake) take(ctx context.Context, r *samsav1.AppendSessionRequest) error {
	a, err := in.decode(r)
	if err != nil {
		return err
	}
	if err := in.s.await(ctx, a); err != nil {
		return err
	}
	release, err := in.s.admission.Admit(ctx, len(a.Payload))
	if err != nil {
		return err
	}
	call, err := in.s.writer.Append(ctx, a, release)
	if err != nil {
		return toStatus(err)
	}
	select {
	case in.inFlight <- call:
		return nil
	case <-ctx.Done():
		return toStatus(ctx.Err())
	}
}

func (in *intake) decode(r *samsav1.AppendSessionRequest) (*shardlog.Append, error) {
	if err := in.setName(r); err != nil {
		return nil, err
	}
	a, err := batch(r, present{
		r.MatchSeqId != nil, r.FencingToken != nil, r.MatchSeqNum != nil, r.ProducerId != nil, r.ProducerSeq != nil,
	})
	if err != nil {
		return nil, err
	}
	a.Name, a.Session = in.name, in.session
	return a, nil
}

// setName takes the stream from the first request; later ones repeat it or leave
// it empty.
func (in *intake) setName(r *samsav1.AppendSessionRequest) error {
	if in.name == (stream.Name{}) {
		name, err := nameOf(r.GetBucket(), r.GetStream())
		in.name = name
		return err
	}
	if b := r.GetBucket(); b != "" && b != in.name.Bucket {
		return invalid("bucket", fmt.Errorf("bucket %.80q: the session appends to %q", b, in.name.Bucket))
	}
	if n := r.GetStream(); n != "" && n != in.name.Stream {
		// n is not shown: part of a name could not be told from the caller's prefix.
		return invalid("stream", fmt.Errorf("another stream than before: the session appends to %q", in.name.Stream))
	}
	return nil
}
