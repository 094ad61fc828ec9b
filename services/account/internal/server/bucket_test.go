package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func (s *service) create(t *testing.T, bucket string) *samsav1.BucketInfo {
	t.Helper()
	r, err := s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: bucket})
	require.NoError(t, err)
	return r.GetInfo()
}

func (s *service) delete(t *testing.T, bucket string) error {
	t.Helper()
	_, err := s.DeleteBucket(t.Context(), &samsav1.DeleteBucketRequest{Bucket: bucket})
	return err
}

func (s *service) config(t *testing.T, bucket string) (*samsav1.BucketConfig, error) {
	t.Helper()
	r, err := s.GetBucketConfig(t.Context(), &samsav1.GetBucketConfigRequest{Bucket: bucket})
	return r.GetConfig(), err
}

func requireEqual(t *testing.T, want, got proto.Message) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
}

func TestBucketNames_AreChecked(t *testing.T) {
	s := start(t, minimum)
	for _, name := range []string{
		"", "ab", strings.Repeat("a", 64), "Logs", "lo_gs", "lo.gs", "-logs", "logs-", "lögs", "lo/gs", "lo\x00gs",
	} {
		_, err := s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: name})
		requireInvalid(t, err, "bucket")
		requireInvalid(t, s.delete(t, name), "bucket")
		_, err = s.config(t, name)
		requireInvalid(t, err, "bucket")
		_, err = s.ReconfigureBucket(t.Context(), &samsav1.ReconfigureBucketRequest{Bucket: name})
		requireInvalid(t, err, "bucket")
	}
	for _, name := range []string{"abc", "0-9", strings.Repeat("a", 63)} {
		require.Equal(t, name, s.create(t, name).GetName())
	}
}

func TestCreateBucket_TellsItsInfo(t *testing.T) {
	s := start(t, minimum)
	info := s.create(t, "logs")
	require.Equal(t, samsav1.BucketState_BUCKET_STATE_ACTIVE, info.GetState())
	require.WithinDuration(t, time.Now(), time.UnixMilli(int64(info.GetCreatedAt())), time.Minute)
	require.Nil(t, info.DeletedAt)
	_, err := s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: "logs"})
	requireExists(t, err)
}

func TestCreateBucket_RefusesUnknownEnums(t *testing.T) {
	s := start(t, minimum)
	_, err := s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: "logs", Config: &samsav1.BucketConfig{
		DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: 77},
	}})
	requireInvalid(t, err, "config.default_stream_config.storage_class")
	_, err = s.config(t, "logs")
	requireNotFound(t, err)
}

func TestGetBucketConfig_ShowsWhatIsSetAndOnlyThat(t *testing.T) {
	s := start(t, minimum)
	want := &samsav1.BucketConfig{
		DefaultStreamConfig:  &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(0)), AllowFutureTimestamps: new(false)},
		CreateStreamOnAppend: new(true),
	}
	_, err := s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: "logs", Config: want})
	require.NoError(t, err)
	got, err := s.config(t, "logs")
	require.NoError(t, err)
	requireEqual(t, want, got)
	_, err = s.config(t, "nothing")
	requireNotFound(t, err)
}

func TestReconfigureBucket_ChangesTheMaskedPathsOnly(t *testing.T) {
	s := start(t, minimum)
	_, err := s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: "logs", Config: &samsav1.BucketConfig{
		DefaultStreamConfig:  &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(60))},
		CreateStreamOnAppend: new(true),
	}})
	require.NoError(t, err)
	r, err := s.ReconfigureBucket(t.Context(), &samsav1.ReconfigureBucketRequest{
		Bucket: "logs",
		Config: &samsav1.BucketConfig{
			DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: samsav1.StorageClass_STORAGE_CLASS_EXPRESS, RetentionAgeSeconds: new(uint64(5))},
		},
		Mask: &fieldmaskpb.FieldMask{Paths: []string{"default_stream_config.storage_class", "create_stream_on_append"}},
	})
	require.NoError(t, err)
	want := &samsav1.BucketConfig{
		DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: samsav1.StorageClass_STORAGE_CLASS_EXPRESS, RetentionAgeSeconds: new(uint64(60))},
	}
	requireEqual(t, want, r.GetConfig())
	got, err := s.config(t, "logs")
	require.NoError(t, err)
	requireEqual(t, want, got)

	// Without a mask: the fields that are set.
	r, err = s.ReconfigureBucket(t.Context(), &samsav1.ReconfigureBucketRequest{
		Bucket: "logs", Config: &samsav1.BucketConfig{CreateStreamOnRead: new(true)},
	})
	require.NoError(t, err)
	want.CreateStreamOnRead = new(true)
	requireEqual(t, want, r.GetConfig())
}

func TestReconfigureBucket_RefusesUnknownPathsAndChangesNothing(t *testing.T) {
	s := start(t, minimum)
	s.create(t, "logs")
	_, err := s.ReconfigureBucket(t.Context(), &samsav1.ReconfigureBucketRequest{
		Bucket: "logs", Config: &samsav1.BucketConfig{CreateStreamOnRead: new(true)},
		Mask: &fieldmaskpb.FieldMask{Paths: []string{"create_stream_on_read", "colour"}},
	})
	requireInvalid(t, err, "mask")
	got, err := s.config(t, "logs")
	require.NoError(t, err)
	require.Nil(t, got.CreateStreamOnRead)
	_, err = s.ReconfigureBucket(t.Context(), &samsav1.ReconfigureBucketRequest{Bucket: "nothing"})
	requireNotFound(t, err)
}

