package catalog_test

import (
	"testing"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
)

func TestRestoreStreams_AddsWhatWasLostAndTakesNewerConfigurationsOver(t *testing.T) {
	c, _ := newCatalog(t)
	b := createBucket(t, c, "logs")
	kept, old, dead := createStream(t, c, "logs", "kept"), createStream(t, c, "logs", "old"), createStream(t, c, "logs", "dead")
	lost := kept
	lost.ID, lost.Name, lost.ConfigVersion = stream.NewID(), named("logs", "lost"), 3
	lost.Config.RetentionSeconds = 77
	old.ConfigVersion, old.Config.RetentionSeconds = 2, 99
	homeless, taken := lost, lost
	homeless.ID, homeless.BucketID, homeless.Name = stream.NewID(), stream.NewID(), named("gone", "x")
	taken.ID, taken.Name = stream.NewID(), named("logs", "kept")

	alive := []catalog.Stream{kept, lost, old, homeless, taken}
	report, err := c.RestoreStreams(t.Context(), alive, []stream.ID{dead.ID, stream.NewID()})
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{Added: 1, Reconfigured: 1, Deleting: 1, Homeless: []stream.Name{homeless.Name, taken.Name}}, report)

	for _, want := range []catalog.Stream{lost, old, kept} {
		found, home, err := c.LookupStream(t.Context(), want.Name)
		require.NoError(t, err)
		require.Equal(t, want.ID, found.ID)
		require.Equal(t, want.Config, found.Config)
		require.Equal(t, want.ConfigVersion, found.ConfigVersion)
		require.Equal(t, b.ID, home.ID)
	}
	_, _, err = c.LookupStream(t.Context(), dead.Name)
	requireObject(t, err, catalog.ErrDeleting, catalog.ObjectStream, "dead")

	again, err := c.RestoreStreams(t.Context(), alive, []stream.ID{dead.ID})
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{Homeless: report.Homeless}, again)
}
