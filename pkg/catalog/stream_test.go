package catalog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
)

func keep(current, _ stream.Config) stream.Config { return current }

func retain(seconds uint64) settings.StreamChange {
	return func(current, _ stream.Config) stream.Config {
		current.RetentionSeconds = seconds
		return current
	}
}

func TestCreateStream_ResolvesRequestThenBucketThenSystem(t *testing.T) {
	c, published := newCatalog(t)
	b, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{DefaultStream: settings.Stream{
		StorageClass: stream.StorageClassExpress, RetentionSeconds: new(uint64(60)),
	}})
	require.NoError(t, err)
	published.take()
	s, err := c.CreateStream(t.Context(), named("logs", "a/b"), settings.Stream{RetentionSeconds: new(uint64(0))})
	require.NoError(t, err)
	require.Equal(t, stream.Config{
		StorageClass:     stream.StorageClassExpress,
		TimestampingMode: stream.TimestampingClientPrefer,
	}, s.Config)
	require.Equal(t, b.ID, s.BucketID)
	require.Equal(t, named("logs", "a/b"), s.Name)
	require.EqualValues(t, 1, s.ConfigVersion)
	require.Equal(t, []change{{bucket: "logs", stream: "a/b"}}, published.take())

	// A default that changes later does not touch it.
	_, err = c.ReconfigureBucket(t.Context(), "logs", func(settings.Bucket) settings.Bucket { return settings.Bucket{} })
	require.NoError(t, err)
	found, home, err := c.LookupStream(t.Context(), named("logs", "a/b"))
	require.NoError(t, err)
	require.Equal(t, s, found)
	require.Equal(t, b.ID, home.ID)
}

func TestCreateStream_RefusesNameInUseAndMissingBucket(t *testing.T) {
	c, _ := newCatalog(t)
	_, err := c.CreateStream(t.Context(), named("logs", "a"), settings.Stream{})
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "logs")
	createBucket(t, c, "logs")
	createStream(t, c, "logs", "a")
	_, err = c.CreateStream(t.Context(), named("logs", "a"), settings.Stream{})
	requireObject(t, err, catalog.ErrExists, catalog.ObjectStream, "a")
}

func TestCreateStream_SameNameInTwoBuckets(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	createBucket(t, c, "more-logs")
	require.NotEqual(t, createStream(t, c, "logs", "a").ID, createStream(t, c, "more-logs", "a").ID)
}

func TestCreateStream_OneOfManyCreatorsWins(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	errs := inParallel(8, func(int) error {
		_, err := c.CreateStream(t.Context(), named("logs", "a"), settings.Stream{})
		return err
	})
	require.Equal(t, 1, countOK(errs))
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, catalog.ErrExists), "%v", err)
	}
}

func TestLookupStream_TellsWhatIsMissing(t *testing.T) {
	c, _ := newCatalog(t)
	_, b, err := c.LookupStream(t.Context(), named("logs", "a"))
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "logs")
	require.Zero(t, b)
	created := createBucket(t, c, "logs")
	s, b, err := c.LookupStream(t.Context(), named("logs", "a"))
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectStream, "a")
	require.Equal(t, created, b)
	require.True(t, s.ID.IsZero())
}

func TestEnsureStream_CreatesWhatItsBucketAllows(t *testing.T) {
	c, _ := newCatalog(t)
	_, err := c.EnsureStream(t.Context(), named("logs", "a"), catalog.CauseAppend)
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "logs")

	_, err = c.CreateBucket(t.Context(), "logs", settings.Bucket{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	_, err = c.EnsureStream(t.Context(), named("logs", "a"), catalog.CauseRead)
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectStream, "a")

	first, err := c.EnsureStream(t.Context(), named("logs", "a"), catalog.CauseAppend)
	require.NoError(t, err)
	again, err := c.EnsureStream(t.Context(), named("logs", "a"), catalog.CauseRead)
	require.NoError(t, err)
	require.Equal(t, first, again)

	_, err = c.BeginStreamDeletion(t.Context(), named("logs", "a"), hold)
	require.NoError(t, err)
	_, err = c.EnsureStream(t.Context(), named("logs", "a"), catalog.CauseAppend)
	requireObject(t, err, catalog.ErrDeleting, catalog.ObjectStream, "a")
}

func TestEnsureStream_ManyCallersGetOneStream(t *testing.T) {
	c, published := newCatalog(t)
	_, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{CreateStreamOnRead: new(true)})
	require.NoError(t, err)
	published.take()
	streams := make([]catalog.Stream, 8)
	errs := inParallel(len(streams), func(i int) (err error) {
		streams[i], err = c.EnsureStream(t.Context(), named("logs", "a"), catalog.CauseRead)
		return err
	})
	require.Equal(t, len(streams), countOK(errs))
	for _, s := range streams {
		require.Equal(t, streams[0], s)
	}
	require.Len(t, published.take(), 1)
}

