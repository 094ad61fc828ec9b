package server_test

import (
	"context"
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
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func (s *service) create(t *testing.T, name string) (*samsav1.StreamInfo, error) {
	t.Helper()
	r, err := s.CreateStream(t.Context(), &samsav1.CreateStreamRequest{Bucket: "logs", Stream: name})
	return r.GetInfo(), err
}

func (s *service) mustCreate(t *testing.T, name string) catalog.Stream {
	t.Helper()
	_, err := s.create(t, name)
	require.NoError(t, err)
	found, _, err := s.catalog.LookupStream(t.Context(), stream.Name{Bucket: "logs", Stream: name})
	require.NoError(t, err)
	return found
}

func (s *service) delete(t *testing.T, name string) error {
	t.Helper()
	_, err := s.DeleteStream(t.Context(), &samsav1.DeleteStreamRequest{Bucket: "logs", Stream: name})
	return err
}

func (s *service) config(t *testing.T, name string) (*samsav1.StreamConfig, error) {
	t.Helper()
	r, err := s.GetStreamConfig(t.Context(), &samsav1.GetStreamConfigRequest{Bucket: "logs", Stream: name})
	return r.GetConfig(), err
}

func (s *service) reconfigure(t *testing.T, name string, c *samsav1.StreamConfig, paths ...string) (*samsav1.StreamConfig, error) {
	t.Helper()
	r, err := s.ReconfigureStream(t.Context(), &samsav1.ReconfigureStreamRequest{
		Bucket: "logs", Stream: name, Config: c, Mask: &fieldmaskpb.FieldMask{Paths: paths},
	})
	return r.GetConfig(), err
}

func requireEqual(t *testing.T, want, got proto.Message) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
}

func TestStreamNames_AreChecked(t *testing.T) {
	s := start(t, minimum)
	for _, name := range []string{"", ".", "..", "a\x00", strings.Repeat("a", 513)} {
		_, err := s.create(t, name)
		requireInvalid(t, err, "stream")
		requireInvalid(t, s.delete(t, name), "stream")
		_, err = s.config(t, name)
		requireInvalid(t, err, "stream")
		_, err = s.reconfigure(t, name, nil)
		requireInvalid(t, err, "stream")
	}
	for _, name := range []string{"a", "/", "a/../b", "...", "ä ö", "%2F", strings.Repeat("a", 512)} {
		info, err := s.create(t, name)
		require.NoError(t, err)
		require.Equal(t, name, info.GetName())
	}
}

func TestBucket_ComesInRequestOrMetadata(t *testing.T) {
	s := start(t, minimum)
	with := func(buckets ...string) context.Context {
		ctx := t.Context()
		for _, b := range buckets {
			ctx = metadata.AppendToOutgoingContext(ctx, "bucket", b)
		}
		return ctx
	}
	_, err := s.CreateStream(with("logs"), &samsav1.CreateStreamRequest{Stream: "a"})
	require.NoError(t, err)
	_, err = s.CreateStream(with("logs"), &samsav1.CreateStreamRequest{Bucket: "logs", Stream: "b"})
	require.NoError(t, err)
	list, err := s.ListStreams(with("logs"), &samsav1.ListStreamsRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetStreams(), 2)

	for _, bad := range []struct {
		ctx    context.Context
		bucket string
	}{
		{with(), ""}, {with("other"), "logs"}, {with("logs", "other"), ""}, {with("Bad"), ""}, {with(), "-bad"},
	} {
		_, err = s.CreateStream(bad.ctx, &samsav1.CreateStreamRequest{Bucket: bad.bucket, Stream: "c"})
		requireInvalid(t, err, "bucket")
		_, err = s.ListStreams(bad.ctx, &samsav1.ListStreamsRequest{Bucket: bad.bucket})
		requireInvalid(t, err, "bucket")
		_, err = s.GetStreamConfig(bad.ctx, &samsav1.GetStreamConfigRequest{Bucket: bad.bucket, Stream: "a"})
		requireInvalid(t, err, "bucket")
		_, err = s.DeleteStream(bad.ctx, &samsav1.DeleteStreamRequest{Bucket: bad.bucket, Stream: "a"})
		requireInvalid(t, err, "bucket")
		_, err = s.ReconfigureStream(bad.ctx, &samsav1.ReconfigureStreamRequest{Bucket: bad.bucket, Stream: "a"})
		requireInvalid(t, err, "bucket")
	}
}

