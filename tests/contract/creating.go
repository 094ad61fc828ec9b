package contract

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

const (
	standard = samsav1.StorageClass_STORAGE_CLASS_STANDARD
	express  = samsav1.StorageClass_STORAGE_CLASS_EXPRESS
	prefer   = samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_PREFER
	demand   = samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_REQUIRE
	arrival  = samsav1.TimestampingMode_TIMESTAMPING_MODE_ARRIVAL
	week     = 7 * 24 * 60 * 60
)

// systemDefault is what a stream has where nobody says otherwise.
func systemDefault() *samsav1.StreamConfig {
	return &samsav1.StreamConfig{
		StorageClass: standard, RetentionAgeSeconds: new(uint64(week)), TimestampingMode: prefer,
		AllowFutureTimestamps: new(false), DeleteOnEmptyMinAgeSeconds: new(uint64(0)),
	}
}

func (a *at) config(t testing.TB) *samsav1.StreamConfig {
	t.Helper()
	response, err := a.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: a.stream})
	require.NoError(t, err)
	return response.GetConfig()
}

// requireSame compares messages.
func requireSame(t testing.TB, want, got proto.Message) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
}

// TestCreating_TellsWhatWasMade.
func (s *Suite) TestCreating_TellsWhatWasMade(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		before := uint64(time.Now().Add(-time.Minute).UnixMilli())
		name := s.unique()
		bucket, err := d.CreateBucket(call(t), &samsav1.CreateBucketRequest{Bucket: name})
		require.NoError(t, err)
		require.Equal(t, name, bucket.GetInfo().GetName())
		require.Equal(t, samsav1.BucketState_BUCKET_STATE_ACTIVE, bucket.GetInfo().GetState())
		require.Greater(t, bucket.GetInfo().GetCreatedAt(), before, "milliseconds")
		require.Nil(t, bucket.GetInfo().DeletedAt)
		stream, err := d.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: name, Stream: "a/b"})
		require.NoError(t, err)
		require.Equal(t, "a/b", stream.GetInfo().GetName())
		require.Greater(t, stream.GetInfo().GetCreatedAt(), before, "milliseconds")
		require.Nil(t, stream.GetInfo().DeletedAt)
		list, err := d.ListBuckets(call(t), &samsav1.ListBucketsRequest{Prefix: name})
		require.NoError(t, err)
		requireSame(t, bucket.GetInfo(), list.GetBuckets()[0])
		streams, err := d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: name})
		require.NoError(t, err)
		requireSame(t, stream.GetInfo(), streams.GetStreams()[0])
	})
}

// TestCreating_NameInUseAlreadyExists, and keeps its settings.
func (s *Suite) TestCreating_NameInUseAlreadyExists(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{StorageClass: express})
		_, err := d.CreateBucket(call(t), &samsav1.CreateBucketRequest{
			Bucket: a.bucket, Config: &samsav1.BucketConfig{CreateStreamOnAppend: new(true)},
		})
		requireFailure(t, exists, err)
		config, err := d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: a.bucket})
		require.NoError(t, err)
		require.False(t, config.GetConfig().GetCreateStreamOnAppend())
		_, err = d.CreateStream(call(t), &samsav1.CreateStreamRequest{
			Bucket: a.bucket, Stream: a.stream, Config: &samsav1.StreamConfig{StorageClass: standard},
		})
		requireFailure(t, exists, err)
		require.Equal(t, express, a.config(t).GetStorageClass())
	})
}

// TestCreating_OneOfManyAtOnceWins.
func (s *Suite) TestCreating_OneOfManyAtOnceWins(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, nil)
		var made atomic.Uint64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				_, err := d.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: bucket, Stream: "s"})
				if err == nil {
					made.Add(1)
				} else if !exists.is(err) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		require.EqualValues(t, 1, made.Load())
	})
}