func TestListBuckets_FollowsTheRulesOfLists(t *testing.T) {
	s := start(t, minimum)
	for _, name := range []string{"ccc", "aaa", "aab"} {
		s.create(t, name)
	}
	for _, x := range []struct {
		request *samsav1.ListBucketsRequest
		want    []string
		more    bool
	}{
		{&samsav1.ListBucketsRequest{}, []string{"aaa", "aab", "ccc"}, false},
		{&samsav1.ListBucketsRequest{Limit: new(uint64(0))}, []string{"aaa", "aab", "ccc"}, false},
		{&samsav1.ListBucketsRequest{Limit: new(uint64(2))}, []string{"aaa", "aab"}, true},
		{&samsav1.ListBucketsRequest{Limit: new(uint64(3))}, []string{"aaa", "aab", "ccc"}, false},
		{&samsav1.ListBucketsRequest{Prefix: "aa", StartAfter: "aaa"}, []string{"aab"}, false},
		{&samsav1.ListBucketsRequest{Prefix: "a%"}, nil, false},
	} {
		r, err := s.ListBuckets(t.Context(), x.request)
		require.NoError(t, err)
		var names []string
		for _, b := range r.GetBuckets() {
			names = append(names, b.GetName())
		}
		require.Equal(t, x.want, names, "%v", x.request)
		require.Equal(t, x.more, r.GetHasMore(), "%v", x.request)
	}
	_, err := s.ListBuckets(t.Context(), &samsav1.ListBucketsRequest{Prefix: "a\x00"})
	requireInvalid(t, err, "prefix")
}

func TestDeleteBucket_ReturnsWhenEveryOwnerHasAcknowledged(t *testing.T) {
	s := start(t, minimum)
	s.create(t, "logs")
	b, err := s.catalog.GetBucket(t.Context(), "logs")
	require.NoError(t, err)
	require.NoError(t, s.delete(t, "logs"))
	require.Equal(t, shards, s.writer.tombstonesOf(b.ID))

	// Until it is gone the name says so.
	requirePending(t, s.delete(t, "logs"))
	_, err = s.config(t, "logs")
	requirePending(t, err)
	_, err = s.CreateBucket(t.Context(), &samsav1.CreateBucketRequest{Bucket: "logs"})
	requirePending(t, err)
	_, err = s.ReconfigureBucket(t.Context(), &samsav1.ReconfigureBucketRequest{Bucket: "logs"})
	requirePending(t, err)
	list, err := s.ListBuckets(t.Context(), &samsav1.ListBucketsRequest{})
	require.NoError(t, err)
	require.Equal(t, samsav1.BucketState_BUCKET_STATE_DELETING, list.GetBuckets()[0].GetState())
	require.NotZero(t, list.GetBuckets()[0].GetDeletedAt())

	// Then it is free.
	calls := s.writer.callCount()
	require.NoError(t, s.purger.Round(t.Context()))
	require.Equal(t, calls, s.writer.callCount(), "the owners have said all they have to")
	_, err = s.config(t, "logs")
	requireNotFound(t, err)
	requireNotFound(t, s.delete(t, "logs"))
	s.create(t, "logs")
}

func TestDeleteBucket_TakesItsStreamsAlong(t *testing.T) {
	s := start(t, minimum)
	s.create(t, "logs")
	const streams = 2500 // more than are removed at once
	for i := range streams {
		_, err := s.catalog.CreateStream(t.Context(), stream.Name{Bucket: "logs", Stream: fmt.Sprint(i)}, settings.Stream{})
		require.NoError(t, err)
	}
	require.NoError(t, s.delete(t, "logs"))
	require.NoError(t, s.purger.Round(t.Context()))
	s.create(t, "logs")
	list, _, err := s.catalog.ListStreams(t.Context(), "logs", catalog.Page{})
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestDeleteBucket_GoesOnAfterOwnersWereAway(t *testing.T) {
	s := start(t, 0)
	s.create(t, "logs")
	b, err := s.catalog.GetBucket(t.Context(), "logs")
	require.NoError(t, err)
	s.writer.refuseNext(1 << 30)
	detail := requireError(t, s.delete(t, "logs"), codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_NETWORK_ERROR)
	require.Equal(t, "deletion_unfinished", detail.GetMetadata()["reason"])
	requirePending(t, s.delete(t, "logs"))

	// Another process takes it up, and fails at first.
	other := startOn(t, s.catalog, time.Millisecond)
	other.writer.refuseNext(3)
	require.Eventually(t, func() bool {
		return other.purger.Round(t.Context()) == nil && other.writer.tombstonesOf(b.ID) == shards
	},
		10*time.Second, 5*time.Millisecond)
	_, err = s.config(t, "logs")
	requireNotFound(t, err)
}

func TestDeleteBucket_TwoPurgersDoNotMind(t *testing.T) {
	s := start(t, 0)
	s.writer.refuseNext(1 << 30)
	for i := range 20 {
		s.create(t, fmt.Sprintf("bucket-%d", i))
		require.Error(t, s.delete(t, fmt.Sprintf("bucket-%d", i)))
	}
	s.writer.refuseNext(0)
	other := startOn(t, s.catalog, minimum)
	done := make(chan error, 2)
	for _, p := range []*service{s, other} {
		go func() { done <- p.purger.Round(t.Context()) }()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	list, err := s.ListBuckets(t.Context(), &samsav1.ListBucketsRequest{})
	require.NoError(t, err)
	require.Empty(t, list.GetBuckets())
}

func TestDatabaseAway_IsADatabaseError(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), "postgres://samsa@127.0.0.1:1/samsa?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := startOn(t, catalog.New(pool, catalog.Options{}), minimum)
	_, err = s.config(t, "logs")
	detail := requireError(t, err, codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR)
	require.NotContains(t, detail.GetMessage(), "127.0.0.1", "what is inside stays inside")
}
