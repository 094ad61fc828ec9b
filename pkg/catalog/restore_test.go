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
	report, err := c.RestoreStreams(t.Context(), catalog.Known{Alive: alive, Dead: []stream.ID{dead.ID, stream.NewID()}})
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{Added: 1, Reconfigured: 1, Deleting: 1, Homeless: []stream.Name{homeless.Name, taken.Name}}, report)
	require.True(t, report.Changed())

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

	again, err := c.RestoreStreams(t.Context(), catalog.Known{Alive: alive, Dead: []stream.ID{dead.ID}})
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{Homeless: report.Homeless}, again)
	require.False(t, again.Changed())
}

// Whoever reads the store takes a moment, and streams go on being deleted.
func TestRestoreStreams_BringsNothingBackThatHasEnded(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	createBucket(t, c, "dying")
	deleted, emptied := createStream(t, c, "logs", "deleted"), createStream(t, c, "logs", "emptied")
	homed, marked := createStream(t, c, "dying", "homed"), createStream(t, c, "logs", "marked")
	never := deleted
	never.ID, never.Name = stream.NewID(), named("logs", "never seen")
	known := catalog.Known{Alive: []catalog.Stream{deleted, emptied, homed, marked, never}}

	_, err := c.BeginStreamDeletion(t.Context(), deleted.Name, hold)
	require.NoError(t, err)
	require.NoError(t, c.RemoveStream(t.Context(), deleted))
	require.NoError(t, c.EndStream(t.Context(), emptied))
	dying, err := c.BeginBucketDeletion(t.Context(), "dying", hold)
	require.NoError(t, err)
	require.NoError(t, c.BucketTombstoned(t.Context(), dying))
	removed, err := c.RemoveStreamsOf(t.Context(), dying, 10)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	_, err = c.BeginStreamDeletion(t.Context(), marked.Name, hold)
	require.NoError(t, err)
	_, err = c.RestoreStreams(t.Context(), catalog.Known{Dead: []stream.ID{never.ID}})
	require.NoError(t, err)

	report, err := c.RestoreStreams(t.Context(), known)
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{}, report)
	for _, s := range []catalog.Stream{deleted, emptied, never} {
		_, _, err := c.LookupStream(t.Context(), s.Name)
		requireObject(t, err, catalog.ErrNotFound, catalog.ObjectStream, s.Name.Stream)
	}
}

// A bucket that the backup has as active, though every shard has buried it, could
// never be used, and its name never be free.
func TestRestoreStreams_BeginsTheDeletionOfDeadBucketsAgain(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "lives")
	dead := createBucket(t, c, "dead")
	known := catalog.Known{DeadBuckets: []stream.ID{dead.ID, stream.NewID()}}
	report, err := c.RestoreStreams(t.Context(), known)
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{DeletingBuckets: 1}, report)
	claimed, err := c.ClaimBuckets(t.Context(), 10, hold)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.Equal(t, dead.ID, claimed[0].ID)

	report, err = c.RestoreStreams(t.Context(), known)
	require.NoError(t, err)
	require.Equal(t, catalog.Restored{}, report)
}

// The catalog was put back, and somebody made a stream of the name of one that it had
// lost, and that lives.
func TestRestoreStreams_GivesANameBackThatNoLogKnowsTheNewStreamOf(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	for _, name := range []string{"active", "deleting"} {
		made := createStream(t, c, "logs", name)
		lives := made
		lives.ID, lives.ConfigVersion, lives.Config.RetentionSeconds = stream.NewID(), 4, 44
		if name == "deleting" {
			_, err := c.BeginStreamDeletion(t.Context(), made.Name, 0)
			require.NoError(t, err)
		}
		known := catalog.Known{Alive: []catalog.Stream{lives}}
		report, err := c.RestoreStreams(t.Context(), known)
		require.NoError(t, err)
		require.Equal(t, catalog.Restored{Replaced: 1}, report)
		behind, err := c.Behind(t.Context(), known)
		require.NoError(t, err)
		require.False(t, behind)

		listed, _, err := c.ListStreams(t.Context(), "logs", catalog.Page{Prefix: name})
		require.NoError(t, err)
		require.Len(t, listed, 1)
		require.Equal(t, lives.ID, listed[0].ID)
		require.Equal(t, lives.Config, listed[0].Config)
		require.EqualValues(t, 4, listed[0].ConfigVersion)
		require.Equal(t, name, string(listed[0].State))
	}
	claimed, err := c.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Len(t, claimed, 1, "whose deletion was asked for")
}

func TestBehind_TellsWhatACatalogThatWasPutBackLacks(t *testing.T) {
	c, _ := newCatalog(t)
	b := createBucket(t, c, "logs")
	s, ended := createStream(t, c, "logs", "a"), createStream(t, c, "logs", "ended")
	require.NoError(t, c.EndStream(t.Context(), ended))
	newer, lost, homeless := s, s, s
	newer.ConfigVersion++
	lost.ID, homeless.ID = stream.NewID(), stream.NewID()
	homeless.BucketID = stream.NewID()
	for name, x := range map[string]struct {
		known catalog.Known
		want  bool
	}{
		"nothing":            {catalog.Known{}, false},
		"what it has":        {catalog.Known{Alive: []catalog.Stream{s}}, false},
		"one that ended":     {catalog.Known{Alive: []catalog.Stream{s, ended}, Dead: []stream.ID{ended.ID}}, false},
		"one without bucket": {catalog.Known{Alive: []catalog.Stream{homeless}}, false},
		"a lost one":         {catalog.Known{Alive: []catalog.Stream{s, lost}}, true},
		"a configuration":    {catalog.Known{Alive: []catalog.Stream{newer}}, true},
		"an end":             {catalog.Known{Dead: []stream.ID{stream.NewID(), s.ID}}, true},
		"a bucket's end":     {catalog.Known{DeadBuckets: []stream.ID{b.ID}}, true},
	} {
		behind, err := c.Behind(t.Context(), x.known)
		require.NoError(t, err)
		require.Equal(t, x.want, behind, name)
	}
}
