package auth

import (
	"context"
	"strings"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/samsa-io/samsa/pkg/rpc"
)

// note writes one line for a control operation: who did what to which resource,
// and what came of it. c is nil if the caller is not known.
func (g *Guard) note(ctx context.Context, m *method, c *call, err error) {
	if !m.control {
		return
	}
	fields := []zap.Field{
		zap.String("operation", m.operationName()),
		zap.Stringer("outcome", outcome(err)), rpc.CallField(ctx),
	}
	if detail := rpc.Detail(err); detail != nil {
		fields = append(fields, zap.String("error", strings.TrimPrefix(detail.GetCode().String(), "ERROR_CODE_")))
	}
	if c != nil {
		fields = append(fields, zap.String("token_id", c.token.ID), zap.Bool("root", c.token.Root))
		fields = append(fields, c.fields()...)
	}
	g.config.Audit.Info("control operation", fields...)
}

// operationName is the operation as tokens have it, or the name of a method that is
// for the root token alone.
func (m *method) operationName() string {
	if m.root {
		return m.fullName[strings.LastIndexByte(m.fullName, '/')+1:]
	}
	return strings.TrimPrefix(m.operation.String(), "OPERATION_")
}

// outcome is the code that the caller gets.
func outcome(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	return status.Code(rpc.Typed(err, "", ""))
}

// fields name the resource.
func (c *call) fields() []zap.Field {
	var fields []zap.Field
	if c.method.bucket != "" {
		fields = append(fields, zap.String("bucket", c.bucket))
	}
	if c.method.stream != "" {
		fields = append(fields, zap.String("stream", c.prefixed(c.stream)))
	}
	if c.instance != "" {
		fields = append(fields, zap.String("instance", c.instance))
	}
	if c.method.accessToken != "" {
		fields = append(fields, zap.String("access_token_id", c.accessToken))
	}
	return fields
}
