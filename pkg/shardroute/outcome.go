package shardroute

import (
	"context"
	"errors"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// outcome is what an error says about the call that returned it.
type outcome uint8

const (
	outcomeAnswer   outcome = iota // the owner's answer, or the caller's own error
	outcomeNotOwner                // refused by a writer that does not own the shard
	outcomeNothing                 // nothing has happened, and here nothing will
	outcomeUnclear                 // it was sent, but what became of it is not known
)

func outcomeOf(err error) outcome {
	if err == nil {
		return outcomeAnswer
	}
	if notOwnerDetail(err) != nil {
		return outcomeNotOwner
	}
	var unsent *notSentError
	if errors.As(err, &unsent) {
		return outcomeNothing
	}
	if isExpired(err) {
		return outcomeUnclear
	}
	if d := rpc.Detail(err); d != nil {
		if d.GetCode() == samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE {
			return outcomeNothing
		}
		return outcomeAnswer
	}
	if isTransport(err) {
		return outcomeUnclear
	}
	return outcomeAnswer
}

// isTransport tells whether err comes from a connection and not from a server:
// Samsa's servers put a detail into every error.
func isTransport(err error) bool {
	return status.Code(err) == codes.Unavailable && rpc.Detail(err) == nil
}

func notOwnerDetail(err error) *clusterv1.NotOwner {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		if detail, ok := d.(*clusterv1.NotOwner); ok {
			return detail
		}
	}
	return nil
}

// NotSent marks the error of an attempt that sent nothing.
func NotSent(err error) error { return &notSentError{err} }

type notSentError struct{ error }

func (e *notSentError) Unwrap() error { return e.error }

var errAttemptExpired = errors.New("the owner did not answer in time")

// expiredError is the error of an attempt that took too long.
type expiredError struct{ error }

func (e *expiredError) Error() string   { return errAttemptExpired.Error() }
func (e *expiredError) Unwrap() []error { return []error{errAttemptExpired, e.error} }

func isExpired(err error) bool { return errors.Is(err, errAttemptExpired) }

// describe is err without gRPC's wrapping, for people.
func describe(err error) string {
	if isExpired(err) {
		return errAttemptExpired.Error()
	}
	if st, ok := status.FromError(err); ok {
		return st.Message()
	}
	return err.Error()
}

// tracedConn tells whether a call got as far as to a connection.
type tracedConn struct {
	*grpc.ClientConn
	sent atomic.Bool
}

// Invoke asks gRPC for the peer: there is none if no connection was picked.
func (c *tracedConn) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	var p peer.Peer
	err := c.ClientConn.Invoke(ctx, method, args, reply, append(options[:len(options):len(options)], grpc.Peer(&p))...)
	if err == nil || p.Addr != nil {
		c.sent.Store(true)
	}
	return err
}

// NewStream fails only where no connection was picked.
func (c *tracedConn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.ClientConn.NewStream(ctx, d, method, options...)
	if err == nil {
		c.sent.Store(true)
	}
	return s, err
}
