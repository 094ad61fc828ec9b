package objstoretest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// Run holds the stores that open gives, each empty and to itself, to the promises
// of [objstore.Store].
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, objstore.Store)
	}{
		{"Put_IsReadBack", putIsReadBack},
		{"Put_DoesNotKeepTheBody", putDoesNotKeepTheBody},
		{"Put_RefusesAKeyThatStands", putRefusesAKeyThatStands},
		{"Put_HasOneWinnerAmongRacers", putHasOneWinnerAmongRacers},
		{"Put_IsSeenAtOnceAfterAbsence", putIsSeenAtOnceAfterAbsence},
		{"Put_TakesOddKeys", putTakesOddKeys},
		{"Put_RefusesKeysNoStoreCanHold", putRefusesInvalidKeys},
		{"Get_CutsRanges", getCutsRanges},
		{"Get_RangesOfAnEmptyObject", getRangesOfAnEmptyObject},
		{"Get_TellsWhatIsAbsent", getTellsWhatIsAbsent},
		{"Get_BodyIsTheCallersOwn", getBodyIsTheCallersOwn},
		{"Answers_TellTheStoresTime", answersTellTheStoresTime},
		{"Delete_IsIdempotent", deleteIsIdempotent},
		{"Delete_FreesTheKey", deleteFreesTheKey},
		{"List_IsOrderedByKey", listIsOrderedByKey},
		{"List_GoesOverPages", listGoesOverPages},
		{"List_MayBeLeftAndRepeated", listMayBeLeftAndRepeated},
		{"Context_ThatEndedStopsEveryCall", contextThatEndedStopsEveryCall},
		{"Probe_Passes", probePasses},
		{"Cluster_IsMadeOnce", clusterIsMadeOnce},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func putIsReadBack(t *testing.T, s objstore.Store) {
	for _, size := range []int{0, 1, 4 << 10, 1<<20 + 1, 8 << 20} {
		key, body := fmt.Sprintf("log/%d", size), randomBody(size)
		before := time.Now().Add(-time.Minute)
		put(t, s, key, body)

		object, err := s.Get(t.Context(), key, objstore.Whole)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, object.Body), "%d bytes come back", size)
		require.Equal(t, key, object.Key)
		require.EqualValues(t, size, object.Size)

		info, err := s.Head(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, key, info.Key)
		require.EqualValues(t, size, info.Size)
		require.WithinRange(t, info.Modified, before, time.Now().Add(time.Minute))
	}
}

func putDoesNotKeepTheBody(t *testing.T, s objstore.Store) {
	body := []byte("mine")
	put(t, s, "key", body)
	copy(body, "gone")
	requireBody(t, s, "key", "mine")
}

func putRefusesAKeyThatStands(t *testing.T, s objstore.Store) {
	put(t, s, "a/b", []byte("first"))
	for _, body := range []string{"second", "first", ""} {
		err := s.PutIfAbsent(t.Context(), "a/b", []byte(body))
		require.ErrorIs(t, err, objstore.ErrExists)
		require.NotErrorIs(t, err, objstore.ErrConflict)
	}
	requireBody(t, s, "a/b", "first")
}

func putHasOneWinnerAmongRacers(t *testing.T, s objstore.Store) {
	const racers = 64
	for race := range 4 {
		key := fmt.Sprintf("race/%d", race)
		answers := make([]error, racers)
		start := make(chan struct{})
		var group sync.WaitGroup
		for i := range racers {
			group.Go(func() {
				<-start
				answers[i] = putDecided(t.Context(), s, key, racerBody(i))
			})
		}
		close(start)
		group.Wait()
		winner := slices.Index(answers, nil)
		require.GreaterOrEqual(t, winner, 0, "one succeeds: %v", answers)
		for i, err := range answers {
			if i != winner {
				require.ErrorIs(t, err, objstore.ErrExists)
			}
		}
		requireBody(t, s, key, string(racerBody(winner)))
	}
}