// TestCreating_StreamInMissingBucketIsNotFound.
func (s *Suite) TestCreating_StreamInMissingBucketIsNotFound(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		_, err := d.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: s.unique(), Stream: "s"})
		requireFailure(t, notFound, err)
	})
}

// TestCreating_ConfigResolvesFromRequestThenBucketThenSystem, at creation: what the
// bucket says later does not matter.
func (s *Suite) TestCreating_ConfigResolvesFromRequestThenBucketThenSystem(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		plain := s.stream(t, d, &samsav1.StreamConfig{})
		requireSame(t, systemDefault(), plain.config(t))

		bucket := s.bucket(t, &samsav1.BucketConfig{DefaultStreamConfig: &samsav1.StreamConfig{
			StorageClass: express, RetentionAgeSeconds: new(uint64(0)), AllowFutureTimestamps: new(true),
		}})
		inherits := &at{door: d, bucket: bucket, stream: "inherits"}
		inherits.create(t, nil)
		want := systemDefault()
		want.StorageClass, want.RetentionAgeSeconds, want.AllowFutureTimestamps = express, new(uint64(0)), new(true)
		requireSame(t, want, inherits.config(t))

		says := inherits.named("says")
		says.create(t, &samsav1.StreamConfig{
			StorageClass: standard, TimestampingMode: arrival, AllowFutureTimestamps: new(false), DeleteOnEmptyMinAgeSeconds: new(uint64(60)),
		})
		requireSame(t, &samsav1.StreamConfig{
			StorageClass: standard, RetentionAgeSeconds: new(uint64(0)), TimestampingMode: arrival,
			AllowFutureTimestamps: new(false), DeleteOnEmptyMinAgeSeconds: new(uint64(60)),
		}, says.config(t))

		_, err := d.ReconfigureBucket(call(t), &samsav1.ReconfigureBucketRequest{
			Bucket: bucket, Config: &samsav1.BucketConfig{DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: standard}},
		})
		require.NoError(t, err)
		requireSame(t, want, inherits.config(t))
		later := inherits.named("later")
		later.create(t, nil)
		require.Equal(t, standard, later.config(t).GetStorageClass())
	})
}

// TestCreating_UnknownEnumValuesAreRefused, wherever there are settings.
func (s *Suite) TestCreating_UnknownEnumValuesAreRefused(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{})
		for _, bad := range []*samsav1.StreamConfig{{StorageClass: 99}, {TimestampingMode: 99}, {StorageClass: -1}} {
			_, err := d.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: a.bucket, Stream: "bad", Config: bad})
			requireFailure(t, invalid, err)
			_, err = d.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{Bucket: a.bucket, Stream: a.stream, Config: bad})
			requireFailure(t, invalid, err)
			name := s.unique()
			_, err = d.CreateBucket(call(t), &samsav1.CreateBucketRequest{Bucket: name, Config: &samsav1.BucketConfig{DefaultStreamConfig: bad}})
			requireFailure(t, invalid, err)
			_, err = d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: name})
			requireFailure(t, notFound, err)
			_, err = d.ReconfigureBucket(call(t), &samsav1.ReconfigureBucketRequest{Bucket: a.bucket, Config: &samsav1.BucketConfig{DefaultStreamConfig: bad}})
			requireFailure(t, invalid, err)
		}
		requireSame(t, systemDefault(), a.config(t))
		_, err := d.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: "bad"})
		requireFailure(t, notFound, err)
	})
}

