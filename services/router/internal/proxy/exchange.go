package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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

	sending sync.Mutex // held to send to the backend or to end that
	drained bool       // nothing more is sent; guarded by sending
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
	x.first.Free()
	defer x.endWithProxy()()
	err := x.forward()
	if x.isDrained() && (err == nil || !x.method.ClientStreams) {
		return unavailable("the router is stopping: go on with another").Err()
	}
	if err != nil {
		return x.clientError(err)
	}
	return nil
}

// endWithProxy ends a session when the proxy drains.
func (x *exchange) endWithProxy() (stop func() bool) {
	if !x.method.ClientStreams && !x.method.ServerStreams {
		return func() bool { return true }
	}
	return context.AfterFunc(x.proxy.live, func() {
		x.sending.Lock()
		defer x.sending.Unlock()
		x.drained = true
		if x.method.ClientStreams {
			_ = x.call.stream.CloseSend() // the backend acknowledges what it has
			return
		}
		x.call.cancel()
	})
}

func (x *exchange) isDrained() bool {
	x.sending.Lock()
	defer x.sending.Unlock()
	return x.drained
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
		return unavailable(fmt.Sprintf("stream %q has no stream-writer that can be reached: %s", x.shown, status.Convert(err).Message())).Err()
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
	answer *rpc.Frame
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
	defer x.reportIfStuck(backend)()
	// A failure to send shows, with its reason, when the answer is awaited.
	if stream.SendMsg(x.first) == nil && !x.method.ClientStreams {
		_ = stream.CloseSend()
	}
	c := &call{stream: stream, cancel: cancel}
	return c, x.awaitAnswer(c)
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

// reportIfStuck reports the backend of a stream that is slow to answer, until
// the returned function is called.
func (x *exchange) reportIfStuck(backend Backend) (stop func() bool) {
	if x.method.Target != route.ShardOwner {
		return func() bool { return true }
	}
	return time.AfterFunc(x.proxy.config.SlowAnswer, func() { x.proxy.backends.Stuck(x.name, backend) }).Stop
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
	return nil
}

// forward carries messages both ways until the backend ends the call.
func (x *exchange) forward() error {
	if err := x.sendHeader(); err != nil {
		return err
	}
	if x.method.ClientStreams {
		x.proxy.uploads.Go(x.upload)
	}
	err := x.download()
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
	for {
		var frame rpc.Frame
		err := x.client.RecvMsg(&frame)
		if err == nil {
			err = x.sendOn(&frame)
			frame.Free()
			if err != nil {
				return // download meets the reason
			}
			continue
		}
		if !errors.Is(err, io.EOF) || x.closeSend() != nil {
			x.call.cancel()
		}
		return
	}
}

func (x *exchange) sendOn(frame *rpc.Frame) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	if x.drained {
		return io.EOF
	}
	return x.call.stream.SendMsg(frame)
}

func (x *exchange) closeSend() error {
	x.sending.Lock()
	defer x.sending.Unlock()
	if x.drained {
		return nil
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
		if err := x.pass(frame); err != nil {
			return err
		}
	}
}

func (x *exchange) pass(frame *rpc.Frame) error {
	defer frame.Free()
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
