package owner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// script answers one call after the other; the last answer repeats.
type script struct {
	answers []func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error
	asked   []*clusterv1.LocateRequest
	shards  []stream.Shard
}

func (s *script) Ask(ctx context.Context, shard stream.Shard, f func(context.Context, grpc.ClientConnInterface) error) error {
	s.shards = append(s.shards, shard)
	return f(ctx, s)
}

func (s *script) Invoke(ctx context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	s.asked = append(s.asked, in.(*clusterv1.LocateRequest))
	answer := s.answers[min(len(s.asked), len(s.answers))-1]
	return answer(in.(*clusterv1.LocateRequest), out.(*clusterv1.LocateResponse))
}

func (s *script) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	panic("no streams here")
}

func fails(err error) func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error {
	return func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error { return err }
}

var (
	testID  = stream.ID{1}
	testLog = stream.Incarnation{2}
	name    = stream.Name{Bucket: "bucket", Stream: "s"}
)

func succeeds(_ *clusterv1.LocateRequest, out *clusterv1.LocateResponse) error {
	start := uint64(4)
	out.StreamId, out.Incarnation, out.Epoch = testID[:], testLog[:], 3
	out.TrimSeqNum, out.NextSeqNum, out.LastTimestamp, out.LastIdMillis = 1, 9, 5, 6
	out.StartSeqNum, out.IndexSeqNum = &start, 2
	out.Blocks = []*clusterv1.Block{{
		Incarnation: testLog[:], Slot: 7, Offset: 8, StoredBytes: 9, RawBytes: 10, Codec: 1, Checksum: 11,
		FirstSeqNum: 4, Count: 5, FirstTimestamp: 12, LastTimestamp: 13, Data: []byte("x"),
	}}
	return nil
}

func client(s *script) *Client { return New(Config{Shards: 8, Wait: time.Second}, s) }

func TestLocate_CarriesEveryFact(t *testing.T) {
	s := &script{answers: []func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error{succeeds}}

	got, err := client(s).Locate(t.Context(), live.Query{
		Name: name, Start: live.Start{Kind: live.AtTimestamp, Value: 77}, MaxBytes: 5, Prove: true, ForRead: true})

	require.NoError(t, err)
	require.Equal(t, []stream.Shard{name.Shard(8)}, s.shards)
	in := s.asked[0]
	require.EqualValues(t, 77, in.GetTimestamp())
	require.EqualValues(t, 5, in.GetMaxBytes())
	require.True(t, in.GetProveTail())
	require.True(t, in.GetForRead())
	require.Equal(t, live.Tail{Next: 9, LastTimestamp: 5, LastIDMillis: 6}, got.Tail)
	require.Equal(t, testID, got.Stream)
	require.Equal(t, testLog, got.Log)
	require.EqualValues(t, 3, got.Epoch)
	require.EqualValues(t, 1, got.Trim)
	require.EqualValues(t, 4, got.Start)
	require.False(t, got.StartUnknown)
	require.EqualValues(t, 2, got.Index)
	require.Equal(t, segment.BlockRef{Offset: 8, Stored: 9, Raw: 10, Codec: segment.CodecZstd, Checksum: 11,
		First: 4, Count: 5, FirstTimestamp: 12, LastTimestamp: 13}, got.Blocks[0].BlockRef)
	require.Equal(t, testLog, got.Blocks[0].Log)
	require.EqualValues(t, 7, got.Blocks[0].Slot)
	require.Equal(t, []byte("x"), got.Blocks[0].Data)
}

func TestLocate_AsksAgainWhileNoOwnerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error{
			fails(status.Error(codes.Unavailable, "connection refused")),
			fails(status.Error(codes.DeadlineExceeded, "stuck")),
			fails(rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "no owner")),
			succeeds,
		}}
		_, err := client(s).Locate(t.Context(), live.Query{Name: name})
		require.NoError(t, err)
		require.Len(t, s.asked, 4)
	})
}

func TestLocate_GivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error{
			fails(status.Error(codes.Unavailable, "connection refused"))}}
		began := time.Now()
		_, err := client(s).Locate(t.Context(), live.Query{Name: name})
		require.Equal(t, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, rpc.Detail(err).GetCode())
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestLocate_SaysThatADamagedOwnerRefuses(t *testing.T) {
	damaged := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, "a slot is missing").Under(codes.DataLoss)
	s := &script{answers: []func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error{fails(damaged)}}
	_, err := client(s).Locate(t.Context(), live.Query{Name: name})
	var refused *live.RefusedError
	require.ErrorAs(t, err, &refused)
	require.ErrorIs(t, err, damaged)
	require.Len(t, s.asked, 1)
}

func TestLocate_TellsGoneFromOtherErrors(t *testing.T) {
	for code, gone := range map[samsav1.ErrorCode]bool{
		samsav1.ErrorCode_ERROR_CODE_NOT_FOUND:           true,
		samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED: true,
		samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR:      false,
		samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID: false,
	} {
		s := &script{answers: []func(*clusterv1.LocateRequest, *clusterv1.LocateResponse) error{fails(rpc.Errorf(code, "so"))}}
		_, err := client(s).Locate(t.Context(), live.Query{Name: name})
		var g *live.GoneError
		require.Equal(t, gone, errors.As(err, &g), code)
		require.Equal(t, code, rpc.Detail(err).GetCode())
	}
}
