package bucket

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// forgetful is a catalog that goes away after the first step of each change.
type forgetful struct{ Catalog }

var errAway = errors.New("away")

func (forgetful) BeginStreamDeletion(_ context.Context, name stream.Name, _ catalog.Hold) (catalog.Stream, error) {
	return catalog.Stream{Name: name, State: catalog.StateDeleting}, nil
}

func (forgetful) ReconfigureStream(_ context.Context, name stream.Name, _ settings.StreamChange, _ catalog.Hold) (catalog.Stream, error) {
	return catalog.Stream{Name: name, State: catalog.StateActive}, nil
}

func (forgetful) RemoveStream(context.Context, catalog.Stream) error  { return errAway }
func (forgetful) StreamApplied(context.Context, catalog.Stream) error { return errAway }

// present acknowledges all.
type present struct{}

func (present) ConfigureStream(context.Context, catalog.Stream) error { return nil }
func (present) TombstoneStream(context.Context, catalog.Stream) error { return nil }
func (present) EndIfEmpty(context.Context, catalog.Stream) (bool, time.Duration, error) {
	return true, 0, nil
}

func TestAcknowledgedChange_SucceedsThoughItCannotBeNoted(t *testing.T) {
	s, _ := New(forgetful{}, present{}, Options{OwnerTimeout: 1 << 40}, zap.NewNop())
	name := stream.Name{Bucket: "logs", Stream: "a"}
	require.NoError(t, s.Delete(t.Context(), name))
	_, err := s.Reconfigure(t.Context(), name, nil)
	require.NoError(t, err)
}

// later is a catalog in which others reconfigure, too.
type later struct {
	forgetful
	row catalog.Stream
}

func (c later) LookupStream(context.Context, stream.Name) (catalog.Stream, catalog.Bucket, error) {
	return c.row, catalog.Bucket{}, nil
}

// ahead has a version already, and refuses those before it.
type ahead struct {
	present
	version uint64
}

func (o ahead) ConfigureStream(_ context.Context, s catalog.Stream) error {
	if s.ConfigVersion < o.version {
		return ErrCatalogBehind
	}
	return nil
}

func TestReconfigure_IsDoneWhenALaterOneIs(t *testing.T) {
	name := stream.Name{Bucket: "logs", Stream: "a"}
	for row, want := range map[uint64]error{0: ErrCatalogBehind, 2: ErrCatalogBehind, 3: nil} {
		s, _ := New(later{row: catalog.Stream{Name: name, ConfigVersion: row}}, ahead{version: 3}, Options{OwnerTimeout: 1 << 40}, zap.NewNop())
		_, err := s.Reconfigure(t.Context(), name, nil)
		require.ErrorIs(t, err, want, "row %d", row)
	}
}