// TestCreating_ReconfigureStreamChangesTheMaskedPathsOnly.
func (s *Suite) TestCreating_ReconfigureStreamChangesTheMaskedPathsOnly(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, &samsav1.StreamConfig{})
		change := &samsav1.StreamConfig{
			StorageClass: express, RetentionAgeSeconds: new(uint64(60)), TimestampingMode: arrival, AllowFutureTimestamps: new(true),
		}
		response, err := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
			Bucket: a.bucket, Stream: a.stream, Config: change,
			Mask: &fieldmaskpb.FieldMask{Paths: []string{"retention_age_seconds", "allow_future_timestamps"}},
		})
		require.NoError(t, err)
		want := systemDefault()
		want.RetentionAgeSeconds, want.AllowFutureTimestamps = new(uint64(60)), new(true)
		requireSame(t, want, response.GetConfig())
		requireSame(t, want, a.config(t))

		// Without a mask, what is set: also to false and 0.
		_, err = a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
			Bucket: a.bucket, Stream: a.stream,
			Config: &samsav1.StreamConfig{TimestampingMode: demand, RetentionAgeSeconds: new(uint64(0)), AllowFutureTimestamps: new(false)},
		})
		require.NoError(t, err)
		want.TimestampingMode, want.RetentionAgeSeconds, want.AllowFutureTimestamps = demand, new(uint64(0)), new(false)
		requireSame(t, want, a.config(t))

		// What is masked and left out goes back to what a new stream gets.
		_, err = a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
			Bucket: a.bucket, Stream: a.stream, Mask: &fieldmaskpb.FieldMask{Paths: []string{"retention_age_seconds"}},
		})
		require.NoError(t, err)
		want.RetentionAgeSeconds = new(uint64(week))
		requireSame(t, want, a.config(t))

		for _, path := range []string{"no_such_field", "storage_class.x", "*", "default_stream_config.storage_class"} {
			_, err = a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
				Bucket: a.bucket, Stream: a.stream, Config: change, Mask: &fieldmaskpb.FieldMask{Paths: []string{"storage_class", path}},
			})
			if d == s.grpc || path != "*" { // which JSON has no way to say
				requireFailure(t, invalid, err)
			}
			requireSame(t, want, a.config(t))
		}
	})
}

// TestCreating_ReconfigureTakesEffectOnAppends at once.
func (s *Suite) TestCreating_ReconfigureTakesEffectOnAppends(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		a.fill(t, "without a timestamp")
		_, err := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
			Bucket: a.bucket, Stream: a.stream, Config: &samsav1.StreamConfig{TimestampingMode: demand},
		})
		require.NoError(t, err)
		_, err = a.try(t, &samsav1.AppendRequest{Records: records("without a timestamp")})
		requireFailure(t, badTimestamp, err)
	})
}

// TestCreating_ReconfigureBucketChangesTheMaskedPathsOnly.
func (s *Suite) TestCreating_ReconfigureBucketChangesTheMaskedPathsOnly(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, &samsav1.BucketConfig{
			CreateStreamOnAppend: new(true), DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: express, RetentionAgeSeconds: new(uint64(60))},
		})
		change := func(config *samsav1.BucketConfig, paths ...string) *samsav1.BucketConfig {
			t.Helper()
			r := &samsav1.ReconfigureBucketRequest{Bucket: bucket, Config: config}
			if len(paths) > 0 {
				r.Mask = &fieldmaskpb.FieldMask{Paths: paths}
			}
			response, err := d.ReconfigureBucket(call(t), r)
			require.NoError(t, err)
			got, err := d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: bucket})
			require.NoError(t, err)
			requireSame(t, response.GetConfig(), got.GetConfig())
			return got.GetConfig()
		}
		got := change(&samsav1.BucketConfig{
			CreateStreamOnAppend: new(false), CreateStreamOnRead: new(true),
			DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: standard, RetentionAgeSeconds: new(uint64(5))},
		}, "create_stream_on_read", "default_stream_config.retention_age_seconds")
		require.True(t, got.GetCreateStreamOnAppend())
		require.True(t, got.GetCreateStreamOnRead())
		require.Equal(t, express, got.GetDefaultStreamConfig().GetStorageClass())
		require.EqualValues(t, 5, got.GetDefaultStreamConfig().GetRetentionAgeSeconds())

		got = change(&samsav1.BucketConfig{CreateStreamOnAppend: new(false), DefaultStreamConfig: &samsav1.StreamConfig{TimestampingMode: arrival}})
		require.False(t, got.GetCreateStreamOnAppend())
		require.True(t, got.GetCreateStreamOnRead())
		require.Equal(t, express, got.GetDefaultStreamConfig().GetStorageClass())
		require.Equal(t, arrival, got.GetDefaultStreamConfig().GetTimestampingMode())

		_, err := d.ReconfigureBucket(call(t), &samsav1.ReconfigureBucketRequest{
			Bucket: bucket, Config: &samsav1.BucketConfig{CreateStreamOnAppend: new(true)},
			Mask: &fieldmaskpb.FieldMask{Paths: []string{"create_stream_on_append", "no_such_field"}},
		})
		requireFailure(t, invalid, err)
		after, err := d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: bucket})
		require.NoError(t, err)
		requireSame(t, got, after.GetConfig())
	})
}