func TestListStreams_PagesByBytes(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	createBucket(t, c, "other")
	createStream(t, c, "other", "a")
	const last = "\U0010FFFF"
	names := []string{" ", "%", "A", "_", "a", "a%", "a/b", "a_", "ab", "ä", "\uD7FF", "\uD7FFx", "\uE000", last, last + last}
	for _, name := range names {
		createStream(t, c, "logs", name)
	}
	for _, x := range []struct {
		page catalog.Page
		want []string
		more bool
	}{
		{catalog.Page{}, names, false},
		{catalog.Page{Prefix: "a"}, []string{"a", "a%", "a/b", "a_", "ab"}, false},
		{catalog.Page{Prefix: "a%"}, []string{"a%"}, false},
		{catalog.Page{Prefix: "a_"}, []string{"a_"}, false},
		{catalog.Page{Prefix: "a/"}, []string{"a/b"}, false},
		{catalog.Page{Prefix: "\uD7FF"}, []string{"\uD7FF", "\uD7FFx"}, false},
		{catalog.Page{Prefix: last}, []string{last, last + last}, false},
		{catalog.Page{Prefix: last + last}, []string{last + last}, false},
		{catalog.Page{Prefix: "a", Limit: 2}, []string{"a", "a%"}, true},
		{catalog.Page{Prefix: "a", StartAfter: "a%", Limit: 3}, []string{"a/b", "a_", "ab"}, false},
		{catalog.Page{StartAfter: last + last}, nil, false},
	} {
		streams, more, err := c.ListStreams(t.Context(), "logs", x.page)
		require.NoError(t, err)
		var got []string
		for _, s := range streams {
			got = append(got, s.Name.Stream)
		}
		require.Equal(t, x.want, got, "%+v", x.page)
		require.Equal(t, x.more, more, "%+v", x.page)
	}
	_, _, err := c.ListStreams(t.Context(), "nothing", catalog.Page{})
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "nothing")
}

func TestReconfigureStream_CountsVersionsUntilApplied(t *testing.T) {
	c, published := newCatalog(t)
	createBucket(t, c, "logs")
	created := createStream(t, c, "logs", "a")
	published.take()

	changed, err := c.ReconfigureStream(t.Context(), created.Name, retain(60), 0)
	require.NoError(t, err)
	require.Equal(t, created.ID, changed.ID)
	require.EqualValues(t, 60, changed.Config.RetentionSeconds)
	require.EqualValues(t, 2, changed.ConfigVersion)
	require.Equal(t, []change{{bucket: "logs", stream: "a"}}, published.take())

	claimed, err := c.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Equal(t, []catalog.Stream{changed}, claimed)

	newer, err := c.ReconfigureStream(t.Context(), created.Name, retain(70), 0)
	require.NoError(t, err)
	require.NoError(t, c.StreamApplied(t.Context(), changed))
	claimed, err = c.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Len(t, claimed, 1, "the newer version is not applied yet")
	require.EqualValues(t, 3, claimed[0].ConfigVersion)

	require.NoError(t, c.StreamApplied(t.Context(), newer))
	require.NoError(t, c.StreamApplied(t.Context(), changed), "an older word comes late")
	claimed, err = c.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Empty(t, claimed)
}

// A worker that was told that a stream is not empty yet may say so after the stream was
// given a configuration, which somebody else is to bring into effect soon.
func TestKeepStream_PutsNoReconfigurationOff(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	s := createStream(t, c, "logs", "a")
	changed, err := c.ReconfigureStream(t.Context(), s.Name, retain(60), 0)
	require.NoError(t, err)
	require.NoError(t, c.KeepStream(t.Context(), s, 24*time.Hour))
	claimed, err := c.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Equal(t, []catalog.Stream{changed}, claimed)
}

func TestReconfigureStream_LosesNoConcurrentChange(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	created := createStream(t, c, "logs", "a")
	const n = 10
	errs := inParallel(n, func(int) error {
		_, err := c.ReconfigureStream(t.Context(), created.Name, func(current, _ stream.Config) stream.Config {
			current.RetentionSeconds++
			return current
		}, hold)
		return err
	})
	require.Equal(t, n, countOK(errs))
	s, _, err := c.LookupStream(t.Context(), created.Name)
	require.NoError(t, err)
	require.Equal(t, created.Config.RetentionSeconds+n, s.Config.RetentionSeconds)
	require.EqualValues(t, n+1, s.ConfigVersion)
}

func TestReconfigureStream_TellsWhatIsMissing(t *testing.T) {
	c, _ := newCatalog(t)
	_, err := c.ReconfigureStream(t.Context(), named("logs", "a"), keep, hold)
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "logs")
	createBucket(t, c, "logs")
	_, err = c.ReconfigureStream(t.Context(), named("logs", "a"), keep, hold)
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectStream, "a")
}