// racerBody is large enough for racers to be seen halfway.
func racerBody(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%04d", i), 16<<10) }

func putDecided(ctx context.Context, s objstore.Store, key string, body []byte) error {
	for {
		if err := s.PutIfAbsent(ctx, key, body); objstore.Outcome(err) != "conflict" {
			return err
		}
	}
}

func putIsSeenAtOnceAfterAbsence(t *testing.T, s objstore.Store) {
	for i := range 20 {
		key := fmt.Sprintf("slot/%020d", i)
		_, err := s.Head(t.Context(), key)
		require.ErrorIs(t, err, objstore.ErrNotFound)
		_, err = s.Get(t.Context(), key, objstore.Suffix(64))
		require.ErrorIs(t, err, objstore.ErrNotFound)
		put(t, s, key, []byte("body"))
		_, err = s.Head(t.Context(), key)
		require.NoError(t, err)
		requireBody(t, s, key, "body")
	}
}

// oddKeys are legal and easily got wrong.
//
//nolint:gochecknoglobals // a table
var oddKeys = []string{
	"a b c", "plus+and&equals=", "percent%20not a space", "question?mark", "hash#", "quote'\"", "semi;colon,comma",
	"ünïcödé/😀", "dollar$at@bang!", "(round)[square]{curly}", "tilde~", "star*", "pipe|", "less<more>", "x..", "a./b-/c_",
	"log/0123456789abcdef0123456789abcdef/00000000000000000042", strings.Repeat("n", 200), strings.Repeat("deep/", 40) + "end",
}

func putTakesOddKeys(t *testing.T, s objstore.Store) {
	for _, key := range oddKeys {
		put(t, s, key, []byte(key))
	}
	for _, key := range oddKeys {
		requireBody(t, s, key, key)
	}
	require.Equal(t, slices.Sorted(slices.Values(oddKeys)), keys(t, s, "", ""))
	for _, key := range oddKeys {
		require.Equal(t, []string{key}, keys(t, s, key, ""))
		require.NoError(t, s.Delete(t.Context(), key))
	}
	require.Empty(t, keys(t, s, "", ""))
}

func putRefusesInvalidKeys(t *testing.T, s objstore.Store) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".hidden", "a/.hidden", "a\x00b", "a\nb", `a\b`, "a\xffb",
		strings.Repeat("n", 256), strings.Repeat("deep/", 300) + "end",
	} {
		require.ErrorIs(t, s.PutIfAbsent(t.Context(), key, nil), objstore.ErrInvalidKey, "%q", key)
		_, err := s.Get(t.Context(), key, objstore.Whole)
		require.ErrorIs(t, err, objstore.ErrInvalidKey, "%q", key)
		_, err = s.Head(t.Context(), key)
		require.ErrorIs(t, err, objstore.ErrInvalidKey, "%q", key)
		require.ErrorIs(t, s.Delete(t.Context(), key), objstore.ErrInvalidKey, "%q", key)
	}
	require.Empty(t, keys(t, s, "", ""))
}

func getCutsRanges(t *testing.T, s objstore.Store) {
	put(t, s, "key", []byte("0123456789"))
	for _, test := range []struct {
		r    objstore.Range
		want string
	}{
		{objstore.Whole, "0123456789"},
		{objstore.Bytes(0, 10), "0123456789"},
		{objstore.Bytes(0, 1), "0"},
		{objstore.Bytes(3, 4), "3456"},
		{objstore.Bytes(9, 1), "9"},
		{objstore.Bytes(8, 100), "89"},
		{objstore.Bytes(8, 1<<62), "89"},
		{objstore.Bytes(10, 1), ""},
		{objstore.Bytes(1000, 5), ""},
		{objstore.Bytes(4, 0), ""},
		{objstore.From(0), "0123456789"},
		{objstore.From(7), "789"},
		{objstore.From(10), ""},
		{objstore.From(11), ""},
		{objstore.Suffix(1), "9"},
		{objstore.Suffix(4), "6789"},
		{objstore.Suffix(10), "0123456789"},
		{objstore.Suffix(64), "0123456789"},
		{objstore.Suffix(0), ""},
	} {
		object, err := s.Get(t.Context(), "key", test.r)
		require.NoError(t, err, "range %s", test.r)
		require.Equal(t, test.want, string(object.Body), "range %s", test.r)
		require.EqualValues(t, 10, object.Size, "size is the whole object's, range %s", test.r)
	}
}

