package server_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/internal/server"
)

func TestRead_IsHeldToTheRateOfItsStream(t *testing.T) {
	r := newLimitedRig(t, "inproc:reader", server.Limits{Rates: limit.NewRates(limit.Rate{Records: 1}, "stream_reader.stream", nil)})
	s, other := r.create(0), r.create(1)
	r.cluster.Append(s, false, slices.Repeat([]fake.Record{body(3)}, 100)) // a debt that is not gone soon
	_, err := r.client.Read(t.Context(), readOf(s))
	require.NoError(t, err)
	_, err = r.client.Read(t.Context(), readOf(s))
	d := requireError(t, err, codes.ResourceExhausted, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED)
	require.Equal(t, "stream_reader.stream_records_per_sec", d.GetMetadata()["limit"])
	require.Greater(t, rpc.RetryAfter(err), time.Minute)
	_, err = r.client.Read(t.Context(), readOf(other))
	require.NoError(t, err)
}

func TestSession_IsSlowedDownToTheRateOfItsStream(t *testing.T) {
	r := newLimitedRig(t, "inproc:reader", server.Limits{Rates: limit.NewRates(limit.Rate{Records: 3}, "stream_reader.stream", nil)})
	s := r.create(0)
	in := sessionOf(s)
	in.Start = &samsav1.ReadSessionRequest_SeqNum{SeqNum: 0}
	begun := time.Now()
	session, err := r.client.ReadSession(t.Context(), in)
	require.NoError(t, err)
	for tail := (*samsav1.Tail)(nil); tail == nil; {
		response, err := session.Recv()
		require.NoError(t, err)
		tail = response.GetTail()
	}
	require.GreaterOrEqual(t, time.Since(begun), 300*time.Millisecond, "three records empty the bucket")
}

func TestSession_PlacesOfAStreamAreBounded(t *testing.T) {
	r := newLimitedRig(t, "inproc:reader", server.Limits{
		Subscribers: limit.NewPlaces(1, "read sessions of one stream at a reader", "stream_reader.stream_sessions", nil)})
	s, other := r.create(0), r.create(1)
	open := func(ctx context.Context, in *samsav1.ReadSessionRequest) error {
		session, err := r.client.ReadSession(ctx, in)
		require.NoError(t, err)
		_, err = session.Recv()
		return err
	}
	ctx, leave := context.WithCancel(t.Context())
	require.NoError(t, open(ctx, sessionOf(s)))
	d := requireError(t, open(t.Context(), sessionOf(s)), codes.ResourceExhausted, samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED)
	require.Equal(t, "stream_reader.stream_sessions", d.GetMetadata()["limit"])
	require.NoError(t, open(t.Context(), sessionOf(other)))
	leave()
	require.Eventually(t, func() bool { return open(t.Context(), sessionOf(s)) == nil }, 10*time.Second, 10*time.Millisecond)
}
