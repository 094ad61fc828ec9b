package contract

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// failure is an error as the contract has it, through either door.
type failure struct {
	code   samsav1.ErrorCode
	grpc   codes.Code
	http   int
	reason string // in the metadata; "": not looked at
}

var (
	invalid         = failure{samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, codes.InvalidArgument, http.StatusBadRequest, ""}
	badSeqID        = failure{samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, codes.InvalidArgument, http.StatusBadRequest, ""}
	badTimestamp    = failure{samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP, codes.InvalidArgument, http.StatusBadRequest, ""}
	notFound        = failure{samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, codes.NotFound, http.StatusNotFound, ""}
	exists          = failure{samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS, codes.AlreadyExists, http.StatusConflict, ""}
	deletionPending = failure{samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, codes.FailedPrecondition, http.StatusBadRequest, "deletion_pending"}
	conditionFailed = failure{samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, codes.FailedPrecondition, http.StatusPreconditionFailed, "condition_failed"}
	producerGap     = failure{samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, codes.FailedPrecondition, http.StatusBadRequest, "producer_gap"}
	pastTail        = failure{samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, codes.OutOfRange, http.StatusRequestedRangeNotSatisfiable, "past_tail"}
	tooLarge        = failure{samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, codes.ResourceExhausted, http.StatusRequestEntityTooLarge, ""}
	forgotten       = failure{samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, codes.Unknown, http.StatusInternalServerError, "producer_forgotten"}
)

// requireFailure checks an error in full and returns its detail.
func requireFailure(t testing.TB, want failure, err error) *samsav1.ErrorDetail {
	t.Helper()
	require.Error(t, err)
	detail := detailOf(t, err)
	require.Equal(t, want.code, detail.GetCode(), "%v", err)
	var overHTTP *httpError
	if errors.As(err, &overHTTP) {
		require.Equal(t, want.http, overHTTP.status, "%v", err)
		require.Equal(t, overHTTP.requestID, detail.GetRequestId(), "the header X-Request-Id has the id of the detail")
	} else {
		require.Equal(t, want.grpc, status.Code(err), "%v", err)
		requireInfo(t, want, err)
	}
	if want.reason != "" {
		require.Equal(t, want.reason, detail.GetMetadata()["reason"], "%v", err)
	}
	require.NotEmpty(t, detail.GetMessage())
	require.NotEmpty(t, detail.GetRequestId())
	return detail
}

// detailOf is the ErrorDetail that every failure carries.
func detailOf(t testing.TB, err error) *samsav1.ErrorDetail {
	t.Helper()
	var overHTTP *httpError
	if errors.As(err, &overHTTP) {
		return overHTTP.detail
	}
	for _, detail := range status.Convert(err).Details() {
		if d, ok := detail.(*samsav1.ErrorDetail); ok {
			return d
		}
	}
	require.FailNow(t, "an error without an ErrorDetail", "%v", err)
	return nil
}

// requireInfo checks the google.rpc.ErrorInfo that goes beside the detail.
func requireInfo(t testing.TB, want failure, err error) {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			require.Equal(t, strings.TrimPrefix(want.code.String(), "ERROR_CODE_"), info.GetReason())
			require.NotEmpty(t, info.GetDomain())
			return
		}
	}
	require.FailNow(t, "an error without a google.rpc.ErrorInfo", "%v", err)
}

// is tells whether err is a failure, without failing the test.
func (f failure) is(err error) bool {
	var overHTTP *httpError
	if errors.As(err, &overHTTP) {
		return overHTTP.status == f.http && overHTTP.detail.GetCode() == f.code &&
			(f.reason == "" || overHTTP.detail.GetMetadata()["reason"] == f.reason)
	}
	if status.Code(err) != f.grpc {
		return false
	}
	for _, detail := range status.Convert(err).Details() {
		if d, ok := detail.(*samsav1.ErrorDetail); ok {
			return d.GetCode() == f.code && (f.reason == "" || d.GetMetadata()["reason"] == f.reason)
		}
	}
	return false
}
