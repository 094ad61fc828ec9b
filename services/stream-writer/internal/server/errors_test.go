package server

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

func TestToStatus_LeavesNothingUnknownThatIsKnown(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want samsav1.ErrorCode
	}{
		{fmt.Errorf("find: %w: %w", catalog.ErrUnavailable, context.DeadlineExceeded), samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR},
		{shardlog.ErrDied, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE},
		{writer.ErrStopped, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE},
		{fmt.Errorf("%w: log/7: %w", shardlog.ErrOutcomeUnknown, shardlog.ErrDamaged), samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN},
		{fmt.Errorf("log/7: %w", shardlog.ErrDamaged), samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR},
	} {
		require.Equal(t, tc.want, rpc.Detail(toStatus(tc.err)).GetCode(), "%v", tc.err)
	}
	require.Equal(t, codes.DataLoss, status.Code(toStatus(shardlog.ErrDamaged)))
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		require.Nil(t, rpc.Detail(toStatus(err)), "whoever stops waiting does not know")
	}
	require.Equal(t, codes.DeadlineExceeded, status.Code(toStatus(context.DeadlineExceeded)))
}