func getRangesOfAnEmptyObject(t *testing.T, s objstore.Store) {
	put(t, s, "empty", nil)
	for _, r := range []objstore.Range{
		objstore.Whole, objstore.Bytes(0, 5), objstore.Bytes(5, 5), objstore.From(0), objstore.From(1), objstore.Suffix(5), objstore.Suffix(0),
	} {
		object, err := s.Get(t.Context(), "empty", r)
		require.NoError(t, err, "range %s", r)
		require.Empty(t, object.Body)
		require.Zero(t, object.Size)
	}
}

func getTellsWhatIsAbsent(t *testing.T, s objstore.Store) {
	put(t, s, "folder/key", []byte("body"))
	for _, key := range []string{"absent", "folder", "folder/key2", "folder/key/below", "other/key"} {
		for _, r := range []objstore.Range{objstore.Whole, objstore.Suffix(4), objstore.Bytes(1, 2), objstore.Bytes(0, 0)} {
			_, err := s.Get(t.Context(), key, r)
			require.ErrorIs(t, err, objstore.ErrNotFound, "%q, range %s", key, r)
		}
		_, err := s.Head(t.Context(), key)
		require.ErrorIs(t, err, objstore.ErrNotFound, "%q", key)
		var failure *objstore.Error
		require.ErrorAs(t, err, &failure)
		require.Equal(t, objstore.OpHead, failure.Op)
		require.Equal(t, key, failure.Key)
	}
}

func getBodyIsTheCallersOwn(t *testing.T, s objstore.Store) {
	put(t, s, "key", []byte("body"))
	object, err := s.Get(t.Context(), "key", objstore.Whole)
	require.NoError(t, err)
	copy(object.Body, "gone")
	requireBody(t, s, "key", "body")
}

func answersTellTheStoresTime(t *testing.T, s objstore.Store) {
	put(t, s, "key", []byte("body"))
	object, err := s.Get(t.Context(), "key", objstore.Whole)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), object.Date, time.Minute)
	info, err := s.Head(t.Context(), "key")
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), info.Date, time.Minute)
}

func deleteIsIdempotent(t *testing.T, s objstore.Store) {
	put(t, s, "a/b/c", []byte("body"))
	for range 3 {
		require.NoError(t, s.Delete(t.Context(), "a/b/c"))
	}
	require.NoError(t, s.Delete(t.Context(), "never/was/there"))
	_, err := s.Head(t.Context(), "a/b/c")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	require.Empty(t, keys(t, s, "", ""))
}

func deleteFreesTheKey(t *testing.T, s objstore.Store) {
	for i := range 3 {
		put(t, s, "a/key", fmt.Append(nil, i))
		requireBody(t, s, "a/key", fmt.Sprint(i))
		require.NoError(t, s.Delete(t.Context(), "a/key"))
	}
}

func listIsOrderedByKey(t *testing.T, s objstore.Store) {
	// Folders and objects whose names sort one way alone and another with a slash.
	all := []string{
		"a-b", "a.b", "a/b", "a/b-c/d", "a/b.c", "a/c/1", "a/c/2", "a0", "aa", "log/x/00000000000000000009",
		"log/x/00000000000000000010", "log/x/gone", "log/y/00000000000000000000", "ä", "z",
	}
	for _, i := range rand.Perm(len(all)) {
		put(t, s, all[i], []byte(all[i]))
	}
	want := slices.Sorted(slices.Values(all))
	require.Equal(t, want, keys(t, s, "", ""))
	for info, err := range s.List(t.Context(), "", "") {
		require.NoError(t, err)
		require.EqualValues(t, len(info.Key), info.Size)
		require.False(t, info.Modified.IsZero())
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b-", "a/c", "a/c/", "log/x/", "log/x/0", "log/", "nothing", "nothing/below", "z", "."} {
		for _, startAfter := range append([]string{"", "a", "a/", "a/b-c", "a/c/1", "a/zzz", "log/x", "log/x/gone", "zzz", "b"}, want...) {
			require.Equal(t, selected(want, prefix, startAfter), keys(t, s, prefix, startAfter),
				"prefix %q, start after %q", prefix, startAfter)
		}
	}
}

