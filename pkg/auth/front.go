package auth

import (
	"context"

	"google.golang.org/grpc"

	"github.com/samsa-io/samsa/pkg/rpc"
)

// Front guards a server that forwards frames without decoding them. It reads the
// names of the resource from the first frame of each call, and no more: what
// depends on the rest of a request, on later requests and on time is up to the
// services, which check each call once more.
func (g *Guard) Front(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c, err := g.enter(ss.Context(), info.FullMethod, true)
	if err != nil {
		return err
	}
	if c == nil {
		return handler(srv, ss)
	}
	inner := &frontStream{ServerStream: ss, guard: g, ctx: WithToken(ss.Context(), c.token), call: c}
	err = handler(srv, inner)
	if c.method.root { // others are forwarded, and noted where they are carried out
		g.note(inner.ctx, c.method, c, err)
	}
	return err
}

// operate lets the root token do what such a server does itself, and no other.
func (s *frontStream) operate(request any) error {
	if r, ok := request.(interface{ GetInstance() string }); ok {
		s.call.instance = r.GetInstance()
	}
	if !s.call.token.Root {
		s.guard.config.Metrics.denied()
		return notRoot()
	}
	return nil
}

// FrontUnary is Front for unary methods, which such a server should not have: their
// requests are received before this is asked.
func (g *Guard) FrontUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	c, err := g.enter(ctx, info.FullMethod, true)
	if err != nil || c == nil {
		return proceed(err, func() (any, error) { return handler(ctx, request) })
	}
	if r, ok := request.(interface{ GetInstance() string }); ok {
		c.instance = r.GetInstance()
	}
	if !c.method.root || !c.token.Root {
		g.config.Metrics.denied()
		err := notRoot()
		g.note(ctx, c.method, c, err)
		return nil, err
	}
	response, err := handler(WithToken(ctx, c.token), request)
	g.note(ctx, c.method, c, err)
	return response, err
}

// frontStream checks the first frame of a call.
type frontStream struct {
	grpc.ServerStream
	guard   *Guard
	ctx     context.Context
	call    *call
	checked bool
}

func (s *frontStream) Context() context.Context { return s.ctx }

func (s *frontStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil || s.checked {
		return err
	}
	s.checked = true
	if s.call.method.root {
		return s.operate(m)
	}
	frame, ok := m.(*rpc.Frame)
	if !ok {
		return denied(s.call.method.operation)
	}
	if !s.call.peekFrame(frame.Bytes()) {
		return nil // the router, or else the service, refuses what can't be read
	}
	if err := s.call.allow(); err != nil {
		s.guard.config.Metrics.denied()
		s.guard.note(s.ctx, s.call.method, s.call, err)
		frame.Free()
		return err
	}
	return nil
}