func TestStreamDeletion_EndsNameThenFreesIt(t *testing.T) {
	c, published := newCatalog(t)
	createBucket(t, c, "logs")
	first := createStream(t, c, "logs", "a")
	published.take()

	require.NoError(t, c.RemoveStream(t.Context(), first), "an active stream stays")
	published.take()
	marked, err := c.BeginStreamDeletion(t.Context(), first.Name, hold)
	require.NoError(t, err)
	require.Equal(t, first.ID, marked.ID)
	require.NotZero(t, marked.DeletedAt)
	require.Equal(t, []change{{bucket: "logs", stream: "a"}}, published.take())

	for _, call := range []func() error{
		func() error { _, _, err := c.LookupStream(t.Context(), first.Name); return err },
		func() error { _, err := c.CreateStream(t.Context(), first.Name, settings.Stream{}); return err },
		func() error { _, err := c.BeginStreamDeletion(t.Context(), first.Name, hold); return err },
		func() error { _, err := c.ReconfigureStream(t.Context(), first.Name, keep, hold); return err },
	} {
		requireObject(t, call(), catalog.ErrDeleting, catalog.ObjectStream, "a")
	}
	listed, _, err := c.ListStreams(t.Context(), "logs", catalog.Page{})
	require.NoError(t, err)
	require.Equal(t, []catalog.Stream{marked}, listed)

	require.NoError(t, c.RemoveStream(t.Context(), marked))
	_, _, err = c.LookupStream(t.Context(), first.Name)
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectStream, "a")
	second := createStream(t, c, "logs", "a")
	require.NotEqual(t, first.ID, second.ID)

	require.NoError(t, c.RemoveStream(t.Context(), marked), "late, and twice")
	found, _, err := c.LookupStream(t.Context(), first.Name)
	require.NoError(t, err)
	require.Equal(t, second, found)
}

func TestStreamDeletion_OneOfManyCallersBeginsIt(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	s := createStream(t, c, "logs", "a")
	errs := inParallel(8, func(int) error {
		_, err := c.BeginStreamDeletion(t.Context(), s.Name, hold)
		return err
	})
	require.Equal(t, 1, countOK(errs))
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, catalog.ErrDeleting), "%v", err)
	}
}

func TestStreamDeletion_RacesWithCreatorsAndRemovers(t *testing.T) {
	c, _ := newCatalog(t)
	_, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	name := named("logs", "a")
	errs := inParallel(6, func(i int) error {
		for range 30 {
			var err error
			if i%2 == 0 {
				_, err = c.EnsureStream(t.Context(), name, catalog.CauseAppend)
			} else if s, begun := c.BeginStreamDeletion(t.Context(), name, hold); begun == nil {
				err = c.RemoveStream(t.Context(), s)
			} else {
				err = begun
			}
			if err != nil && !errors.Is(err, catalog.ErrDeleting) && !errors.Is(err, catalog.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
}

func TestClaimStreams_LeavesHeldOnesAndThoseOfDyingBuckets(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	createBucket(t, c, "dying")
	for _, name := range []stream.Name{named("logs", "held"), named("logs", "due"), named("logs", "active"), named("dying", "due")} {
		createStream(t, c, name.Bucket, name.Stream)
	}
	_, err := c.BeginStreamDeletion(t.Context(), named("logs", "held"), hold)
	require.NoError(t, err)
	_, err = c.BeginStreamDeletion(t.Context(), named("logs", "due"), 0)
	require.NoError(t, err)
	_, err = c.BeginStreamDeletion(t.Context(), named("dying", "due"), 0)
	require.NoError(t, err)
	_, err = c.BeginBucketDeletion(t.Context(), "dying", hold)
	require.NoError(t, err)

	claimed, err := c.ClaimStreams(t.Context(), 10, hold)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.Equal(t, named("logs", "due"), claimed[0].Name)
	require.Equal(t, catalog.StateDeleting, claimed[0].State)
	claimed, err = c.ClaimStreams(t.Context(), 10, hold)
	require.NoError(t, err)
	require.Empty(t, claimed, "it is held now")
}

func TestClaimStreams_GivesEachToOneWorker(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	const n = 40
	for i := range n {
		s := createStream(t, c, "logs", fmt.Sprint(i))
		_, err := c.BeginStreamDeletion(t.Context(), s.Name, 0)
		require.NoError(t, err)
	}
	seen := make([]map[stream.ID]bool, 4)
	errs := inParallel(len(seen), func(i int) error {
		seen[i] = map[stream.ID]bool{}
		for range n {
			claimed, err := c.ClaimStreams(t.Context(), 3, hold)
			if err != nil {
				return err
			}
			for _, s := range claimed {
				seen[i][s.ID] = true
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
	total, union := 0, map[stream.ID]bool{}
	for _, one := range seen {
		total += len(one)
		for id := range one {
			union[id] = true
		}
	}
	require.Equal(t, n, total)
	require.Len(t, union, n)
}
