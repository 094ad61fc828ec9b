package quota

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// Config is the limits of each token; 0: none.
type Config struct {
	Rate     limit.Rate
	Sessions int64 // at a time
	Streams  int64 // in sessions at a time
}

// patience is how long the next batch of a session may wait for a rate. It is more
// than a batch can cost at any but the smallest rates.
const patience = 30 * time.Second

// Quota counts what tokens do.
type Quota struct {
	rates             *limit.Rates
	sessions, streams *limit.Places
}

// New makes a Quota.
func New(c Config, m *limit.Metrics) *Quota {
	return &Quota{
		rates:    limit.NewRates(c.Rate, "router.token", m),
		sessions: limit.NewPlaces(c.Sessions, "sessions of one access token at a router", "router.token_sessions", m),
		streams:  limit.NewDistinct(c.Streams, "streams in sessions of one access token at a router", "router.token_streams", m),
	}
}

// holder is whom a call counts for: the token's id, the root token, or, where
// authentication is off, everybody together. No id begins with a NUL.
func holder(ctx context.Context) string {
	switch t := auth.TokenOf(ctx); {
	case t == nil:
		return "\x00anonymous"
	case t.Root:
		return "\x00root"
	default:
		return t.ID
	}
}

// Intercept is a grpc.StreamServerInterceptor for a server that forwards frames. It
// comes after the check of the token.
func (q *Quota) Intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/samsa.v1.") {
		return handler(srv, ss)
	}
	c := &call{ServerStream: ss, quota: q, method: info.FullMethod, holder: holder(ss.Context())}
	if err := q.rates.Take(c.holder, limit.Cost{Requests: 1}); err != nil {
		return shown(err)
	}
	if !c.isSession() {
		return handler(srv, c)
	}
	leave, err := q.sessions.Enter(c.holder, "")
	if err != nil {
		return shown(err)
	}
	defer leave()
	defer c.leave()
	return handler(srv, c)
}

// shown is an error as the client sees it.
func shown(err error) error {
	var e *limit.Exceeded
	if errors.As(err, &e) {
		return e.RPC()
	}
	return err
}

// call counts what passes.
type call struct {
	grpc.ServerStream
	quota          *Quota
	method, holder string
	begun          bool
	pause          time.Duration

	mu          sync.Mutex
	leaveStream func() // nil: the stream is not known yet
	left        bool   // the handler has returned; a message that it did not wait for may still come
}

func (c *call) appends() bool {
	return c.method == samsav1.StreamService_Append_FullMethodName || c.method == samsav1.StreamService_AppendSession_FullMethodName
}

func (c *call) isSession() bool {
	return c.method == samsav1.StreamService_AppendSession_FullMethodName || c.method == samsav1.StreamService_ReadSession_FullMethodName
}

func (c *call) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	if c.leaveStream != nil {
		c.leaveStream()
	}
}

// RecvMsg implements grpc.ServerStream.
func (c *call) RecvMsg(m any) error {
	if err := c.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	frame, ok := m.(*rpc.Frame)
	if !ok {
		return nil
	}
	if err := c.received(frame); err != nil {
		frame.Free()
		return shown(err)
	}
	return nil
}

func (c *call) received(frame *rpc.Frame) error {
	first := !c.begun
	c.begun = true
	if first && c.isSession() {
		if err := c.enterStream(frame); err != nil {
			return err
		}
	}
	if !c.appends() {
		return nil
	}
	cost := limit.Cost{Bytes: frame.Len()}
	if c.quota.rates.CountsRecords() {
		cost.Records = rpc.CountRecords(frame.Bytes())
	}
	if c.method == samsav1.StreamService_Append_FullMethodName {
		return c.quota.rates.Take(c.holder, cost)
	}
	if !first {
		cost.Requests = 1
	}
	return c.quota.rates.Wait(c.Context(), c.holder, cost, patience)
}

// enterStream counts the stream of a session. A name that is none is for the router
// to refuse.
func (c *call) enterStream(frame *rpc.Frame) error {
	name, err := route.StreamName(frame.Bytes())
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return context.Canceled
	}
	c.leaveStream, err = c.quota.streams.Enter(c.holder, name.String())
	return err
}

// SendMsg implements grpc.ServerStream. Records that were read are charged when they
// have been sent; Pause tells what that means to a session.
func (c *call) SendMsg(m any) error {
	frame, ok := m.(*rpc.Frame)
	if !ok || c.appends() {
		return c.ServerStream.SendMsg(m)
	}
	session := c.method == samsav1.StreamService_ReadSession_FullMethodName
	cost := limit.Cost{Bytes: frame.Len()}
	if c.quota.rates.CountsRecords() && (session || c.method == samsav1.StreamService_Read_FullMethodName) {
		cost.Records = rpc.CountRead(frame.Bytes(), session)
	}
	if err := c.ServerStream.SendMsg(m); err != nil {
		return err
	}
	c.pause = c.quota.rates.Charge(c.holder, cost)
	return nil
}

// Pause is how long the token's rates want a read session to wait before its next
// message. Whoever sends waits: this is not the client's doing, and may take longer
// than a heartbeat.
func (c *call) Pause() time.Duration { return c.pause }
