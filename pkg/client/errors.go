package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Code is the server's machine-readable name of an error.
type Code = samsav1.ErrorCode

// Error is a failed call.
type Error struct {
	Code      Code
	Message   string
	Field     string            // the request field at fault, if one is
	Metadata  map[string]string // the facts of this error, by name
	RequestID string
	GRPC      codes.Code

	// RetryAfter is how long the server asks to be left alone; 0: not said.
	RetryAfter time.Duration

	cause error
	// sent is false if the call never reached a connection.
	sent bool
	// detailed tells that the server itself classified the error.
	detailed bool
	effect   effect // of the call
}

// Sentinels for errors.Is. Each stands for a kind of *Error.
var (
	ErrInvalidArgument    = errors.New("invalid argument")
	ErrNotFound           = errors.New("not found")
	ErrAlreadyExists      = errors.New("already exists")
	ErrPermissionDenied   = errors.New("permission denied")
	ErrUnauthenticated    = errors.New("access token missing, invalid or expired")
	ErrPreconditionFailed = errors.New("precondition failed")
	// ErrConditionFailed is a failed fencing_token, match_seq_num or match_seq_id;
	// see Error.FencingToken, Error.NextSeqNum and Error.NextSeqID.
	ErrConditionFailed = errors.New("append condition failed")
	// ErrProducerGap is a producer_seq that is not the one which the stream
	// expects; see Error.ExpectedProducerSeq.
	ErrProducerGap     = errors.New("producer gap")
	ErrDeletionPending = errors.New("deletion pending")
	ErrPastTail        = errors.New("past the tail")
	// ErrResourceExhausted is a limit, or overload.
	ErrResourceExhausted = errors.New("resource exhausted")
	// ErrUnavailable is a server, or a part of it, that can't be reached.
	ErrUnavailable = errors.New("unavailable")
	// ErrOutcomeUnknown is an append or a change that may or may not have happened.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrProducerForgotten is an append by a producer that the stream may have
	// forgotten. The call that gets it has not appended; one before it may have.
	ErrProducerForgotten = errors.New("producer forgotten")
	ErrInternal          = errors.New("internal error")
)

// Reasons that the server gives beside PRECONDITION_FAILED.
const (
	reasonCondition = "condition_failed"
	reasonGap       = "producer_gap"
	reasonDeletion  = "deletion_pending"
)

// reasonForgotten is given beside OUTCOME_UNKNOWN.
const reasonForgotten = "producer_forgotten"

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Field != "" && !strings.Contains(e.Message, e.Field) {
		fmt.Fprintf(&b, " (field %s)", e.Field)
	}
	fmt.Fprintf(&b, " [%s", codeName(e))
	if e.RequestID != "" {
		fmt.Fprintf(&b, ", request %s", e.RequestID)
	}
	b.WriteByte(']')
	return b.String()
}

func codeName(e *Error) string {
	if e.Code != samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED {
		return strings.TrimPrefix(e.Code.String(), "ERROR_CODE_")
	}
	return e.GRPC.String()
}

// Unwrap gives the cause, such as context.Canceled.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets status.FromError see the gRPC code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.GRPC, e.Message) }

// Is tells whether e is of the kind that a sentinel stands for.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrConditionFailed:
		return e.Metadata["reason"] == reasonCondition
	case ErrProducerGap:
		return e.Metadata["reason"] == reasonGap
	case ErrProducerForgotten:
		return e.Metadata["reason"] == reasonForgotten
	case ErrDeletionPending:
		return e.Metadata["reason"] == reasonDeletion
	case ErrPastTail:
		return e.GRPC == codes.OutOfRange
	case ErrUnavailable:
		return e.GRPC == codes.Unavailable
	}
	return sentinel(e.Code) == target
}

func sentinel(code Code) error {
	switch code {
	case samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID,
		samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP:
		return ErrInvalidArgument
	case samsav1.ErrorCode_ERROR_CODE_NOT_FOUND:
		return ErrNotFound
	case samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS:
		return ErrAlreadyExists
	case samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED:
		return ErrPermissionDenied
	case samsav1.ErrorCode_ERROR_CODE_ACCESS_TOKEN_EXPIRED, samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN:
		return ErrUnauthenticated
	case samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED:
		return ErrPreconditionFailed
	case samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED:
		return ErrResourceExhausted
	case samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR:
		return ErrInternal
	case samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN:
		return ErrOutcomeUnknown
	}
	return nil
}

// FencingToken is the stream's actual token, if e is about that.
func (e *Error) FencingToken() (string, bool) {
	token, ok := e.Metadata["fencing_token"]
	return token, ok
}

