package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// exchange is one call of a client.
type exchange struct {
	proxy  *Proxy
	method route.Method
	client grpc.ServerStream
	first  *rpc.Frame

	name  stream.Name // of the calls that are about one stream
	shown stream.Name // the same as the client writes it, for errors
	call  *call       // the attempt that a backend has begun to answer

	stall *time.Timer // runs while a message is sent to the client of a session
	beats bool        // the client of a read session wants heartbeats

	up upstream // to the backend of call
}

// upstream is what goes to the backend after the first message. Sending may block for
// as long as the backend takes nothing, so no lock is held meanwhile; and since gRPC
// wants no CloseSend beside a SendMsg, the one that comes then waits for its end.
type upstream struct {
	mu      sync.Mutex
	sending bool
	sent    time.Time // the last message was
	closed  bool      // nothing more is sent
	drained bool      // because the proxy ends
	refused error     // because of this message of the client
}

// run finds a backend that answers and carries its answers to the client.
func (x *exchange) run() error {
	if err := x.pickName(); err != nil {
		return err
	}
	if err := x.start(); err != nil {
		return x.clientError(err)
	}
	defer x.call.cancel()
	defer x.call.vigil.leave()
	x.first.Free()
	defer x.endWithProxy()()
	err := x.call.vigil.explain(x.forward())
	if err == nil {
		err = x.refusal()
	}
	if x.isDrained() && (err == nil || !x.method.ClientStreams) {
		return unavailable("the router is stopping: go on with another").Err()
	}
	if err != nil {
		x.lookForOwner(err)
		return x.clientError(err)
	}
	return nil
}

// lookForOwner begins to look for the shard's next owner when a session has lost
// its connection to the last one: its client will be back in a moment.
func (x *exchange) lookForOwner(err error) {
	if x.method.Target == route.ShardOwner && isBroken(x.client.Context(), err) {
		x.proxy.backends.Lost(x.name, x.call.backend)
	}
}

// endWithProxy ends a session when the proxy drains.
func (x *exchange) endWithProxy() (stop func() bool) {
	if !x.method.ClientStreams && !x.method.ServerStreams {
		return func() bool { return true }
	}
	return context.AfterFunc(x.proxy.live, func() {
		x.setDrained()
		if x.method.ClientStreams {
			_ = x.closeSend() // the backend acknowledges what it has
			return
		}
		x.call.cancel()
	})
}

func (x *exchange) setDrained() {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	x.up.drained = true
}

func (x *exchange) isDrained() bool {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	return x.up.drained
}

func (x *exchange) pickName() error {
	if x.method.Target == route.AnyMember {
		return nil
	}
	name, err := route.StreamName(x.first.Bytes())
	if err != nil {
		var nameError *route.NameError
		errors.As(err, &nameError)
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%s", err).In(nameError.Field)
	}
	x.beats = x.method.ServerStreams && rpc.WantsHeartbeats(x.first.Bytes())
	x.shown = name
	x.name = stream.Name{Bucket: name.Bucket, Stream: auth.PrefixOf(x.client.Context()) + name.Stream}
	return nil
}

// start sets x.call, or tells why no backend answered.
func (x *exchange) start() error {
	ctx := x.client.Context()
	switch x.method.Target {
	case route.ShardOwner:
		return x.startWithOwner(ctx)
	case route.StreamReader:
		return x.tryEach(ctx, x.proxy.backends.Readers(x.name))
	default:
		return x.tryEach(ctx, x.proxy.backends.Any(x.method.Role))
	}
}

// startWithOwner limits the search for an owner. An owner that has an append may
// take as long as the client waits: it is not asked again.
func (x *exchange) startWithOwner(ctx context.Context) error {
	search, cancel := context.WithTimeout(ctx, x.proxy.config.RouteTimeout)
	defer cancel()
	var err error
	if x.method.Changes {
		err = x.proxy.backends.Owner(search, x.name, func(_ context.Context, b Backend) error { return x.try(b) })
	} else {
		err = x.proxy.backends.AskOwner(search, x.name, x.tryWithin)
	}
	var noOwner *rpc.Error // not a backend's: those come as statuses
	if ctx.Err() == nil && (errors.As(err, &noOwner) || errors.Is(err, context.DeadlineExceeded)) {
		x.proxy.log.Warn("a shard has no owner that can be reached", zap.Error(err)) // clients need not know who was asked, and where
		return unavailable(fmt.Sprintf("stream %q has no stream-writer that can be reached", x.shown)).Err()
	}
	return err
}

