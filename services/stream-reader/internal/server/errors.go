package server

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"

	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// How long a client should wait before it comes again.
const (
	retryElsewhere = 100 * time.Millisecond
	retryOverload  = time.Second
)

// translate is the one table from the domain's errors to what clients see.
// Errors that the owner sent, or gRPC itself, pass through.
func translate(err error) error {
	var (
		past     *read.PastTailError
		foreign  *read.ForeignIDError
		overload *read.OverloadError
		exceeded *limit.Exceeded
		damage   *logindex.DamageError
		store    *objstore.Error
		index    *history.UnavailableError
	)
	switch {
	case errors.Is(err, read.ErrStopping):
		return retryIn(retryElsewhere, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "%v", err))
	case errors.Is(err, live.ErrReplaced):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "%v", err)
	case errors.As(err, &past):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%v", past).Under(codes.OutOfRange).
			With("reason", "past_tail").
			With("next_seq_num", strconv.FormatUint(uint64(past.Tail.Next), 10)).
			With("next_seq_id", past.NextID.String())
	case errors.As(err, &foreign):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "%v", foreign).In("seq_id")
	case errors.As(err, &overload):
		return retryIn(retryOverload, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "%v", overload))
	case errors.As(err, &exceeded):
		return exceeded.RPC()
	case errors.As(err, &index): // may have a slot that was collected inside
		return retryIn(retryOverload, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, "the records are in chunks, and the database does not tell in which, for now; try again").Because(err))
	case errors.As(err, &damage):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, "%v", damage).Under(codes.DataLoss).
			With("key", damage.Key).With("offset", strconv.FormatUint(damage.Offset, 10))
	case errors.As(err, &store):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, "the object store failed to %s %q; try again", store.Op, store.Key).Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return unwrapStatus(err)
	}
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, "reading failed").Because(err)
}

// unwrapStatus drops what was wrapped around a status: status.FromError would put
// that text into the message.
func unwrapStatus(err error) error {
	var s interface {
		error
		GRPCStatus() *status.Status
	}
	if errors.As(err, &s) {
		return s
	}
	return err
}

// retryIn adds a hint when to try again.
func retryIn(after time.Duration, err *rpc.Error) error {
	with, detailErr := err.GRPCStatus().WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if detailErr != nil {
		return err
	}
	return with.Err()
}