func TestCreateStream_ResolvesRequestThenBucketThenSystem(t *testing.T) {
	s := start(t, minimum)
	_, err := s.catalog.ReconfigureBucket(t.Context(), "logs", func(settings.Bucket) settings.Bucket {
		return settings.Bucket{DefaultStream: settings.Stream{StorageClass: stream.StorageClassExpress, AllowFutureTimestamps: new(true)}}
	})
	require.NoError(t, err)
	r, err := s.CreateStream(t.Context(), &samsav1.CreateStreamRequest{Bucket: "logs", Stream: "a",
		Config: &samsav1.StreamConfig{AllowFutureTimestamps: new(false)}})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), time.UnixMilli(int64(r.GetInfo().GetCreatedAt())), time.Minute)
	require.Nil(t, r.GetInfo().DeletedAt)

	got, err := s.config(t, "a")
	require.NoError(t, err)
	requireEqual(t, &samsav1.StreamConfig{
		StorageClass:               samsav1.StorageClass_STORAGE_CLASS_EXPRESS,
		RetentionAgeSeconds:        new(uint64(7 * 24 * 60 * 60)),
		TimestampingMode:           samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_PREFER,
		AllowFutureTimestamps:      new(false),
		DeleteOnEmptyMinAgeSeconds: new(uint64(0)),
	}, got)
}

func TestCreateStream_RefusesNamesInUseMissingBucketsAndBadConfig(t *testing.T) {
	s := start(t, minimum)
	s.mustCreate(t, "a")
	_, err := s.create(t, "a")
	requireError(t, err, codes.AlreadyExists, samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS)
	_, err = s.CreateStream(t.Context(), &samsav1.CreateStreamRequest{Bucket: "nothing", Stream: "a"})
	requireNotFound(t, err)
	_, err = s.CreateStream(t.Context(), &samsav1.CreateStreamRequest{Bucket: "logs", Stream: "b", Config: &samsav1.StreamConfig{TimestampingMode: 9}})
	requireInvalid(t, err, "config.timestamping_mode")
	_, err = s.config(t, "b")
	requireNotFound(t, err)
}

func TestListStreams_FollowsTheRulesOfLists(t *testing.T) {
	s := start(t, minimum)
	for _, name := range []string{"b", "a/2", "a/1", "a%"} {
		s.mustCreate(t, name)
	}
	for _, x := range []struct {
		request *samsav1.ListStreamsRequest
		want    []string
		more    bool
	}{
		{&samsav1.ListStreamsRequest{}, []string{"a%", "a/1", "a/2", "b"}, false},
		{&samsav1.ListStreamsRequest{Limit: new(uint64(0))}, []string{"a%", "a/1", "a/2", "b"}, false},
		{&samsav1.ListStreamsRequest{Prefix: "a/", Limit: new(uint64(1))}, []string{"a/1"}, true},
		{&samsav1.ListStreamsRequest{Prefix: "a/", StartAfter: "a/1"}, []string{"a/2"}, false},
		{&samsav1.ListStreamsRequest{Prefix: "a%"}, []string{"a%"}, false},
		{&samsav1.ListStreamsRequest{StartAfter: "b"}, nil, false},
	} {
		x.request.Bucket = "logs"
		r, err := s.ListStreams(t.Context(), x.request)
		require.NoError(t, err)
		var names []string
		for _, info := range r.GetStreams() {
			names = append(names, info.GetName())
		}
		require.Equal(t, x.want, names, "%v", x.request)
		require.Equal(t, x.more, r.GetHasMore(), "%v", x.request)
	}
	_, err := s.ListStreams(t.Context(), &samsav1.ListStreamsRequest{Bucket: "nothing"})
	requireNotFound(t, err)
	_, err = s.ListStreams(t.Context(), &samsav1.ListStreamsRequest{Bucket: "logs", StartAfter: "\x00"})
	requireInvalid(t, err, "start_after")
}