// TestCreating_MissingNamesAreNotFound, for every call that names one.
func (s *Suite) TestCreating_MissingNamesAreNotFound(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		missing := s.unique()
		_, err := d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: missing})
		requireFailure(t, notFound, err)
		_, err = d.ReconfigureBucket(call(t), &samsav1.ReconfigureBucketRequest{Bucket: missing, Config: &samsav1.BucketConfig{CreateStreamOnAppend: new(true)}})
		requireFailure(t, notFound, err)
		_, err = d.DeleteBucket(call(t), &samsav1.DeleteBucketRequest{Bucket: missing})
		requireFailure(t, notFound, err)
		for _, a := range []*at{{door: d, bucket: s.bucket(t, nil), stream: "none"}, {door: d, bucket: missing, stream: "none"}} {
			_, err = a.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: a.stream})
			requireFailure(t, notFound, err)
			_, err = a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{
				Bucket: a.bucket, Stream: a.stream, Config: &samsav1.StreamConfig{StorageClass: express},
			})
			requireFailure(t, notFound, err)
			_, err = a.DeleteStream(call(t), &samsav1.DeleteStreamRequest{Bucket: a.bucket, Stream: a.stream})
			requireFailure(t, notFound, err)
			_, err = a.CheckTail(call(t), &samsav1.CheckTailRequest{Bucket: a.bucket, Stream: a.stream})
			requireFailure(t, notFound, err)
		}
	})
}

// TestCreating_BucketMayStandInTheMetadata, as older clients send it; both given
// and different is refused.
func (s *Suite) TestCreating_BucketMayStandInTheMetadata(t *testing.T) {
	bucket, other := s.bucket(t, nil), s.bucket(t, nil)
	with := func() context.Context { return metadata.AppendToOutgoingContext(call(t), "bucket", bucket) }
	_, err := s.grpc.CreateStream(with(), &samsav1.CreateStreamRequest{Stream: "s"})
	require.NoError(t, err)
	list, err := s.grpc.ListStreams(with(), &samsav1.ListStreamsRequest{Bucket: bucket})
	require.NoError(t, err)
	require.Len(t, list.GetStreams(), 1)
	_, err = s.grpc.GetStreamConfig(with(), &samsav1.GetStreamConfigRequest{Stream: "s"})
	require.NoError(t, err)
	_, err = s.grpc.ReconfigureStream(with(), &samsav1.ReconfigureStreamRequest{Stream: "s", Config: &samsav1.StreamConfig{StorageClass: express}})
	require.NoError(t, err)
	_, err = s.grpc.CreateStream(with(), &samsav1.CreateStreamRequest{Stream: "t", Bucket: other})
	requireFailure(t, invalid, err)
	_, err = s.grpc.DeleteStream(with(), &samsav1.DeleteStreamRequest{Stream: "s", Bucket: other})
	requireFailure(t, invalid, err)
	_, err = s.grpc.DeleteStream(with(), &samsav1.DeleteStreamRequest{Stream: "s"})
	require.NoError(t, err)
}
