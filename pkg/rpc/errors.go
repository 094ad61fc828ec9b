package rpc

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Domain is the ErrorInfo domain of Samsa's errors.
const Domain = "samsa"

// codeOf is the table: the gRPC code of each error code. A code that is not in it
// is never sent.
func codeOf(code samsav1.ErrorCode) (codes.Code, bool) {
	switch code {
	case samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
		samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID,
		samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP:
		return codes.InvalidArgument, true
	case samsav1.ErrorCode_ERROR_CODE_NOT_FOUND:
		return codes.NotFound, true
	case samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS:
		return codes.AlreadyExists, true
	case samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED:
		return codes.PermissionDenied, true
	case samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED:
		return codes.FailedPrecondition, true
	case samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED:
		return codes.ResourceExhausted, true
	case samsav1.ErrorCode_ERROR_CODE_ACCESS_TOKEN_EXPIRED,
		samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN:
		return codes.Unauthenticated, true
	case samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR:
		return codes.Internal, true
	case samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE,
		samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR,
		samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR,
		samsav1.ErrorCode_ERROR_CODE_ETCD_ERROR,
		samsav1.ErrorCode_ERROR_CODE_NETWORK_ERROR:
		return codes.Unavailable, true
	case samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN:
		return codes.Unknown, true
	}
	return codes.Internal, false
}

// Error is a failure as a client gets to see it.
type Error struct {
	Code     samsav1.ErrorCode
	Message  string
	Field    string            // the request field at fault; "": none
	Metadata map[string]string // the facts, by name
	// GRPC overrides the code that the table gives; codes.OK: by the table.
	GRPC codes.Code
	// RetryAfter is how long the client is asked to wait before it tries again, as
	// google.rpc.RetryInfo says it; 0: nothing is said.
	RetryAfter time.Duration
	// RequestID is filled in by the server that sends the error.
	RequestID string
	// Cause is for logs and errors.Is; it is never sent.
	Cause error
}

// Errorf makes an error of the given code. A %w in format becomes the cause, and
// its text is part of the message: use Because for a cause that clients must not
// read.
func Errorf(code samsav1.ErrorCode, format string, a ...any) *Error {
	err := fmt.Errorf(format, a...)
	return &Error{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// With adds a fact and returns e. What is no UTF-8 in it could not be sent, and all
// of the error's details with it.
func (e *Error) With(key, value string) *Error {
	if e.Metadata == nil {
		e.Metadata = make(map[string]string, 2)
	}
	e.Metadata[key] = strings.ToValidUTF8(value, "\uFFFD")
	return e
}

// In names the request field at fault and returns e.
func (e *Error) In(field string) *Error {
	e.Field = field
	return e
}

// Under overrides the gRPC code and returns e.
func (e *Error) Under(code codes.Code) *Error {
	e.GRPC = code
	return e
}

// Because keeps a cause for the log and returns e.
func (e *Error) Because(err error) *Error {
	e.Cause = err
	return e
}

// After asks the client to wait before it tries again, and returns e.
func (e *Error) After(delay time.Duration) *Error {
	e.RetryAfter = delay
	return e
}

func (e *Error) Error() string {
	text := e.Reason() + ": " + e.Message
	if e.Cause != nil && !strings.Contains(e.Message, e.Cause.Error()) {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Reason is the code's name as ErrorInfo has it, such as NOT_FOUND.
func (e *Error) Reason() string {
	return strings.TrimPrefix(e.Code.String(), "ERROR_CODE_")
}

// GRPCCode is the gRPC code the error travels under.
func (e *Error) GRPCCode() codes.Code {
	if e.GRPC != codes.OK {
		return e.GRPC
	}
	code, _ := codeOf(e.Code)
	return code
}

// GRPCStatus is the error on the wire: the code by the one table, ErrorDetail and
// ErrorInfo as details, and RetryInfo if it says when to try again.
func (e *Error) GRPCStatus() *status.Status {
	st := withDetails(status.New(e.GRPCCode(), e.Message), e.detail(), e.info())
	if e.RetryAfter > 0 {
		st = withDetails(st, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	return st
}

func (e *Error) detail() *samsav1.ErrorDetail {
	d := &samsav1.ErrorDetail{Code: e.Code, Message: e.Message, Metadata: e.Metadata}
	if e.Field != "" {
		d.Field = &e.Field
	}
	if e.RequestID != "" {
		d.RequestId = &e.RequestID
	}
	return d
}

func (e *Error) info() *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: e.Reason(), Domain: Domain, Metadata: e.Metadata}
}

// Detail returns the ErrorDetail that err carries, nil if none.
func Detail(err error) *samsav1.ErrorDetail {
	var e *Error
	if errors.As(err, &e) {
		return e.detail()
	}
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.OK {
		return nil
	}
	return detailOf(st)
}

// FromError turns what a call returned back into the *Error that the server
// sent. It is false for an error without a detail, such as a broken connection.
func FromError(err error) (*Error, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e, true
	}
	d := Detail(err)
	if d == nil {
		return nil, false
	}
	e = fromDetail(d, status.Code(err))
	e.RetryAfter = RetryAfter(err)
	return e, true
}

// RetryAfter is how long err asks to wait before the next attempt; 0: it does not.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

func fromDetail(d *samsav1.ErrorDetail, code codes.Code) *Error {
	e := &Error{
		Code: d.GetCode(), Message: d.GetMessage(), Field: d.GetField(),
		Metadata: maps.Clone(d.GetMetadata()), RequestID: d.GetRequestId(),
	}
	if e.GRPCCode() != code {
		e.GRPC = code
	}
	return e
}

func detailOf(st *status.Status) *samsav1.ErrorDetail {
	for _, d := range st.Details() {
		if detail, ok := d.(*samsav1.ErrorDetail); ok {
			return detail
		}
	}
	return nil
}

// withDetails adds details to st; it keeps st as it is in the one case that
// cannot be (a status OK).
func withDetails(st *status.Status, details ...protoadapt.MessageV1) *status.Status {
	full, err := st.WithDetails(details...)
	if err != nil {
		return st
	}
	return full
}
