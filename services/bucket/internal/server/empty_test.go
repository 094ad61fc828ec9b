package server_test

import (
	"testing"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func (w *writer) setEmpty() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.empty = true
}

func (w *writer) timesAsked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// untilAsked makes rounds until the owner was asked again.
func (s *service) untilAsked(t *testing.T) {
	t.Helper()
	before := s.writer.timesAsked()
	require.Eventually(t, func() bool {
		require.NoError(t, s.finisher.Round(t.Context()))
		return s.writer.timesAsked() > before
	}, time.Minute, 20*time.Millisecond)
}

func TestEmptyStream_IsDeletedOnceItsOwnerSaysThatItIs(t *testing.T) {
	s := start(t, minimum)
	others := map[string]settings.Stream{"stays": {}, "young": {DeleteOnEmptySeconds: new(uint64(3600))}}
	for name, config := range others {
		_, err := s.catalog.CreateStream(t.Context(), stream.Name{Bucket: "logs", Stream: name}, config)
		require.NoError(t, err)
	}
	require.NoError(t, s.finisher.Round(t.Context()))
	require.Zero(t, s.writer.timesAsked(), "it is too young")

	name := stream.Name{Bucket: "logs", Stream: "a"}
	row, err := s.catalog.CreateStream(t.Context(), name, settings.Stream{DeleteOnEmptySeconds: new(uint64(1))})
	require.NoError(t, err)
	s.untilAsked(t)
	require.False(t, s.writer.hasEnded(row.ID))
	s.untilAsked(t) // and again

	s.writer.setEmpty()
	s.writer.refuseNext(1)
	require.Eventually(t, func() bool { // the owner fails once; the hold is over long after this test
		_ = s.finisher.Round(t.Context())
		s.writer.mu.Lock()
		defer s.writer.mu.Unlock()
		return s.writer.refuse == 0
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, s.catalog.KeepStream(t.Context(), row, 0))
	s.untilAsked(t)
	require.True(t, s.writer.hasEnded(row.ID))
	_, err = s.GetStreamConfig(t.Context(), &samsav1.GetStreamConfigRequest{Bucket: "logs", Stream: "a"})
	requireError(t, err, codes.NotFound, samsav1.ErrorCode_ERROR_CODE_NOT_FOUND)
	for name := range others {
		_, _, err = s.catalog.LookupStream(t.Context(), stream.Name{Bucket: "logs", Stream: name})
		require.NoError(t, err)
	}
}

func TestEmptyStream_WhoseRowOutlivedItsEndGoesWithTheNextRound(t *testing.T) {
	s := start(t, minimum)
	name := stream.Name{Bucket: "logs", Stream: "a"}
	row, err := s.catalog.CreateStream(t.Context(), name, settings.Stream{DeleteOnEmptySeconds: new(uint64(1))})
	require.NoError(t, err)
	s.writer.mu.Lock()
	s.writer.ended[string(row.ID[:])] = true // and the worker died
	s.writer.mu.Unlock()
	s.untilAsked(t)
	_, _, err = s.catalog.LookupStream(t.Context(), name)
	require.ErrorIs(t, err, catalog.ErrNotFound)
}

func TestClaimEmptyable_LeavesOthersAlone(t *testing.T) {
	c := catalogtest.New(t, catalog.Options{})
	_, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{})
	require.NoError(t, err)
	for name, seconds := range map[string]uint64{"never": 0, "late": 1<<63 - 1, "soon": 1} {
		_, err := c.CreateStream(t.Context(), stream.Name{Bucket: "logs", Stream: name}, settings.Stream{DeleteOnEmptySeconds: &seconds})
		require.NoError(t, err)
	}
	var claimed []catalog.Stream
	require.Eventually(t, func() bool {
		claimed, err = c.ClaimEmptyable(t.Context(), 10, minimum)
		return err != nil || len(claimed) > 0
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.Equal(t, "soon", claimed[0].Name.Stream)
	again, err := c.ClaimEmptyable(t.Context(), 10, minimum)
	require.NoError(t, err)
	require.Empty(t, again, "somebody holds it")
}
