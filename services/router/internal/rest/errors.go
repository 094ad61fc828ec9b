package rest

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// httpError is an error with an HTTP status of its own.
type httpError struct {
	code int
	err  *rpc.Error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

func invalid(format string, a ...any) *rpc.Error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, format, a...)
}

func notFound(r *http.Request) error {
	return &httpError{http.StatusNotFound, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND,
		"there is no %s here; %s lists the paths", r.URL.EscapedPath(), documentPath)}
}

func wrongMethod(r *http.Request, allowed string) error {
	return &httpError{http.StatusMethodNotAllowed, invalid("%s is no method of %s: it has %s", r.Method, r.URL.EscapedPath(), allowed)}
}

// The settings of limits that are met here.
const (
	bodyLimit = "router.max_body_bytes"
	urlLimit  = "router.max_url_bytes"
)

func tooLarge(limit int64) error {
	return &httpError{http.StatusRequestEntityTooLarge, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"the request body has more than %d bytes, which is %s; split the batch", limit, bodyLimit).
		With("reason", "body_too_large").With("limit", bodyLimit).With("limit_bytes", strconv.FormatInt(limit, 10))}
}

func urlTooLong(limit int) error {
	return &httpError{http.StatusRequestURITooLong, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"the URL has more than %d bytes, which is %s", limit, urlLimit).
		With("reason", "url_too_long").With("limit", urlLimit).With("limit_bytes", strconv.Itoa(limit))}
}

func tooManyObjects() error {
	return &httpError{http.StatusRequestEntityTooLarge, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED,
		"the request body has more than %d JSON objects, and no batch needs as many; split it", maxObjects).
		With("reason", "body_too_large").With("limit_objects", strconv.Itoa(maxObjects))}
}

// typed gives err a detail, if it has none, and the request's id.
func (h *Handler) typed(r *http.Request, err error) error {
	var malformed *runtime.HTTPStatusError // of a path that can't be decoded
	if errors.As(err, &malformed) {
		err = invalid("%s", malformed.Err)
	}
	s, ok := status.FromError(err)
	if ok && rpc.Detail(err) == nil {
		// protojson begins its messages with its name and a space that varies.
		message := strings.TrimLeft(strings.TrimPrefix(s.Message(), "proto:"), " \u00a0")
		err = status.Error(s.Code(), message)
	}
	if !ok && rpc.Detail(err) == nil {
		h.log.Error("request failed", rpc.CallField(r.Context()), zap.Error(err))
	}
	return rpc.Typed(err, requestOf(r).operation.rpc, rpc.RequestID(r.Context()))
}

// httpStatus is the HTTP status of an error that became out: the gateway's
// mapping, but for failed conditions, what is too large and reads past the tail.
func httpStatus(err, out error) int {
	var own *httpError
	switch reason := rpc.Detail(out).GetMetadata()["reason"]; {
	case errors.As(err, &own):
		return own.code
	case reason == "condition_failed":
		return http.StatusPreconditionFailed
	case reason == "message_too_large":
		return http.StatusRequestEntityTooLarge
	case status.Code(out) == codes.OutOfRange:
		return http.StatusRequestedRangeNotSatisfiable
	}
	return runtime.HTTPStatusFromCode(status.Code(out))
}

// fail answers a request with an error.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	out := h.typed(r, err)
	code := httpStatus(err, out)
	body, marshalErr := h.json.Marshal(rpc.Detail(out))
	if marshalErr != nil { // invalid UTF-8 in a message
		body = []byte(`{"code":"ERROR_CODE_INTERNAL_ERROR","message":"the error can't be shown"}`)
	}
	header := w.Header()
	header.Del("Transfer-Encoding")
	header.Set("Content-Type", jsonType)
	header.Set("Cache-Control", "no-store")
	switch code {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(retryAfterSecs(out)))
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // JSON under its type, which identify forbids to guess at
}

// retryAfterSecs is the delay that the error asks for, rounded up, or a second.
func retryAfterSecs(err error) int {
	return max(1, int(math.Ceil(rpc.RetryAfter(err).Seconds())))
}
