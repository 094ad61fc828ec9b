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

func TestCreateBucket_KeepsWhatIsSetAndWhatIsNot(t *testing.T) {
	c, published := newCatalog(t)
	given := settings.Bucket{
		DefaultStream: settings.Stream{
			StorageClass:          stream.StorageClassExpress,
			AllowFutureTimestamps: new(false),
			RetentionSeconds:      new(uint64(0)),
		},
		CreateStreamOnAppend: new(true),
		CreateStreamOnRead:   new(false),
	}
	created, err := c.CreateBucket(t.Context(), "logs", given)
	require.NoError(t, err)
	require.Equal(t, catalog.StateActive, created.State)
	require.Equal(t, given, created.Settings)
	require.WithinDuration(t, time.Now(), created.CreatedAt, time.Minute)
	require.Zero(t, created.DeletedAt)

	got, err := c.GetBucket(t.Context(), "logs")
	require.NoError(t, err)
	require.Equal(t, created, got)
	require.Equal(t, []change{{bucket: "logs"}}, published.take())
}

func TestCreateBucket_RefusesNameInUse(t *testing.T) {
	c, published := newCatalog(t)
	createBucket(t, c, "logs")
	published.take()
	_, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{})
	requireObject(t, err, catalog.ErrExists, catalog.ObjectBucket, "logs")
	require.Empty(t, published.take())
}

func TestCreateBucket_OneOfManyCreatorsWins(t *testing.T) {
	c, _ := newCatalog(t)
	errs := inParallel(8, func(int) error {
		_, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{})
		return err
	})
	require.Equal(t, 1, countOK(errs))
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, catalog.ErrExists), "%v", err)
	}
}

func TestGetBucket_NotFound(t *testing.T) {
	c, _ := newCatalog(t)
	_, err := c.GetBucket(t.Context(), "nothing")
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "nothing")
}

func TestReconfigureBucket_ChangesSettings(t *testing.T) {
	c, published := newCatalog(t)
	created := createBucket(t, c, "logs")
	published.take()
	changed, err := c.ReconfigureBucket(t.Context(), "logs", func(s settings.Bucket) settings.Bucket {
		s.CreateStreamOnRead = new(true)
		s.DefaultStream.TimestampingMode = stream.TimestampingArrival
		return s
	})
	require.NoError(t, err)
	require.Equal(t, created.ID, changed.ID)
	require.True(t, changed.CreatesOnRead())

	got, err := c.GetBucket(t.Context(), "logs")
	require.NoError(t, err)
	require.Equal(t, changed, got)
	require.Equal(t, []change{{bucket: "logs"}}, published.take())

	_, err = c.ReconfigureBucket(t.Context(), "nothing", func(s settings.Bucket) settings.Bucket { return s })
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectBucket, "nothing")
}

func TestReconfigureBucket_LosesNoConcurrentChange(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	const n = 10
	errs := inParallel(n, func(int) error {
		_, err := c.ReconfigureBucket(t.Context(), "logs", func(s settings.Bucket) settings.Bucket {
			var before uint64
			if s.DefaultStream.RetentionSeconds != nil {
				before = *s.DefaultStream.RetentionSeconds
			}
			s.DefaultStream.RetentionSeconds = new(before + 1)
			return s
		})
		return err
	})
	require.Equal(t, n, countOK(errs))
	b, err := c.GetBucket(t.Context(), "logs")
	require.NoError(t, err)
	require.EqualValues(t, n, *b.Settings.DefaultStream.RetentionSeconds)
}

func bucketNames(t *testing.T, c *catalog.Catalog, page catalog.Page) (names []string, more bool) {
	t.Helper()
	buckets, more, err := c.ListBuckets(t.Context(), page)
	require.NoError(t, err)
	for _, b := range buckets {
		names = append(names, b.Name)
	}
	return names, more
}

func TestListBuckets_PagesByBytes(t *testing.T) {
	c, _ := newCatalog(t)
	for _, name := range []string{"b-1", "b1", "b0", "a-z", "ab", "b-10"} {
		createBucket(t, c, name)
	}
	for _, x := range []struct {
		page catalog.Page
		want []string
		more bool
	}{
		{catalog.Page{}, []string{"a-z", "ab", "b-1", "b-10", "b0", "b1"}, false},
		{catalog.Page{Limit: 6}, []string{"a-z", "ab", "b-1", "b-10", "b0", "b1"}, false},
		{catalog.Page{Limit: 5}, []string{"a-z", "ab", "b-1", "b-10", "b0"}, true},
		{catalog.Page{Prefix: "b-1"}, []string{"b-1", "b-10"}, false},
		{catalog.Page{Prefix: "b-1", StartAfter: "b-1"}, []string{"b-10"}, false},
		{catalog.Page{Prefix: "b", StartAfter: "a"}, []string{"b-1", "b-10", "b0", "b1"}, false},
		{catalog.Page{Prefix: "a", StartAfter: "b"}, nil, false},
		{catalog.Page{StartAfter: "b-10", Limit: 1}, []string{"b0"}, true},
		{catalog.Page{StartAfter: "b0", Limit: 1}, []string{"b1"}, false},
		{catalog.Page{Prefix: "b%"}, nil, false},
		{catalog.Page{Prefix: "b_1"}, nil, false},
	} {
		names, more := bucketNames(t, c, x.page)
		require.Equal(t, x.want, names, "%+v", x.page)
		require.Equal(t, x.more, more, "%+v", x.page)
	}
}

