package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// Server serves StreamService's Read and ReadSession; the other methods are the
// stream-writer's.
type Server struct {
	samsav1.UnimplementedStreamServiceServer
	service *read.Service
	limits  Limits
}

// New makes a Server.
func New(service *read.Service, limits Limits) *Server {
	return &Server{service: service, limits: limits}
}

// Register adds the server to a gRPC server.
func (s *Server) Register(to *grpc.Server) { samsav1.RegisterStreamServiceServer(to, s) }

// Read implements samsav1.StreamServiceServer.
func (s *Server) Read(ctx context.Context, in *samsav1.ReadRequest) (*samsav1.ReadResponse, error) {
	req, err := readRequest(in)
	if err != nil {
		return nil, err
	}
	if err := s.limits.begin(req.Name); err != nil {
		return nil, translate(err)
	}
	result, err := s.service.Read(ctx, req)
	if err != nil {
		return nil, translate(err)
	}
	s.limits.sent(req.Name, result.Frame)
	return readResponse(result), nil
}

func readResponse(result read.Result) *samsav1.ReadResponse {
	out := &samsav1.ReadResponse{NextSeqNum: uint64(result.Next)}
	if result.Tail != nil {
		out.Tail = tail(result.Tail, result.TailID.String())
	}
	if result.Frame != nil {
		setRaw(out, result.Frame.Batch())
	} else {
		out.Output = &samsav1.ReadResponse_NextSeqId{NextSeqId: result.NextID.String()}
	}
	return out
}

// ReadSession implements samsav1.StreamServiceServer.
func (s *Server) ReadSession(in *samsav1.ReadSessionRequest, to grpc.ServerStreamingServer[samsav1.ReadSessionResponse]) error {
	req, err := sessionRequest(in)
	if err != nil {
		return err
	}
	leave, err := s.limits.subscribe(req.Name)
	if err != nil {
		return translate(err)
	}
	defer leave()
	err = s.service.Session(to.Context(), req, func(o read.Output) (time.Duration, error) {
		if err := to.Send(sessionResponse(o)); err != nil {
			return 0, err
		}
		return s.limits.sent(req.Name, o.Frame), nil
	})
	if err != nil {
		return translate(err)
	}
	return nil
}

func sessionResponse(o read.Output) *samsav1.ReadSessionResponse {
	out := &samsav1.ReadSessionResponse{}
	switch {
	case o.Frame != nil:
		setRaw(out, o.Frame.Session())
	case !isZero(o.NextID):
		id := o.NextID.String()
		out.Output = &samsav1.ReadOutput{Output: &samsav1.ReadOutput_NextSeqId{NextSeqId: id}}
		if o.Tail != nil {
			out.Tail = tail(o.Tail, id)
		}
	}
	return out
}

func isZero(id [16]byte) bool { return id == [16]byte{} }

func tail(t *live.Tail, id string) *samsav1.Tail {
	return &samsav1.Tail{NextSeqId: id, NextSeqNum: uint64(t.Next), LastTimestamp: t.LastTimestamp}
}

// setRaw adds fields that are serialized already.
func setRaw(m protoreflect.ProtoMessage, fields []byte) { m.ProtoReflect().SetUnknown(fields) }
