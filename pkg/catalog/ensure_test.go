package catalog_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
)

func TestEnsureStreams_DealsWithEachAsIfItWereAlone(t *testing.T) {
	c := catalogtest.New(t, catalog.Options{})
	_, err := c.CreateBucket(t.Context(), "open", settings.Bucket{
		CreateStreamOnAppend: new(true), DefaultStream: settings.Stream{RetentionSeconds: new(uint64(5))},
	})
	require.NoError(t, err)
	_, err = c.CreateBucket(t.Context(), "closed", settings.Bucket{})
	require.NoError(t, err)
	_, err = c.CreateBucket(t.Context(), "going", settings.Bucket{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	_, err = c.BeginBucketDeletion(t.Context(), "going", 0)
	require.NoError(t, err)
	old, err := c.CreateStream(t.Context(), stream.Name{Bucket: "closed", Stream: "old"}, settings.Stream{})
	require.NoError(t, err)
	dying := stream.Name{Bucket: "open", Stream: "dying"}
	_, err = c.CreateStream(t.Context(), dying, settings.Stream{})
	require.NoError(t, err)
	_, err = c.BeginStreamDeletion(t.Context(), dying, 0)
	require.NoError(t, err)

	got, err := c.EnsureStreams(t.Context(), []catalog.Wanted{
		{Name: stream.Name{Bucket: "open", Stream: "b"}, Cause: catalog.CauseAppend},
		{Name: stream.Name{Bucket: "closed", Stream: "old"}},
		{Name: stream.Name{Bucket: "closed", Stream: "new"}, Cause: catalog.CauseAppend},
		{Name: stream.Name{Bucket: "open", Stream: "a"}, Cause: catalog.CauseAppend},
		{Name: stream.Name{Bucket: "open", Stream: "b"}, Cause: catalog.CauseAppend},
		{Name: stream.Name{Bucket: "open", Stream: "c"}, Cause: catalog.CauseRead},
		{Name: stream.Name{Bucket: "open", Stream: "d"}},
		{Name: stream.Name{Bucket: "none", Stream: "x"}, Cause: catalog.CauseAppend},
		{Name: stream.Name{Bucket: "going", Stream: "x"}, Cause: catalog.CauseAppend},
		{Name: dying, Cause: catalog.CauseAppend},
	})
	require.NoError(t, err)
	require.NoError(t, got[0].Err)
	require.EqualValues(t, 5, got[0].Stream.Config.RetentionSeconds)
	require.Equal(t, stream.Name{Bucket: "open", Stream: "b"}, got[0].Stream.Name)
	require.Equal(t, old, got[1].Stream)
	require.ErrorIs(t, got[2].Err, catalog.ErrNotFound)
	require.NoError(t, got[3].Err)
	require.Equal(t, got[0], got[4], "asked for twice, made once")
	for _, i := range []int{5, 6} {
		require.ErrorIs(t, got[i].Err, catalog.ErrNotFound)
	}
	require.ErrorContains(t, got[7].Err, `bucket "none"`)
	require.ErrorIs(t, got[8].Err, catalog.ErrDeleting)
	require.ErrorIs(t, got[9].Err, catalog.ErrDeleting)
	found, _, err := c.LookupStream(t.Context(), stream.Name{Bucket: "open", Stream: "a"})
	require.NoError(t, err)
	require.Equal(t, got[3].Stream, found)
}

func TestEnsureStreams_OfManyAtOnceAgree(t *testing.T) {
	c := catalogtest.New(t, catalog.Options{})
	_, err := c.CreateBucket(t.Context(), "open", settings.Bucket{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	const streams = 200
	answers := make([][]catalog.Ensured, 4)
	var callers sync.WaitGroup
	for i := range answers {
		callers.Go(func() {
			var wanted []catalog.Wanted
			for n := range streams { // each in another order
				name := stream.Name{Bucket: "open", Stream: fmt.Sprint((n*7 + i*50) % streams)}
				wanted = append(wanted, catalog.Wanted{Name: name, Cause: catalog.CauseAppend})
			}
			got, err := c.EnsureStreams(t.Context(), wanted)
			if err != nil {
				t.Error(err)
			}
			answers[i] = got
		})
	}
	callers.Wait()
	ids := map[stream.Name]stream.ID{}
	for _, got := range answers {
		for _, e := range got {
			require.NoError(t, e.Err)
			if id, ok := ids[e.Stream.Name]; ok {
				require.Equal(t, id, e.Stream.ID)
			}
			ids[e.Stream.Name] = e.Stream.ID
		}
	}
	require.Len(t, ids, streams)
}

// BenchmarkEnsure creates streams as 64 appends to missing streams at a time do: each
// by itself, and together.
func BenchmarkEnsure(b *testing.B) {
	c := catalogtest.New(b, catalog.Options{})
	_, err := c.CreateBucket(b.Context(), "open", settings.Bucket{CreateStreamOnAppend: new(true)})
	require.NoError(b, err)
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("together=", size), func(b *testing.B) {
			next := 0
			for b.Loop() {
				var wanted []catalog.Wanted
				for range size {
					next++
					name := stream.Name{Bucket: "open", Stream: fmt.Sprintf("%s %d", b.Name(), next)}
					wanted = append(wanted, catalog.Wanted{Name: name, Cause: catalog.CauseAppend})
				}
				_, err := c.EnsureStreams(b.Context(), wanted)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "streams/s")
		})
	}
}
