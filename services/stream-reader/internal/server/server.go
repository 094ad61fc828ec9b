package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/services/stream-reader/internal/live"
	"github.com/samsa-io/samsa/services/stream-reader/internal/read"
)

// Server serves StreamService's Read and ReadSession; the other methods are the
// stream-writer's.
type Server struct {
	samsav1.UnimplementedStreamServiceServer
	service *read.Service
}

// New makes a Server.
func New(service *read.Service) *Server { return &Server{service: service} }

// Register adds the server to a gRPC server.
func (s *Server) Register(to *grpc.Server) { samsav1.RegisterStreamServiceServer(to, s) }

// Read implements samsav1.StreamServiceServer.
func (s *Server) Read(ctx context.Context, in *samsav1.ReadRequest) (*samsav1.ReadResponse, error) {
	req, err := readRequest(in)
	if err != nil {
		return nil, err
	}
	result, err := s.service.Read(ctx, req)
	if err != nil {
		return nil, translate(err)
	}
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
	err = s.service.Session(to.Context(), req, func(o read.Output) error { return to.Send(sessionResponse(o)) })
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