func selected(all []string, prefix, startAfter string) []string {
	var chosen []string
	for _, key := range all {
		if strings.HasPrefix(key, prefix) && key > startAfter {
			chosen = append(chosen, key)
		}
	}
	return chosen
}

func listGoesOverPages(t *testing.T, s objstore.Store) {
	const objects = 1203 // more than a page of S3
	want := make([]string, objects)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < objects; i += 8 {
				want[i] = fmt.Sprintf("log/x/%020d", i)
				if err := s.PutIfAbsent(t.Context(), want[i], nil); err != nil {
					t.Errorf("put %s: %v", want[i], err)
				}
			}
		})
	}
	group.Wait()
	require.Equal(t, want, keys(t, s, "log/", ""))
	require.Equal(t, want[1001:], keys(t, s, "log/x/", want[1000]))
}

func listMayBeLeftAndRepeated(t *testing.T, s objstore.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("k/%d", i), nil)
	}
	listing := s.List(t.Context(), "k/", "")
	for range 2 {
		var first []string
		for info, err := range listing {
			require.NoError(t, err)
			if first = append(first, info.Key); len(first) == 2 {
				break
			}
		}
		require.Equal(t, []string{"k/0", "k/1"}, first)
	}
}

func contextThatEndedStopsEveryCall(t *testing.T, s objstore.Store) {
	put(t, s, "key", []byte("body"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.PutIfAbsent(ctx, "other", nil), context.Canceled)
	_, err := s.Get(ctx, "key", objstore.Whole)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Head(ctx, "key")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Delete(ctx, "key"), context.Canceled)
	var failure error
	for _, failure = range s.List(ctx, "", "") {
	}
	require.ErrorIs(t, failure, context.Canceled)
	require.Equal(t, []string{"key"}, keys(t, s, "", ""), "nothing changed")
}

func probePasses(t *testing.T, s objstore.Store) {
	require.NoError(t, objstore.Probe(t.Context(), s))
	require.Empty(t, keys(t, s, "", ""), "it cleans up")
}

func clusterIsMadeOnce(t *testing.T, s objstore.Store) {
	const racers = 8
	found := make([]objstore.Cluster, racers)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			var err error
			if found[i], err = objstore.OpenCluster(t.Context(), s, 64); err != nil {
				t.Errorf("open: %v", err)
			}
		})
	}
	group.Wait()
	for _, cluster := range found {
		require.Equal(t, found[0], cluster)
	}
	again, err := objstore.OpenCluster(t.Context(), s, 64)
	require.NoError(t, err)
	require.Equal(t, found[0], again)
}

func put(t *testing.T, s objstore.Store, key string, body []byte) {
	t.Helper()
	require.NoError(t, s.PutIfAbsent(t.Context(), key, body))
}

func requireBody(t *testing.T, s objstore.Store, key, want string) {
	t.Helper()
	object, err := s.Get(t.Context(), key, objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, want, string(object.Body))
}

func keys(t *testing.T, s objstore.Store, prefix, startAfter string) []string {
	t.Helper()
	var all []string
	for info, err := range s.List(t.Context(), prefix, startAfter) {
		require.NoError(t, err)
		all = append(all, info.Key)
	}
	return all
}

// randomBody cannot be compressed, and differs for each size.
func randomBody(size int) []byte {
	body := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)})
	_, _ = source.Read(body) // never fails
	return body
}