func TestReconfigureStream_ReturnsWhenTheOwnerHasAcknowledged(t *testing.T) {
	s := start(t, 0)
	created := s.mustCreate(t, "a")
	got, err := s.reconfigure(t, "a", &samsav1.StreamConfig{
		RetentionAgeSeconds: new(uint64(60)), AllowFutureTimestamps: new(true),
	}, "retention_age_seconds")
	require.NoError(t, err)
	want := settings.ConfigProto(created.Config)
	want.RetentionAgeSeconds = new(uint64(60))
	requireEqual(t, want, got)
	told := s.writer.configOf(created.ID)
	requireEqual(t, want, told.GetConfig())
	require.EqualValues(t, 2, told.GetConfigVersion())
	require.Equal(t, "logs", told.GetBucket())
	require.Equal(t, "a", told.GetStream())
	require.EqualValues(t, created.Name.Shard(shards), s.router.last.Load())

	unfinished, err := s.catalog.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Empty(t, unfinished)
}

func TestReconfigureStream_RefusesWhatMeansNothing(t *testing.T) {
	s := start(t, minimum)
	created := s.mustCreate(t, "a")
	_, err := s.reconfigure(t, "a", nil, "colour")
	requireInvalid(t, err, "mask")
	_, err = s.reconfigure(t, "a", &samsav1.StreamConfig{}, "storage_class")
	requireInvalid(t, err, "config.storage_class")
	_, err = s.reconfigure(t, "a", &samsav1.StreamConfig{StorageClass: 4})
	requireInvalid(t, err, "config.storage_class")
	_, err = s.reconfigure(t, "nothing", nil)
	requireNotFound(t, err)
	require.Nil(t, s.writer.configOf(created.ID))
}

func TestReconfigureStream_TakesEffectLaterIfTheOwnerIsAway(t *testing.T) {
	s := start(t, 0)
	created := s.mustCreate(t, "a")
	s.writer.refuseNext(1)
	_, err := s.reconfigure(t, "a", &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(60))})
	requireUnfinished(t, err, "configuration_unfinished")
	got, err := s.config(t, "a")
	require.NoError(t, err)
	require.EqualValues(t, 60, got.GetRetentionAgeSeconds(), "it is stored")

	// Another process takes it up, and fails at first.
	other := startOn(t, s.catalog, time.Millisecond)
	other.writer.refuseNext(3)
	require.Eventually(t, func() bool {
		return other.finisher.Round(t.Context()) == nil && other.writer.configOf(created.ID) != nil
	},
		10*time.Second, 5*time.Millisecond)
	require.EqualValues(t, 60, other.writer.configOf(created.ID).GetConfig().GetRetentionAgeSeconds())
	unfinished, err := s.catalog.ClaimStreams(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Empty(t, unfinished)
}

func TestDeleteStream_ReturnsWhenTheOwnerHasAcknowledgedAndFreesTheName(t *testing.T) {
	s := start(t, minimum)
	first := s.mustCreate(t, "a")
	s.writer.gate = make(chan struct{})
	deleted := make(chan error)
	go func() {
		_, err := s.DeleteStream(t.Context(), &samsav1.DeleteStreamRequest{Bucket: "logs", Stream: "a"})
		deleted <- err
	}()
	<-s.writer.gate
	// While the owner is asked the name is neither usable nor free.
	_, err := s.config(t, "a")
	requirePending(t, err)
	_, err = s.create(t, "a")
	requirePending(t, err)
	_, err = s.reconfigure(t, "a", nil)
	requirePending(t, err)
	requirePending(t, s.delete(t, "a"))
	list, err := s.ListStreams(t.Context(), &samsav1.ListStreamsRequest{Bucket: "logs"})
	require.NoError(t, err)
	require.NotZero(t, list.GetStreams()[0].GetDeletedAt())
	<-s.writer.gate
	require.NoError(t, <-deleted)
	require.True(t, s.writer.hasEnded(first.ID))
	requireNotFound(t, s.delete(t, "a"))
	second := s.mustCreate(t, "a")
	require.NotEqual(t, first.ID, second.ID)
}

