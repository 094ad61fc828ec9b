package contract

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// lister is one of the three lists, as names.
type lister func(t *testing.T, prefix, startAfter string, limit *uint64) (names []string, hasMore bool)

func listBuckets(d *door) lister {
	return func(t *testing.T, prefix, startAfter string, limit *uint64) (names []string, more bool) {
		t.Helper()
		list, err := d.ListBuckets(call(t), &samsav1.ListBucketsRequest{Prefix: prefix, StartAfter: startAfter, Limit: limit})
		require.NoError(t, err)
		for _, b := range list.GetBuckets() {
			names = append(names, b.GetName())
		}
		return names, list.GetHasMore()
	}
}

func listStreams(d *door, bucket string) lister {
	return func(t *testing.T, prefix, startAfter string, limit *uint64) (names []string, more bool) {
		t.Helper()
		list, err := d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: bucket, Prefix: prefix, StartAfter: startAfter, Limit: limit})
		require.NoError(t, err)
		for _, b := range list.GetStreams() {
			names = append(names, b.GetName())
		}
		return names, list.GetHasMore()
	}
}

func listTokens(d *door) lister {
	return func(t *testing.T, prefix, startAfter string, limit *uint64) (names []string, more bool) {
		t.Helper()
		list, err := d.ListAccessTokens(call(t), &samsav1.ListAccessTokensRequest{Prefix: prefix, StartAfter: startAfter, Limit: limit})
		require.NoError(t, err)
		for _, b := range list.GetAccessTokens() {
			names = append(names, b.GetId())
		}
		return names, list.GetHasMore()
	}
}

// requirePaging checks a list that has the five names under a prefix, in order.
func requirePaging(t *testing.T, list lister, prefix string, names []string) {
	t.Helper()
	all, more := list(t, prefix, "", nil)
	require.Equal(t, names, all)
	require.False(t, more)
	for limit := uint64(1); limit <= 6; limit++ {
		var paged []string
		more := true
		for after := ""; more; after = paged[len(paged)-1] {
			var page []string
			page, more = list(t, prefix, after, &limit)
			require.LessOrEqual(t, uint64(len(page)), limit)
			require.NotEmpty(t, page, "has_more is exact: there is more after %q", after)
			paged = append(paged, page...)
			require.Equal(t, len(paged) < len(names), more, "has_more is exact")
		}
		require.Equal(t, names, paged)
	}
	after, _ := list(t, prefix, names[2], nil)
	require.Equal(t, names[3:], after, "start_after is exclusive")
	after, _ = list(t, prefix, names[2]+"!", nil)
	require.Equal(t, names[3:], after, "start_after need not exist")
	none, more := list(t, prefix, names[4], nil)
	require.Empty(t, none)
	require.False(t, more)
}

// TestLists_BucketsAreByNameInPages.
func (s *Suite) TestLists_BucketsAreByNameInPages(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		prefix := s.unique()
		names := []string{prefix + "-0", prefix + "-b", prefix + "0", prefix + "b", prefix + "b-c"}
		for _, i := range []int{3, 0, 4, 2, 1} {
			_, err := d.CreateBucket(call(t), &samsav1.CreateBucketRequest{Bucket: names[i]})
			require.NoError(t, err)
		}
		requirePaging(t, listBuckets(d), prefix, names)
	})
}

// TestLists_StreamsAreByNameInPages: by the bytes of their names, whatever the
// database's language.
func (s *Suite) TestLists_StreamsAreByNameInPages(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, nil)
		names := []string{"A", "B", "a", "a-b", "é"}
		for _, i := range []int{3, 0, 4, 2, 1} {
			(&at{door: d, bucket: bucket, stream: names[i]}).create(t, nil)
		}
		requirePaging(t, listStreams(d, bucket), "", names)
	})
}

// TestLists_AccessTokensAreByIDInPages.
func (s *Suite) TestLists_AccessTokensAreByIDInPages(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		prefix := s.unique()
		names := []string{prefix + "/A", prefix + "/B", prefix + "/a", prefix + "/a-b", prefix + "/é"}
		for _, i := range []int{3, 0, 4, 2, 1} {
			_, err := d.IssueAccessToken(call(t), &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{Id: names[i], Scope: readScope()}})
			require.NoError(t, err)
		}
		requirePaging(t, listTokens(d), prefix, names)
	})
}

// TestLists_PrefixIsLiteral: no character of it stands for others.
func (s *Suite) TestLists_PrefixIsLiteral(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, nil)
		for _, name := range []string{"a%b", "a_b", "axb", `a\b`, "a*b", "A%b", "%", "_"} {
			(&at{door: d, bucket: bucket, stream: name}).create(t, nil)
		}
		list := listStreams(d, bucket)
		for prefix, want := range map[string][]string{
			"a%": {"a%b"}, "a_": {"a_b"}, `a\`: {`a\b`}, "a*": {"a*b"}, "%": {"%"}, "_": {"_"}, "a%b": {"a%b"}, "a%bc": nil,
		} {
			got, more := list(t, prefix, "", nil)
			require.Equal(t, want, got, "prefix %q", prefix)
			require.False(t, more)
		}
	})
}

// TestLists_LimitZeroUnsetOrAboveThousandMeansThousand.
func (s *Suite) TestLists_LimitZeroUnsetOrAboveThousandMeansThousand(t *testing.T) {
	bucket := s.bucket(t, nil)
	var names []string
	next := make(chan string)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for name := range next {
				_, err := s.grpc.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: bucket, Stream: name})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 1001 {
		names = append(names, strconv.Itoa(i))
		next <- strconv.Itoa(i)
	}
	close(next)
	workers.Wait()
	slices.Sort(names)
	s.each(t, func(t *testing.T, d *door) {
		list := listStreams(d, bucket)
		for _, limit := range []*uint64{nil, new(uint64(0)), new(uint64(1000)), new(uint64(1001)), new(^uint64(0))} {
			got, more := list(t, "", "", limit)
			require.Equal(t, names[:1000], got)
			require.True(t, more)
		}
		got, more := list(t, "", names[0], nil)
		require.Equal(t, names[1:], got)
		require.False(t, more, "has_more is exact")
	})
}

// TestLists_StreamsOfMissingBucketAreNotFound.
func (s *Suite) TestLists_StreamsOfMissingBucketAreNotFound(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		_, err := d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: s.unique()})
		requireFailure(t, notFound, err)
	})
}