func TestListBuckets_HoldsAtMost1000(t *testing.T) {
	c, _ := newCatalog(t)
	for i := range catalog.MaxPage {
		createBucket(t, c, fmt.Sprintf("bucket-%04d", i))
	}
	for _, limit := range []uint64{0, 1000, 1001, 1 << 63} {
		names, more := bucketNames(t, c, catalog.Page{Limit: limit})
		require.Len(t, names, 1000)
		require.False(t, more)
	}
	createBucket(t, c, "one-more")
	for _, limit := range []uint64{0, 1000, 1001, 1 << 63} {
		names, more := bucketNames(t, c, catalog.Page{Limit: limit})
		require.Len(t, names, 1000)
		require.True(t, more)
	}
}

func TestBucketDeletion_EndsNameThenFreesIt(t *testing.T) {
	c, published := newCatalog(t)
	first := createBucket(t, c, "logs")
	createStream(t, c, "logs", "a")
	published.take()

	marked, err := c.BeginBucketDeletion(t.Context(), "logs", hold)
	require.NoError(t, err)
	require.Equal(t, catalog.StateDeleting, marked.State)
	require.NotZero(t, marked.DeletedAt)
	require.Equal(t, []change{{bucket: "logs"}}, published.take())

	for what, call := range map[string]func() error{
		"get":         func() error { _, err := c.GetBucket(t.Context(), "logs"); return err },
		"create":      func() error { _, err := c.CreateBucket(t.Context(), "logs", settings.Bucket{}); return err },
		"delete":      func() error { _, err := c.BeginBucketDeletion(t.Context(), "logs", hold); return err },
		"list":        func() error { _, _, err := c.ListStreams(t.Context(), "logs", catalog.Page{}); return err },
		"look up":     func() error { _, _, err := c.LookupStream(t.Context(), named("logs", "a")); return err },
		"look up new": func() error { _, _, err := c.LookupStream(t.Context(), named("logs", "new")); return err },
		"new stream": func() error {
			_, err := c.CreateStream(t.Context(), named("logs", "new"), settings.Stream{})
			return err
		},
		"delete stream": func() error { _, err := c.BeginStreamDeletion(t.Context(), named("logs", "a"), hold); return err },
		"reconfigure": func() error {
			_, err := c.ReconfigureBucket(t.Context(), "logs", func(s settings.Bucket) settings.Bucket { return s })
			return err
		},
		"reconfigure stream": func() error {
			_, err := c.ReconfigureStream(t.Context(), named("logs", "a"), keep, hold)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			requireObject(t, call(), catalog.ErrDeleting, catalog.ObjectBucket, "logs")
		})
	}
	listed, _, err := c.ListBuckets(t.Context(), catalog.Page{})
	require.NoError(t, err)
	require.Equal(t, []catalog.Bucket{marked}, listed)

	// Without every owner's word nothing goes.
	removed, err := c.RemoveStreamsOf(t.Context(), marked, 10)
	require.NoError(t, err)
	require.Zero(t, removed)
	require.NoError(t, c.RemoveBucket(t.Context(), marked))
	_, err = c.GetBucket(t.Context(), "logs")
	require.ErrorIs(t, err, catalog.ErrDeleting)

	require.NoError(t, c.BucketTombstoned(t.Context(), marked))
	removed, err = c.RemoveStreamsOf(t.Context(), marked, 10)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	require.NoError(t, c.RemoveBucket(t.Context(), marked))
	_, err = c.GetBucket(t.Context(), "logs")
	require.ErrorIs(t, err, catalog.ErrNotFound)

	second := createBucket(t, c, "logs")
	require.NotEqual(t, first.ID, second.ID)
	streams, _, err := c.ListStreams(t.Context(), "logs", catalog.Page{})
	require.NoError(t, err)
	require.Empty(t, streams)
}

func TestBucketDeletion_LetsNoStreamInAfterwards(t *testing.T) {
	c, _ := newCatalog(t)
	createBucket(t, c, "logs")
	var marked catalog.Bucket
	errs := inParallel(9, func(i int) (err error) {
		if i == 4 {
			marked, err = c.BeginBucketDeletion(t.Context(), "logs", hold)
			return err
		}
		_, err = c.CreateStream(t.Context(), named("logs", fmt.Sprint(i)), settings.Stream{})
		return err
	})
	require.NoError(t, errs[4])
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, catalog.ErrDeleting), "%v", err)
	}
	require.NoError(t, c.BucketTombstoned(t.Context(), marked))
	removed, err := c.RemoveStreamsOf(t.Context(), marked, 100)
	require.NoError(t, err)
	require.Equal(t, countOK(errs)-1, removed)
	require.NoError(t, c.RemoveBucket(t.Context(), marked))
}

func TestClaimBuckets_GivesEachToOneWorker(t *testing.T) {
	c, _ := newCatalog(t)
	const n = 20
	for i := range n {
		createBucket(t, c, fmt.Sprintf("bucket-%d", i))
		_, err := c.BeginBucketDeletion(t.Context(), fmt.Sprintf("bucket-%d", i), 0)
		require.NoError(t, err)
	}
	claims := make([][]catalog.Bucket, 4)
	errs := inParallel(len(claims), func(i int) (err error) {
		claims[i], err = c.ClaimBuckets(t.Context(), n, hold)
		return err
	})
	require.Equal(t, len(claims), countOK(errs))
	seen := map[stream.ID]bool{}
	for _, claim := range claims {
		for _, b := range claim {
			require.False(t, seen[b.ID])
			seen[b.ID] = true
		}
	}
	// SKIP LOCKED may leave some to the next round.
	rest, err := c.ClaimBuckets(t.Context(), n, hold)
	require.NoError(t, err)
	require.Equal(t, n, len(seen)+len(rest))
}