func TestDeleteStream_GoesOnAfterTheOwnerWasAway(t *testing.T) {
	s := start(t, 0)
	created := s.mustCreate(t, "a")
	s.writer.refuseNext(1)
	requireUnfinished(t, s.delete(t, "a"), "deletion_unfinished")
	requirePending(t, s.delete(t, "a"))
	_, err := s.create(t, "a")
	requirePending(t, err)

	// Another process takes it up, and fails at first.
	other := startOn(t, s.catalog, time.Millisecond)
	other.writer.refuseNext(3)
	require.Eventually(t, func() bool { return other.finisher.Round(t.Context()) == nil && other.writer.hasEnded(created.ID) },
		10*time.Second, 5*time.Millisecond)
	_, err = s.config(t, "a")
	requireNotFound(t, err)
}

func TestDeleteStream_OfMissingOnes(t *testing.T) {
	s := start(t, minimum)
	requireNotFound(t, s.delete(t, "a"))
	_, err := s.DeleteStream(t.Context(), &samsav1.DeleteStreamRequest{Bucket: "nothing", Stream: "a"})
	requireNotFound(t, err)
}

func TestFinisher_TwoOfThemDoNotMind(t *testing.T) {
	s := start(t, 0)
	const n = 150 // more than are claimed at once
	for i := range n {
		s.mustCreate(t, fmt.Sprint(i))
		_, err := s.catalog.BeginStreamDeletion(t.Context(), stream.Name{Bucket: "logs", Stream: fmt.Sprint(i)}, 0)
		require.NoError(t, err)
	}
	other := startOn(t, s.catalog, minimum)
	s = startOn(t, s.catalog, minimum)
	done := make(chan error, 2)
	for _, x := range []*service{s, other} {
		go func() { done <- x.finisher.Round(t.Context()) }()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.NoError(t, s.finisher.Round(t.Context()), "what both have skipped")
	list, err := s.ListStreams(t.Context(), &samsav1.ListStreamsRequest{Bucket: "logs"})
	require.NoError(t, err)
	require.Empty(t, list.GetStreams())
}

func TestFinisher_OneFailureDoesNotStopTheOthers(t *testing.T) {
	s := start(t, minimum)
	for _, name := range []string{"a", "b", "c"} {
		created := s.mustCreate(t, name)
		_, err := s.catalog.BeginStreamDeletion(t.Context(), created.Name, 0)
		require.NoError(t, err)
	}
	s.writer.refuseNext(1)
	require.ErrorContains(t, s.finisher.Round(t.Context()), "1 streams are left")
	list, err := s.ListStreams(t.Context(), &samsav1.ListStreamsRequest{Bucket: "logs"})
	require.NoError(t, err)
	require.Len(t, list.GetStreams(), 1)
}

func TestStreamsOfADyingBucket_SayThatItsDeletionIsPending(t *testing.T) {
	s := start(t, minimum)
	s.mustCreate(t, "a")
	_, err := s.catalog.BeginBucketDeletion(t.Context(), "logs", minimum)
	require.NoError(t, err)
	for _, name := range []string{"a", "new"} {
		_, err = s.create(t, name)
		requirePending(t, err)
		_, err = s.config(t, name)
		requirePending(t, err)
		_, err = s.reconfigure(t, name, nil)
		requirePending(t, err)
		requirePending(t, s.delete(t, name))
	}
	_, err = s.ListStreams(t.Context(), &samsav1.ListStreamsRequest{Bucket: "logs"})
	requirePending(t, err)
}

func TestDatabaseAway_IsADatabaseError(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), "postgres://samsa@127.0.0.1:1/samsa?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := startOn(t, catalog.New(pool, catalog.Options{}), minimum)
	_, err = s.config(t, "a")
	detail := requireError(t, err, codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR)
	require.NotContains(t, detail.GetMessage(), "127.0.0.1", "what is inside stays inside")
}

// Postgres was put back to a backup: the owner has another stream of that name.
func TestChanges_AreRefusedWhileTheCatalogIsBehind(t *testing.T) {
	s := start(t, 0)
	created := s.mustCreate(t, "a")
	s.writer.behind = true
	s.writer.refuseNext(2)
	_, err := s.reconfigure(t, "a", &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(60))})
	for _, err := range []error{err, s.delete(t, "a")} {
		detail := requireError(t, err, codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR)
		require.Equal(t, "catalog_behind", detail.GetMetadata()["reason"])
	}
	require.False(t, s.writer.hasEnded(created.ID))
}
