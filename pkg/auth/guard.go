package auth

import (
	"context"
	"errors"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// GuardConfig is what a Guard works with.
type GuardConfig struct {
	Verifier *Verifier
	Peers    Peers
	Audit    *zap.Logger // of control operations; nil: none
	Metrics  *Metrics    // nil: none
}

// Guard lets calls in, or not.
type Guard struct {
	config  GuardConfig
	methods table
}

// NewGuard makes a Guard. It fails if an RPC has no rule.
func NewGuard(c GuardConfig) (*Guard, error) {
	methods, err := newTable(services(), rules())
	if err != nil {
		return nil, err
	}
	if c.Audit == nil {
		c.Audit = zap.NewNop()
	}
	return &Guard{config: c, methods: methods}, nil
}

// ServerOptions guard a service's server, which decodes what it gets. They come
// after rpc.ServerOptions.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream)}
}

// Covers refuses a server that has a method without a rule.
func (g *Guard) Covers(server *grpc.Server) error { return g.methods.covers(server.GetServiceInfo()) }

// enter finds the call's rule and its token. The call is nil for what needs no
// token: open services, and calls between services by one of them.
func (g *Guard) enter(ctx context.Context, fullMethod string, front bool) (*call, error) {
	m := g.methods[fullMethod]
	switch {
	case m == nil && isOpen(serviceOf(fullMethod)):
		return nil, nil
	case m != nil && m.root && !front:
		return nil, notPeer()
	case m == nil:
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "no such method: %s", fullMethod).Under(codes.Unimplemented)
	}
	if !front {
		if err := g.config.Peers.check(ctx, m); err != nil {
			return nil, err
		}
		if m.operation == samsav1.Operation_OPERATION_UNSPECIFIED {
			return nil, nil
		}
	}
	token, err := g.verify(ctx)
	if err != nil {
		err = refusal(err)
		g.note(ctx, m, nil, err)
		return nil, err
	}
	return newCall(ctx, m, token), nil
}

func (g *Guard) verify(ctx context.Context) (*Token, error) {
	secret, err := bearer(ctx)
	if err != nil {
		g.config.Metrics.verified(err)
		return nil, err
	}
	return g.config.Verifier.Verify(ctx, secret)
}

func (g *Guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	c, err := g.enter(ctx, info.FullMethod, false)
	if err != nil || c == nil {
		return proceed(err, func() (any, error) { return handler(ctx, request) })
	}
	if err := c.take(request); err != nil {
		g.config.Metrics.denied()
		g.note(ctx, c.method, c, err)
		return nil, err
	}
	inner := WithToken(ctx, c.token)
	if c.method.live {
		session, stop := c.token.Session(inner)
		defer stop()
		inner = session
	}
	response, err := handler(inner, request)
	if err = c.leave(inner, err); err == nil && c.token.Prefix != "" {
		c.token.strip(response)
	}
	g.note(ctx, c.method, c, err)
	return response, err
}

func proceed(err error, f func() (any, error)) (any, error) {
	if err != nil {
		return nil, err
	}
	return f()
}

// leave is the error that the caller gets to see: that the token has ended, if that
// was the reason, else the handler's.
func (c *call) leave(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := ended(ctx); cause != nil && c.method.live {
		return refusal(cause)
	}
	return c.stripError(err)
}

// ended is why the token of a session has ended; nil: it has not.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	for _, reason := range []error{ErrExpired, ErrInvalid, ErrUnavailable} {
		if errors.Is(cause, reason) {
			return reason
		}
	}
	return nil
}

func (g *Guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c, err := g.enter(ss.Context(), info.FullMethod, false)
	if err != nil {
		return err
	}
	if c == nil {
		return handler(srv, ss)
	}
	ctx := WithToken(ss.Context(), c.token)
	session, stop := c.token.Session(ctx)
	defer stop()
	if c.method.live {
		ctx = session
	}
	err = handler(srv, &guardedStream{ServerStream: ss, guard: g, ctx: ctx, session: session, call: c})
	return c.leave(ctx, err)
}

// guardedStream checks each request of a session.
type guardedStream struct {
	grpc.ServerStream
	guard *Guard
	ctx   context.Context
	// session ends with the token. Appends do not run in it: to break them off
	// would leave their outcome unknown. The next request is refused instead, after
	// the acknowledgements of those before it.
	session context.Context
	call    *call
}

func (s *guardedStream) Context() context.Context { return s.ctx }

func (s *guardedStream) RecvMsg(request any) error {
	if err := s.ServerStream.RecvMsg(request); err != nil {
		return err
	}
	if err := ended(s.session); err != nil {
		return refusal(err)
	}
	if err := s.call.take(request); err != nil {
		s.guard.config.Metrics.denied()
		return err
	}
	return nil
}
