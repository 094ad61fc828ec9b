package auth

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

var (
	// ErrMissing says that a call brings no access token.
	ErrMissing = errors.New("the call brings no access token")
	// ErrMalformed says that what a call brings is no access token.
	ErrMalformed = errors.New("the access token is malformed")
	// ErrInvalid says that an access token is unknown or was revoked: which of
	// them is not told.
	ErrInvalid = errors.New("the access token is not valid")
	// ErrExpired says that an access token was valid once.
	ErrExpired = errors.New("the access token has expired")
	// ErrUnavailable says that an access token can't be verified now.
	ErrUnavailable = errors.New("access tokens can't be verified now")
)

// retryDelay is what callers are told to wait while tokens can't be verified.
const retryDelay = time.Second

// refusal is what the caller gets to see of one of this package's errors. It says
// that nothing has happened, and never repeats the token.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrMissing):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN,
			"%v: send it as authorization: Bearer <token>", ErrMissing).With("reason", "missing")
	case errors.Is(err, ErrMalformed):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN,
			"%v: send it whole, as authorization: Bearer <token>", ErrMalformed).With("reason", "malformed")
	case errors.Is(err, ErrInvalid):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN,
			"%v: it was revoked, or never issued here", ErrInvalid).With("reason", "invalid")
	case errors.Is(err, ErrExpired):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_ACCESS_TOKEN_EXPIRED, "%v: ask for a new one", ErrExpired).With("reason", "expired")
	case errors.Is(err, ErrUnavailable):
		return unavailable()
	}
	return err
}

func unavailable() error {
	s := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE,
		"%v: the catalog database does not answer; try again", ErrUnavailable).With("reason", "auth_unavailable").GRPCStatus()
	with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)})
	if err != nil { // only for status OK
		return s.Err()
	}
	return with.Err()
}

// denied is the same for what exists and what does not.
func denied(op samsav1.Operation) error {
	name := strings.TrimPrefix(op.String(), "OPERATION_")
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED,
		"the scope of the access token does not cover this call (%s)", strings.ToLower(strings.ReplaceAll(name, "_", "-"))).
		With("operation", name)
}

// notRoot says that a call is for operators.
func notRoot() error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED, "this is for the root token alone").With("reason", "not_root")
}

// rewrite applies f to every text of an error that the client gets to see.
func rewrite(err error, f func(string) string) error {
	var own *rpc.Error
	if errors.As(err, &own) {
		out := *own
		out.Message, out.Metadata = f(own.Message), rewriteValues(own.Metadata, f)
		return &out
	}
	s, ok := status.FromError(err)
	if !ok {
		return err // its text stays in the log
	}
	p := s.Proto()
	p.Message = f(p.GetMessage())
	for i, packed := range p.GetDetails() {
		if changed := rewriteDetail(packed, f); changed != nil {
			p.Details[i] = changed
		}
	}
	return status.FromProto(p).Err()
}

// rewriteDetail returns nil for details that hold no text of ours.
func rewriteDetail(packed *anypb.Any, f func(string) string) *anypb.Any {
	m, err := packed.UnmarshalNew()
	if err != nil {
		return nil
	}
	switch d := m.(type) {
	case *samsav1.ErrorDetail:
		d.Message, d.Metadata = f(d.GetMessage()), rewriteValues(d.GetMetadata(), f)
	case *errdetails.ErrorInfo:
		d.Metadata = rewriteValues(d.GetMetadata(), f)
	default:
		return nil
	}
	return pack(m)
}

func pack(m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	if err != nil {
		return nil
	}
	return packed
}

func rewriteValues(values map[string]string, f func(string) string) map[string]string {
	if values == nil {
		return nil
	}
	out := make(map[string]string, len(values))
	for key, value := range values {
		out[key] = f(value)
	}
	return out
}
