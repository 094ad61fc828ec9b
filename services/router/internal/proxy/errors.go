package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// retryDelay is what clients are told to wait after a refusal. A shard finds its
// next owner in about that time.
const retryDelay = 100 * time.Millisecond

// ErrUnreachable is matched by the errors of attempts that sent nothing.
var ErrUnreachable = errors.New("backend can't be reached")

type unreachableError struct {
	instance string
	err      error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("%s can't be reached: %s", e.instance, status.Convert(e.err).Message())
}
func (e *unreachableError) Unwrap() error        { return e.err }
func (e *unreachableError) Is(target error) bool { return target == ErrUnreachable }

// GRPCStatus is that of a connection that could not be made.
func (e *unreachableError) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, e.Error())
}

// nothingHappened tells whether the failed attempt certainly had no effect.
func nothingHappened(err error) bool {
	return errors.Is(err, ErrUnreachable) || IsNotOwner(err) ||
		rpc.Detail(err).GetCode() == samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE
}

// IsNotOwner tells whether a stream-writer refused because it does not own the
// shard.
func IsNotOwner(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if _, ok := detail.(*clusterv1.NotOwner); ok {
			return true
		}
	}
	return false
}

// isBroken tells whether err is no backend's answer but the sign of a connection
// that broke. While the client is there, cancellation is such a sign.
func isBroken(client context.Context, err error) bool {
	s, isStatus := status.FromError(err)
	if !isStatus || rpc.Detail(err) != nil || client.Err() != nil {
		return false
	}
	return s.Code() == codes.Unavailable || s.Code() == codes.Canceled
}

// clientError is what the client gets to see of err.
func (x *exchange) clientError(err error) error {
	client := x.client.Context()
	switch {
	case client.Err() != nil:
		return status.FromContextError(client.Err()).Err()
	case errors.Is(err, ErrUnreachable):
		x.proxy.log.Warn("a service can't be reached", zap.String("role", x.method.Role), zap.Error(err))
		return unavailable(fmt.Sprintf("the %s service can't be reached", x.method.Role)).Err()
	case IsNotOwner(err):
		return unavailable(fmt.Sprintf("the shard of stream %q is moving to another stream-writer: try again", x.shown)).Err()
	case rpc.Detail(err) != nil:
		return err
	case x.method.Changes && mayHaveHappened(client, err):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN,
			"the %s failed after the request was sent; it may or may not have taken place%s", x.method.Role, x.reason(err))
	case isBroken(client, err):
		return unavailable(fmt.Sprintf("lost the connection to the %s%s", x.method.Role, x.reason(err))).Err()
	}
	return err
}

// reason is what clients may read of err: nothing of a connection that broke, of which
// gRPC tells with addresses of ours.
func (x *exchange) reason(err error) string {
	var silent *silentError
	if isBroken(x.client.Context(), err) && !errors.As(err, &silent) {
		x.proxy.log.Warn("lost the connection to a service", zap.String("role", x.method.Role), zap.Error(err))
		return ""
	}
	return ": " + status.Convert(err).Message()
}

// mayHaveHappened tells whether an untyped error leaves the effect of a call
// open. The codes that gRPC itself gives to refusals do not.
func mayHaveHappened(client context.Context, err error) bool {
	if isBroken(client, err) {
		return true
	}
	switch status.Code(err) {
	case codes.Unknown, codes.Internal, codes.DeadlineExceeded, codes.Aborted, codes.DataLoss:
		return true
	}
	return false
}

// unavailable is a typed SERVICE_UNAVAILABLE that says when to try again.
func unavailable(message string) *status.Status {
	s := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "%s", message).GRPCStatus()
	s, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)})
	if err != nil { // only for status OK
		panic(err)
	}
	return s
}
