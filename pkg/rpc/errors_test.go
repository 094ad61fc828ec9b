package rpc

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

const (
	appendMethod = samsav1.StreamService_Append_FullMethodName
	readMethod   = samsav1.StreamService_Read_FullMethodName
)

func TestError_EveryCodeThatIsSentHasItsGRPCCode(t *testing.T) {
	neverSent := map[samsav1.ErrorCode]bool{
		samsav1.ErrorCode_ERROR_CODE_UNSPECIFIED:      true,
		samsav1.ErrorCode_ERROR_CODE_BUCKET_NOT_EMPTY: true,
		samsav1.ErrorCode_ERROR_CODE_STREAM_NOT_EMPTY: true,
	}
	for number := range samsav1.ErrorCode_name {
		code := samsav1.ErrorCode(number)
		_, has := codeOf(code)
		require.NotEqual(t, neverSent[code], has, code)
	}
}

func TestError_CarriesDetailAndInfo(t *testing.T) {
	err := Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "the fencing token is %q", "b").
		With("reason", "condition_failed").With("fencing_token", "b").In("fencing_token")
	st := err.GRPCStatus()
	require.Equal(t, codes.FailedPrecondition, st.Code())
	require.Equal(t, `the fencing token is "b"`, st.Message())
	require.Len(t, st.Details(), 2)
	info, ok := st.Details()[1].(*errdetails.ErrorInfo)
	require.True(t, ok)
	require.Equal(t, "samsa", info.GetDomain())
	require.Equal(t, "PRECONDITION_FAILED", info.GetReason())
	require.Equal(t, "b", info.GetMetadata()["fencing_token"])

	detail := Detail(st.Err())
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, detail.GetCode())
	require.Equal(t, "fencing_token", detail.GetField())
	require.Equal(t, "condition_failed", detail.GetMetadata()["reason"])

	back, ok := FromError(fmt.Errorf("append: %w", st.Err()))
	require.True(t, ok)
	require.Equal(t, err, back)
}

func TestError_CanTravelUnderAnotherCode(t *testing.T) {
	err := Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "past the tail").Under(codes.OutOfRange)
	require.Equal(t, codes.OutOfRange, err.GRPCStatus().Code())
	back, _ := FromError(err.GRPCStatus().Err())
	require.Equal(t, codes.OutOfRange, back.GRPC)
}

func TestError_KeepsItsCauseFromClients(t *testing.T) {
	cause := errors.New("password of db-7 is wrong")
	err := Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, "the catalog is unavailable").Because(cause)
	require.ErrorIs(t, err, cause)
	require.Contains(t, err.Error(), "db-7")
	require.NotContains(t, err.GRPCStatus().String(), "db-7")
}

func TestDetail_IsNilForOthersErrors(t *testing.T) {
	require.Nil(t, Detail(nil))
	require.Nil(t, Detail(errors.New("x")))
	require.Nil(t, Detail(status.Error(codes.Unavailable, "connection refused")))
	_, ok := FromError(context.Canceled)
	require.False(t, ok)
}

func TestTyped_GivesEveryErrorADetail(t *testing.T) {
	internal, unknown := samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN
	unavailable, invalid := samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT
	for _, c := range []struct {
		err         error
		read, write samsav1.ErrorCode
		readCode    codes.Code
	}{
		{errors.New("secret"), internal, unknown, codes.Internal},
		{status.Error(codes.Internal, "secret"), internal, unknown, codes.Internal},
		{status.Error(codes.DataLoss, "secret"), internal, unknown, codes.Internal},
		{status.Error(codes.Unavailable, "secret"), unavailable, unknown, codes.Unavailable},
		{context.DeadlineExceeded, unavailable, unknown, codes.DeadlineExceeded},
		{fmt.Errorf("secret: %w", context.Canceled), unavailable, unknown, codes.Canceled},
		{status.Error(codes.InvalidArgument, "no"), invalid, invalid, codes.InvalidArgument},
		{status.Error(codes.Unimplemented, "no"), invalid, invalid, codes.Unimplemented},
		{Errorf(unavailable, "no owner"), unavailable, unavailable, codes.Unavailable},
	} {
		read, write := Typed(c.err, readMethod, "r1"), Typed(c.err, appendMethod, "r1")
		require.Equal(t, c.read, Detail(read).GetCode(), c.err)
		require.Equal(t, c.readCode, status.Code(read), c.err)
		require.Equal(t, "r1", Detail(read).GetRequestId(), c.err)
		require.Equal(t, c.write, Detail(write).GetCode(), c.err)
		if c.write == unknown {
			require.Equal(t, codes.Unknown, status.Code(write), c.err)
			require.NotContains(t, write.Error(), "secret")
		}
		if c.read == internal {
			require.NotContains(t, read.Error(), "secret")
		}
	}
	require.NoError(t, Typed(nil, readMethod, "r1"))
}

func TestTyped_KeepsWhatHasATypeAndOtherDetails(t *testing.T) {
	first := Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "no bucket").GRPCStatus()
	passed := Typed(first.Err(), readMethod, "r2")
	require.Equal(t, "r2", Detail(passed).GetRequestId())
	require.Equal(t, codes.NotFound, status.Code(passed))
	require.Len(t, status.Convert(passed).Details(), 2)

	again := Typed(passed, readMethod, "r3")
	require.Equal(t, "r2", Detail(again).GetRequestId(), "the id of the server that failed stays")

	bare, err := status.New(codes.Unavailable, "not mine").WithDetails(&errdetails.ResourceInfo{ResourceName: "shard"})
	require.NoError(t, err)
	require.Len(t, status.Convert(Typed(bare.Err(), readMethod, "r4")).Details(), 3)
}
