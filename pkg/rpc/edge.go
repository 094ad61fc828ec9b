package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// edge is where a call comes in and its result goes out.
type edge struct {
	log                    *zap.Logger
	maxMessage, maxHeaders int
	refusals               *refusals
	refused                func(limit string)
}

func newEdge(c ServerConfig) *edge {
	e := &edge{log: c.Log, maxMessage: c.maxReceive(), maxHeaders: c.maxHeaders(), refusals: new(refusals), refused: c.Refused}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.refused == nil {
		e.refused = func(string) {}
	}
	return e
}

func (e *edge) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	begun := time.Now()
	ctx, id := enter(ctx)
	// Fails only once the header is sent, which it cannot be yet.
	_ = grpc.SetHeader(ctx, metadata.Pairs(RequestIDKey, id))
	if err := e.refusals.take(req); err != nil {
		return nil, e.leave(ctx, err, info.FullMethod, id, begun)
	}
	if err := e.checkHeaders(incoming(ctx)); err != nil {
		return nil, e.leave(ctx, err, info.FullMethod, id, begun)
	}
	resp, err := handler(ctx, req)
	return resp, e.leave(ctx, err, info.FullMethod, id, begun)
}

func incoming(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx)
	return md
}

func (e *edge) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	begun := time.Now()
	ctx, id := enter(ss.Context())
	err := e.checkHeaders(incoming(ctx))
	if err == nil {
		err = handler(srv, &serverStream{ServerStream: ss, edge: e, ctx: ctx, id: id})
	}
	return e.leave(ctx, err, info.FullMethod, id, begun)
}

// serverStream is a stream whose context knows the request id. The id goes into
// the header with the first message: a call that is refused has no header, by
// which a client can tell it from one that was accepted.
type serverStream struct {
	grpc.ServerStream
	edge *edge
	ctx  context.Context
	id   string
	once sync.Once
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) RecvMsg(m any) error {
	return s.edge.received(m, s.ServerStream.RecvMsg(m))
}

func (s *serverStream) SendHeader(md metadata.MD) error {
	s.identify()
	return s.ServerStream.SendHeader(md)
}

func (s *serverStream) SendMsg(m any) error {
	s.identify()
	return s.ServerStream.SendMsg(m)
}

// identify fails only once the header is sent, which it cannot be yet.
func (s *serverStream) identify() {
	s.once.Do(func() { _ = s.SetHeader(metadata.Pairs(RequestIDKey, s.id)) })
}

func enter(ctx context.Context) (context.Context, string) {
	id := requestIDFor(ctx)
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("samsa.request_id", id))
	return WithRequestID(ctx, id), id
}

// leave types the error and logs it: faults of ours as errors, what a client did
// wrong for debugging only.
func (e *edge) leave(ctx context.Context, err error, method, id string, begun time.Time) error {
	if err == nil {
		return nil
	}
	out := Typed(err, method, id)
	level := zap.DebugLevel
	if isFault(status.Code(out)) {
		level = zap.ErrorLevel
	}
	if entry := e.log.Check(level, "call failed"); entry != nil {
		entry.Write(zap.String("method", method), CallField(ctx), zap.Stringer("code", status.Code(out)),
			zap.Duration("duration", time.Since(begun)), zap.Error(err))
	}
	return out
}

func isFault(c codes.Code) bool {
	return c == codes.Internal || c == codes.DataLoss
}

func (e *edge) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer e.recovered(ctx, info.FullMethod, &err)
	return handler(ctx, req)
}

func (e *edge) recoverStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer e.recovered(ss.Context(), info.FullMethod, &err)
	return handler(srv, ss)
}

// recovered turns a panic into an error without a type, so that an append's
// outcome counts as unknown. What was panicked with goes to the log alone.
func (e *edge) recovered(ctx context.Context, method string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	e.log.Error("handler panicked", zap.String("method", method), CallField(ctx),
		zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
	*err = status.Error(codes.Internal, "panic")
}
