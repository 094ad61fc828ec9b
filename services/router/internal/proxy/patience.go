package proxy

import (
	"time"

	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// A client costs something as long as it neither sends nor takes anything: a
// goroutine or two here, a session at a service, and what is on its way to it. gRPC
// has no deadlines for that, so they are kept here. What blocks in gRPC ends when
// the handler returns; so it blocks in a goroutine of its own.

// The settings of the limits that are met here.
const (
	firstMessageLimit = "router.first_message_timeout_ms"
	idleLimit         = "router.session_idle_secs"
	stallLimit        = "router.write_timeout_ms"
)

// receiveFirst receives a call's first message, within Config.FirstMessage.
func (p *Proxy) receiveFirst(client grpc.ServerStream, first *rpc.Frame) error {
	arriving := &rpc.Frame{}
	err, late := p.receive(client, arriving, arriving.Free)
	if late {
		return err
	}
	*first = *arriving
	return err
}

// receive receives a message, within Config.FirstMessage. One that comes late is
// dropped.
func (p *Proxy) receive(client grpc.ServerStream, message any, drop func()) (err error, late bool) {
	received := make(chan error, 1)
	p.work.Go(func() { received <- client.RecvMsg(message) })
	timer := time.NewTimer(p.config.FirstMessage)
	defer timer.Stop()
	select {
	case err := <-received:
		return err, false
	case <-timer.C:
		p.config.Limits.Refused(firstMessageLimit)
		p.work.Go(func() {
			if <-received == nil {
				drop()
			}
		})
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
			"the call's first message did not arrive within %s (%s)", p.config.FirstMessage, firstMessageLimit).
			With("reason", "slow_request").With("limit", firstMessageLimit), true
	}
}

// maxOwn is how many calls without a token may be receiving at a time: those of health
// and reflection, which the router answers itself. A message of theirs may be as large
// as any before it is refused.
const maxOwn = 16

// InterceptOwn is a grpc.StreamServerInterceptor for what the router answers itself. It
// comes after the check of the token.
func (p *Proxy) InterceptOwn(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if _, ok := p.table[info.FullMethod]; ok {
		return handler(srv, ss)
	}
	return handler(srv, &ownStream{ss, p})
}

// ownStream is such a call. It waits for each message as for the first, and without a
// token holds a place in Proxy.own meanwhile.
type ownStream struct {
	grpc.ServerStream
	proxy *Proxy
}

// RecvMsg implements grpc.ServerStream.
func (s *ownStream) RecvMsg(m any) error {
	if auth.TokenOf(s.Context()) == nil {
		select {
		case s.proxy.own <- struct{}{}:
			defer func() { <-s.proxy.own }()
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
	err, _ := s.proxy.receive(s.ServerStream, m, func() {})
	return err
}

// watchIdle ends an append session whose client sends nothing for Config.Idle. Call
// moved when a message has gone on: a client is not idle while the backend does not
// take what it sent.
func (x *exchange) watchIdle() (moved func(), stop func() bool) {
	limit := x.proxy.config.Idle
	timer := time.AfterFunc(limit, x.endIdle)
	return func() { timer.Reset(limit) }, timer.Stop
}

// endIdle ends the session if it is idle. It may not be: the timer runs out while a
// message is sent, too, and then this may come only after the message has gone.
func (x *exchange) endIdle() {
	limit := x.proxy.config.Idle
	if !x.isIdle(limit) {
		return
	}
	x.proxy.config.Limits.Refused(idleLimit)
	x.refuse(rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE,
		"the session was idle for %s (%s): begin another one", limit, idleLimit).
		With("reason", "idle").After(retryDelay))
}

// downloadPatiently is download for sessions, whose clients may stall. A client that
// takes nothing for Config.Stall has its session ended: what waits for it is
// dropped, here and at the service. If it comes to itself it finds out from the
// error, and may go on from where it is.
func (x *exchange) downloadPatiently() error {
	stalled := make(chan struct{}, 1)
	x.stall = time.AfterFunc(x.proxy.config.Stall, func() {
		select {
		case stalled <- struct{}{}:
		default:
		}
	})
	x.stall.Stop()
	done := make(chan error, 1)
	x.proxy.work.Go(func() { done <- x.download() })
	if err, ended := endOrStall(done, stalled); ended {
		return x.finish(err)
	}
	x.call.cancel()
	x.proxy.config.Limits.Refused(stallLimit)
	return x.stalled()
}

// endOrStall waits for either. A client that took the last message after all has not
// stalled.
func endOrStall(done <-chan error, stalled <-chan struct{}) (err error, ended bool) {
	select {
	case err := <-done:
		return err, true
	case <-stalled:
	}
	select {
	case err := <-done:
		return err, true
	default:
		return nil, false
	}
}

// A pacer is a client's stream that wants a pause before the next message.
type pacer interface{ Pause() time.Duration }

// pause waits as long as the client's stream wants it, with heartbeats.
func (x *exchange) pause() error {
	p, ok := x.client.(pacer)
	if !ok || x.method.ClientStreams {
		return nil
	}
	left := p.Pause()
	for left > x.proxy.config.Heartbeat && x.beats {
		if err := clock.Sleep(x.call.stream.Context(), x.proxy.config.Heartbeat); err != nil {
			return err
		}
		left -= x.proxy.config.Heartbeat
		if err := x.pass(&rpc.Frame{}); err != nil { // an empty response
			return err
		}
	}
	if left <= 0 {
		return nil
	}
	return clock.Sleep(x.call.stream.Context(), left)
}

// stalled is what the client gets to know. Acknowledgements may be among what was
// dropped.
func (x *exchange) stalled() error {
	code, advice := samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "begin another session from where this one ended"
	if x.method.Changes {
		code, advice = samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, "what it sent and has no acknowledgement of may or may not have been appended"
	}
	return rpc.Errorf(code, "the client took nothing for %s (%s): %s", x.proxy.config.Stall, stallLimit, advice).
		With("reason", "stalled").With("limit", stallLimit).After(retryDelay)
}
