package server

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/services/stream-writer/internal/naming"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

func invalid(field string, err error) error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%v", err).In(field)
}

// toStatus is the one place where the domain's errors become the API's.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if stated := stateful(err); stated != nil {
		return stated
	}
	code, reason := classify(err)
	if code == samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED {
		return unfinished(err)
	}
	e := rpc.Errorf(code, "%v", err)
	if code == samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR {
		e = e.Under(codes.DataLoss) // logged as an error, and an alert of its own
	}
	if reason != "" {
		e = e.With("reason", reason)
	}
	return e
}

// classify is the table of errors that carry no facts.
func classify(err error) (samsav1.ErrorCode, string) {
	for _, row := range []struct {
		err    error
		code   samsav1.ErrorCode
		reason string
	}{
		{shardlog.ErrProducerForgotten, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, "producer_forgotten"},
		{shardlog.ErrOutcomeUnknown, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, ""},
		{shardlog.ErrDeleting, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "deletion_pending"},
		{catalog.ErrDeleting, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "deletion_pending"},
		{catalog.ErrNotFound, samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, ""},
		{shardlog.ErrProducerTime, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "producer_id"},
		{shardlog.ErrTimestampRequired, samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP, ""},
		{shardlog.ErrTimestampRange, samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP, ""},
		{shardlog.ErrForeignSeqID, samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, ""},
		{shardlog.ErrStreamFull, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "stream_full"},
		{shardlog.ErrSessionFailed, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "session_failed"},
		{shardlog.ErrDied, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "owner_lost"},
		{naming.ErrStopped, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "stopping"},
		{writer.ErrStopped, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "stopping"},
		{shardlog.ErrCatalogBehind, samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, "catalog_behind"},
		{catalog.ErrUnavailable, samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, ""},
		{shardlog.ErrDamaged, samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, "damaged"},
	} {
		if errors.Is(err, row.err) {
			return row.code, row.reason
		}
	}
	return samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED, ""
}

// stateful turns the errors that carry facts.
func stateful(err error) error {
	var notOwner *shardlog.NotOwnerError
	var condition *shardlog.ConditionError
	var gap *shardlog.ProducerGapError
	var exceeded *limit.Exceeded
	switch {
	case errors.As(err, &notOwner):
		return notOwnerStatus(notOwner)
	case errors.As(err, &condition):
		return conditionStatus(condition)
	case errors.As(err, &gap):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "%v: go on at that producer_seq", gap).
			With("reason", "producer_gap").
			With("expected_producer_seq", strconv.FormatUint(gap.Expected, 10)).In("producer_seq")
	case errors.As(err, &exceeded):
		return exceeded.RPC()
	}
	return nil
}

// unfinished turns the ends of contexts, and leaves other errors as they are: none
// of them has a detail, so they say that an append may have happened. A time-out
// that the table has a row for (the catalog's) is not of this kind.
func unfinished(err error) error {
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return status.FromContextError(end).Err()
		}
	}
	return err
}

func conditionStatus(c *shardlog.ConditionError) error {
	e := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "append condition failed: %v", c).With("reason", "condition_failed")
	if c.Failed == shardlog.FencingToken {
		return e.With("fencing_token", c.FencingToken).In(string(c.Failed))
	}
	return e.With("next_seq_num", strconv.FormatUint(uint64(c.NextSeqNum), 10)).
		With("next_seq_id", c.NextSeqID.String()).In(string(c.Failed))
}

// notOwnerStatus tells the caller where to go instead. Nothing has happened.
func notOwnerStatus(e *shardlog.NotOwnerError) error {
	typed := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "%v", e).With("reason", "not_owner")
	detail := &clusterv1.NotOwner{Shard: uint32(e.Shard)}
	if e.Head != nil {
		detail.Owner = ownerOf(*e.Head)
	}
	st, err := typed.GRPCStatus().WithDetails(detail)
	if err != nil {
		return status.Error(codes.Unavailable, e.Error())
	}
	return st.Err()
}

func ownerOf(e segment.ChainEntry) *clusterv1.Owner {
	return &clusterv1.Owner{Epoch: uint64(e.Epoch), Incarnation: e.Owner[:], Instance: e.Instance, Address: e.Address}
}
