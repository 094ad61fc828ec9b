package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// nearest gives the type of an untyped status; false: it is an internal error.
func nearest(code codes.Code) (samsav1.ErrorCode, bool) {
	switch code {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, true
	case codes.NotFound:
		return samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, true
	case codes.AlreadyExists:
		return samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS, true
	case codes.PermissionDenied:
		return samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED, true
	case codes.Unauthenticated:
		return samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, true
	case codes.FailedPrecondition:
		return samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, true
	case codes.ResourceExhausted:
		return samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, true
	case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.Canceled:
		return samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, true
	}
	return samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, false
}

// maybeDone tells whether an untyped error with this code may hide a call that
// took effect: these also come from a connection that broke, a time-out or a
// panic.
func maybeDone(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted,
		codes.Internal, codes.Unknown, codes.DataLoss:
		return true
	}
	return false
}

// isAppend names the methods whose errors must tell "not appended" from "maybe".
func isAppend(method string) bool {
	return method == samsav1.StreamService_Append_FullMethodName || method == samsav1.StreamService_AppendSession_FullMethodName
}

// Typed returns err as it leaves a server: a status with an ErrorDetail that
// carries the request id. Statuses that have a detail keep all they have.
func Typed(err error, method, requestID string) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		sent := *e
		sent.RequestID = firstOf(sent.RequestID, requestID)
		return sent.GRPCStatus().Err()
	}
	st := statusOf(err)
	if detailOf(st) != nil {
		return withRequestID(st, requestID).Err()
	}
	return withType(st, method, requestID).Err()
}

// statusOf is the status in err. Bare context errors count as their codes;
// anything else is unknown, and its text stays here.
func statusOf(err error) *status.Status {
	var coded interface{ GRPCStatus() *status.Status }
	if errors.As(err, &coded) {
		if st := coded.GRPCStatus(); st.Code() != codes.OK {
			return st
		}
	}
	if errors.Is(err, context.Canceled) {
		return status.New(codes.Canceled, "the call was cancelled")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return status.New(codes.DeadlineExceeded, "the call's deadline passed")
	}
	return status.New(codes.Unknown, "")
}

// withType gives an untyped status the nearest type, keeping its code where that
// says more than the type's own, and its other details.
func withType(st *status.Status, method, requestID string) *status.Status {
	code, known := nearest(st.Code())
	e := &Error{Code: code, Message: st.Message(), GRPC: st.Code(), RequestID: requestID}
	switch {
	case isAppend(method) && maybeDone(st.Code()):
		e.Code, e.GRPC = samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, codes.OK
		e.Message = "the append may or may not have taken place"
	case !known:
		e.GRPC = codes.OK
		e.Message = fmt.Sprintf("internal error; the server's log has the cause under request id %s", requestID)
	}
	return withDetails(e.GRPCStatus(), messages(st.Details())...)
}

func messages(details []any) []protoadapt.MessageV1 {
	var kept []protoadapt.MessageV1
	for _, d := range details {
		if m, ok := d.(proto.Message); ok {
			kept = append(kept, protoadapt.MessageV1Of(m))
		}
	}
	return kept
}

// withRequestID fills in the request id of a typed status that has none.
func withRequestID(st *status.Status, requestID string) *status.Status {
	p := st.Proto()
	for i, packed := range p.GetDetails() {
		detail := new(samsav1.ErrorDetail)
		if !packed.MessageIs(detail) || packed.UnmarshalTo(detail) != nil || detail.GetRequestId() != "" {
			continue
		}
		detail.RequestId = &requestID
		if repacked, err := anypb.New(detail); err == nil {
			p.Details[i] = repacked
		}
	}
	return status.FromProto(p)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