// NextSeqNum is the stream's actual tail, if e is about that.
func (e *Error) NextSeqNum() (uint64, bool) { return e.number("next_seq_num") }

// NextSeqID is the id of the stream's actual tail, if e is about that.
func (e *Error) NextSeqID() (string, bool) {
	id, ok := e.Metadata["next_seq_id"]
	return id, ok
}

// ExpectedProducerSeq is how many records the stream has of the producer, if e
// is a gap.
func (e *Error) ExpectedProducerSeq() (uint64, bool) { return e.number("expected_producer_seq") }

func (e *Error) number(key string) (uint64, bool) {
	n, err := strconv.ParseUint(e.Metadata[key], 10, 64)
	return n, err == nil
}

// effect says what a call may leave behind when it fails or its reply is lost.
type effect uint8

const (
	readOnly effect = iota // nothing, or nothing that a second call changes
	appends                // records, if the outcome is unknown
	changes                // a change of the catalog, in more cases: see nothingHappened
)

// asError gives what came out of a gRPC call its type. sent is whether the call
// reached a connection.
func asError(ctx context.Context, err error, effect effect, sent bool) *Error {
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	st := status.Convert(err)
	e := &Error{Message: st.Message(), GRPC: st.Code(), sent: sent, effect: effect, cause: ctx.Err()}
	if errors.Is(err, io.EOF) {
		e.GRPC, e.Message = codes.Unavailable, "the server ended the call early"
	}
	for _, detail := range st.Details() {
		e.add(detail)
	}
	if !e.detailed {
		e.classify()
	}
	return e
}

func (e *Error) add(detail any) {
	switch d := detail.(type) {
	case *samsav1.ErrorDetail:
		e.detailed = true
		e.Code, e.Field, e.Metadata, e.RequestID = d.GetCode(), d.GetField(), d.GetMetadata(), d.GetRequestId()
		if d.GetMessage() != "" {
			e.Message = d.GetMessage()
		}
	case *errdetails.RetryInfo:
		e.RetryAfter = d.GetRetryDelay().AsDuration()
	}
}

// classify names an error that came without a detail: from gRPC itself, from a
// proxy, or from a broken connection.
func (e *Error) classify() {
	e.Code = bareCode(e.GRPC)
	switch {
	case e.Code != samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED:
	case e.effect != readOnly && e.sent:
		e.Code = samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN
	case e.GRPC == codes.Unavailable:
		e.Code = samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE
	}
}

// bareCode names the gRPC codes that mean that nothing has happened, whoever
// sends them.
func bareCode(code codes.Code) Code {
	switch code {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT
	case codes.NotFound:
		return samsav1.ErrorCode_ERROR_CODE_NOT_FOUND
	case codes.AlreadyExists:
		return samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS
	case codes.PermissionDenied:
		return samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED
	case codes.Unauthenticated:
		return samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN
	case codes.FailedPrecondition:
		return samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED
	}
	return samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED
}

// nothingHappened tells whether the failed call surely left no trace. A change may
// fail half-way, at the database or at an owner, so for it only refusals tell.
func (e *Error) nothingHappened() bool {
	switch e.Code {
	case samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN:
		return !e.sent
	case samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED:
		return true
	}
	return !e.sent || e.effect != changes || bareCode(e.GRPC) != samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED
}

// settles tells whether a producer's batch that gets this answer has not been
// appended by an earlier attempt either: the server looks for it first.
func (e *Error) settles() bool {
	return errors.Is(e, ErrConditionFailed) || errors.Is(e, ErrProducerGap)
}

// unsure is the error for the whole of several attempts, of which an earlier one
// may have succeeded.
func (e *Error) unsure() *Error {
	u := *e
	u.Code, u.sent = samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, true
	return &u
}

// transient tells whether the same call may well succeed later.
func (e *Error) transient() bool {
	switch {
	case e.cause != nil, e.GRPC == codes.FailedPrecondition:
		return false
	case e.Code == samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, e.GRPC == codes.Unavailable:
		return true
	case e.Code == samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED:
		return e.RetryAfter > 0
	case e.detailed:
		return false
	}
	// Without a detail these come from a connection that broke or was reset.
	switch e.GRPC {
	case codes.Unknown, codes.Internal, codes.Canceled, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return false
}

// A ProtocolError is a server that broke the contract. The client stops rather
// than hand out what it can't vouch for.
type ProtocolError struct{ Message string }

func (e *ProtocolError) Error() string { return "the server broke the protocol: " + e.Message }

func protocolErrorf(format string, a ...any) error {
	return &ProtocolError{Message: fmt.Sprintf(format, a...)}
}
