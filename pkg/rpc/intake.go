package rpc

import (
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// What a call may bring is checked here: its headers, and the size and shape of
// each message, before memory is spent on decoding it.
//
// gRPC has no place for that. It decodes the request of a unary call before any
// interceptor runs, and answers a failure with a status of its own. So the codec
// accepts what it can't take, as an empty message, and leaves word of it in
// refusals, where the interceptor finds it before the handler sees the message.

const (
	// hardReceive is how many times the size of a message's limit gRPC receives
	// before it gives up with a status of its own. Up to there the refusal has a type.
	// What is received beyond the limit is dropped undecoded; the router asks for no
	// message before it knows the caller's token.
	hardReceive = 8
	// hardHeaders is the same for headers. Clients are told this limit, and do not
	// send more; who does all the same has the call reset.
	hardHeaders = 16
	// headerOverhead is what a header counts for beside its name and value, as in
	// HTTP/2.
	headerOverhead = 32
)

// The settings of the limits that are met here.
const (
	ReceiveLimit = "server.max_receive_bytes"
	HeaderLimit  = "server.max_header_bytes"
)

// refusals are the messages that a codec could not take, with the reasons.
type refusals struct {
	waiting   atomic.Int64
	byMessage sync.Map // message → error
}

func (r *refusals) leave(message any, err error) {
	r.byMessage.Store(message, err)
	r.waiting.Add(1)
}

// take returns why a message could not be taken; nil: it was.
func (r *refusals) take(message any) error {
	if r.waiting.Load() == 0 {
		return nil
	}
	err, ok := r.byMessage.LoadAndDelete(message)
	if !ok {
		return nil
	}
	r.waiting.Add(-1)
	return err.(error)
}

// intakeCodec is a server's codec.
type intakeCodec struct {
	pooledCodec
	edge *edge
}

func newIntakeCodec(pool mem.BufferPool, e *edge) encoding.CodecV2 {
	return intakeCodec{pooledCodec{pool}, e}
}

// Unmarshal fails only for what is no message at all.
func (c intakeCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, err := message(v)
	if err != nil {
		return err
	}
	if data.Len() > c.edge.maxMessage {
		c.edge.refusals.leave(v, c.edge.tooLarge())
		return nil
	}
	whole := data.MaterializeToBuffer(c.pool)
	defer whole.Free()
	if err := checkShape(m, whole.ReadOnlyData()); err != nil {
		c.edge.refusals.leave(v, err)
		return nil
	}
	if err := unmarshal(whole.ReadOnlyData(), m); err != nil {
		c.edge.refusals.leave(v, malformed(err))
	}
	return nil
}

func malformed(err error) *Error {
	return Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "the request is no message of this method").
		With("reason", "malformed").Because(err)
}

func (e *edge) tooLarge() *Error {
	e.refused(ReceiveLimit)
	return Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"the message is too large: %s allows %d bytes; split the batch", ReceiveLimit, e.maxMessage).
		With("reason", "message_too_large").With("limit", ReceiveLimit).With("limit_bytes", strconv.Itoa(e.maxMessage))
}

// received is what RecvMsg of a stream comes to. After an error of gRPC's own the
// client has its status already; the handler still gets one with a type.
func (e *edge) received(message any, err error) error {
	if err == nil {
		if f, ok := message.(*Frame); ok && f.Len() > e.maxMessage {
			f.Free()
			return e.tooLarge()
		}
		return e.refusals.take(message)
	}
	if status.Code(err) == codes.ResourceExhausted {
		return e.tooLarge()
	}
	return err
}

// checkHeaders refuses metadata that is larger than it may be.
func (e *edge) checkHeaders(md metadata.MD) error {
	if size := HeaderBytes(md); size > e.maxHeaders {
		e.refused(HeaderLimit)
		return HeadersTooLarge(size, e.maxHeaders)
	}
	return nil
}

// HeadersTooLarge refuses a call whose headers have more bytes than
// server.max_header_bytes.
func HeadersTooLarge(size, limit int) *Error {
	return Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"the headers have %d bytes: %s allows %d", size, HeaderLimit, limit).
		With("reason", "headers_too_large").With("limit", HeaderLimit).With("limit_bytes", strconv.Itoa(limit))
}

// HeaderBytes is what headers count for: each its name, its value and 32 bytes.
func HeaderBytes(headers map[string][]string) int {
	size := 0
	for name, values := range headers {
		for _, value := range values {
			size += len(name) + len(value) + headerOverhead
		}
	}
	return size
}
