package rpc

import (
	"context"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/metadata"
)

// RequestIDKey is the metadata key, and HTTP header, of a request id.
const RequestIDKey = "x-request-id"

// maxRequestID is the longest id, in bytes, that is taken from a caller.
const maxRequestID = 128

type requestIDKey struct{}

// WithRequestID puts a request id into ctx; the Dialer's connections send it on.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID is the id of the request that ctx belongs to, "" if there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// CallField is what a log line says of the call that ctx belongs to: request_id,
// and trace_id if the call is traced.
func CallField(ctx context.Context) zap.Field {
	return zap.Inline(zapcore.ObjectMarshalerFunc(func(e zapcore.ObjectEncoder) error {
		if id := RequestID(ctx); id != "" {
			e.AddString("request_id", id)
		}
		if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
			e.AddString("trace_id", sc.TraceID().String())
		}
		return nil
	}))
}

// requestIDFor takes the id that the caller sent, if it is sane, or makes one.
func requestIDFor(ctx context.Context) string {
	sent := metadata.ValueFromIncomingContext(ctx, RequestIDKey)
	if len(sent) > 0 && SaneRequestID(sent[0]) {
		return sent[0]
	}
	return uuid.NewString()
}

// SaneRequestID reports whether id may go into logs and headers as it is: 1 to
// 128 letters, digits and - _ . : / + =.
func SaneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if !saneByte(id[i]) {
			return false
		}
	}
	return true
}

func saneByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=':
		return true
	}
	return false
}

// sendRequestID adds ctx's request id to the outgoing metadata, once.
func sendRequestID(ctx context.Context) context.Context {
	id := RequestID(ctx)
	if id == "" {
		return ctx
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	if len(md.Get(RequestIDKey)) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, RequestIDKey, id)
}