// tryEach offers the call to each backend once, in order, while nothing can have
// come of it.
func (x *exchange) tryEach(ctx context.Context, backends []Backend) error {
	err := error(rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "no %s service is alive", x.method.Role))
	for _, backend := range backends {
		if err = x.try(backend); err == nil || !x.mayRepeat(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (x *exchange) mayRepeat(err error) bool {
	return nothingHappened(err) || !x.method.Changes && isBroken(x.client.Context(), err)
}

// call is one attempt with one backend.
type call struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
	// answer is the first response if it has been read already.
	answer  *rpc.Frame
	backend Backend
	vigil   *caller
}

// try sends the first message to a backend and waits until it answers. On success
// x.call is set and the request can't be sent again.
func (x *exchange) try(backend Backend) error { return x.tryWithin(context.Background(), backend) }

// tryWithin is try, given up when limit ends.
func (x *exchange) tryWithin(limit context.Context, backend Backend) error {
	ctx, cancel := context.WithCancel(outgoing(x.client.Context()))
	defer context.AfterFunc(limit, cancel)()
	c, err := x.attempt(ctx, cancel, backend)
	if err != nil {
		cancel()
		return err
	}
	x.call = c
	return nil
}

func (x *exchange) attempt(ctx context.Context, cancel context.CancelFunc, backend Backend) (*call, error) {
	stream, err := x.open(ctx, cancel, backend)
	if err != nil {
		return nil, err
	}
	c := &call{stream: stream, cancel: cancel, vigil: x.watch(cancel, backend), backend: backend}
	c.vigil.asked()
	// A failure to send shows, with its reason, when the answer is awaited.
	if stream.SendMsg(x.first) == nil && !x.method.ClientStreams {
		_ = stream.CloseSend()
	}
	if err := x.awaitAnswer(c); err != nil {
		c.vigil.leave()
		return nil, c.vigil.explain(err)
	}
	return c, nil
}

// open gets a stream to the backend. If it can't, nothing was sent.
func (x *exchange) open(ctx context.Context, cancel context.CancelFunc, backend Backend) (grpc.ClientStream, error) {
	slow := time.AfterFunc(x.proxy.config.ConnectTimeout, cancel)
	desc := &grpc.StreamDesc{ClientStreams: x.method.ClientStreams, ServerStreams: x.method.ServerStreams}
	stream, err := backend.Conn.NewStream(ctx, desc, x.method.FullName, grpc.ForceCodecV2(rpc.FrameCodec()))
	inTime := slow.Stop()
	switch {
	case err == nil && inTime:
		return stream, nil
	case x.client.Context().Err() != nil:
		return nil, x.client.Context().Err()
	case !inTime:
		return nil, &unreachableError{backend.Instance, context.DeadlineExceeded}
	}
	return nil, &unreachableError{backend.Instance, err}
}

// awaitAnswer returns once the backend has accepted the call. An append session
// is accepted with the response's header, since its first ack may take as long
// as a put; all other calls with their first message or their end.
func (x *exchange) awaitAnswer(c *call) error {
	if x.method.ClientStreams {
		if header, _ := c.stream.Header(); header != nil {
			return nil
		}
	}
	answer := &rpc.Frame{}
	err := c.stream.RecvMsg(answer)
	if errors.Is(err, io.EOF) { // ended well, with no message
		return nil
	}
	if err != nil {
		return err
	}
	c.answer = answer
	c.vigil.answered()
	return nil
}

// forward carries messages both ways until the backend ends the call.
func (x *exchange) forward() error {
	if err := x.sendHeader(); err != nil {
		return err
	}
	if x.method.ClientStreams {
		x.proxy.work.Go(x.upload)
	}
	if x.method.ServerStreams {
		return x.downloadPatiently()
	}
	return x.finish(x.download())
}

// finish passes on what a backend says at its call's end.
func (x *exchange) finish(err error) error {
	x.client.SetTrailer(answered(x.call.stream.Trailer()))
	return err
}

func (x *exchange) sendHeader() error {
	header, err := x.call.stream.Header()
	if err != nil || header == nil {
		return err
	}
	if x.call.answer == nil { // the client need not wait for the first message
		return x.client.SendHeader(answered(header))
	}
	return x.client.SetHeader(answered(header))
}

// upload carries the client's later messages. It does not outlive the client's
// stream; an error there ends the backend's call through the shared context.
func (x *exchange) upload() {
	moved, stop := x.watchIdle()
	defer stop()
	for {
		var frame rpc.Frame
		err := x.client.RecvMsg(&frame)
		if err == nil {
			err = x.sendOn(&frame)
			frame.Free()
			moved()
			if err != nil {
				return // download meets the reason
			}
			continue
		}
		if rpc.Detail(err) != nil {
			x.refuse(err)
			return
		}
		if !errors.Is(err, io.EOF) || x.closeSend() != nil {
			x.call.cancel()
		}
		return
	}
}

func (x *exchange) sendOn(frame *rpc.Frame) error {
	if !x.beginSending() {
		return io.EOF
	}
	x.call.vigil.asked()
	return errors.Join(x.call.stream.SendMsg(frame), x.endSending())
}

func (x *exchange) beginSending() bool {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	x.up.sending = !x.up.closed
	return x.up.sending
}

// endSending makes up for the CloseSend that had to wait.
func (x *exchange) endSending() error {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	x.up.sending, x.up.sent = false, time.Now()
	if x.up.closed {
		return x.call.stream.CloseSend()
	}
	return nil
}

// isIdle tells whether nothing was sent for limit.
func (x *exchange) isIdle(limit time.Duration) bool {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	return !x.up.sending && time.Since(x.up.sent) >= limit
}

// refuse ends a session because of a message that can't be sent on. The backend
// acknowledges what it has; then the client gets to know.
func (x *exchange) refuse(err error) {
	x.up.mu.Lock()
	x.up.refused = err
	x.up.mu.Unlock()
	if x.closeSend() != nil {
		x.call.cancel()
	}
}

func (x *exchange) refusal() error {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	return x.up.refused
}

// closeSend has nothing more sent. It does not block.
func (x *exchange) closeSend() error {
	x.up.mu.Lock()
	defer x.up.mu.Unlock()
	if x.up.closed {
		return nil
	}
	x.up.closed = true
	if x.up.sending {
		return nil // endSending does it
	}
	return x.call.stream.CloseSend()
}

// download carries the backend's messages, beginning with the one at hand.
func (x *exchange) download() error {
	frame := x.call.answer
	if frame != nil {
		if err := x.pass(frame); err != nil || !x.method.ServerStreams {
			return err
		}
	}
	for {
		frame := &rpc.Frame{}
		err := x.call.stream.RecvMsg(frame)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		x.call.vigil.answered()
		if err := x.pass(frame); err != nil {
			return err
		}
		if err := x.pause(); err != nil {
			return err
		}
	}
}

func (x *exchange) pass(frame *rpc.Frame) error {
	defer frame.Free()
	if x.stall != nil {
		x.stall.Reset(x.proxy.config.Stall)
		defer x.stall.Stop()
	}
	return x.client.SendMsg(frame)
}

// outgoing is the client's context with its metadata to be sent on.
func outgoing(ctx context.Context) context.Context {
	incoming, _ := metadata.FromIncomingContext(ctx)
	md := passed(incoming)
	if id := rpc.RequestID(ctx); id != "" {
		md.Set(rpc.RequestIDKey, id) // the client's own may have been refused
	}
	return metadata.NewOutgoingContext(ctx, md)
}
