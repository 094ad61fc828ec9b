package settings_test

import (
	"testing"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

var (
	current   = stream.Config{StorageClass: 2, TimestampingMode: 2, AllowFutureTimestamps: true, RetentionSeconds: 10, DeleteOnEmptySeconds: 20}
	inherited = stream.Config{StorageClass: 1, TimestampingMode: 3, RetentionSeconds: 30, DeleteOnEmptySeconds: 40}
)

func TestStreamChange_TouchesOnlyWhatItIsTo(t *testing.T) {
	given := &samsav1.StreamConfig{
		StorageClass:          samsav1.StorageClass_STORAGE_CLASS_STANDARD,
		RetentionAgeSeconds:   new(uint64(0)),
		AllowFutureTimestamps: new(false),
		TimestampingMode:      samsav1.TimestampingMode_TIMESTAMPING_MODE_ARRIVAL,
	}
	for name, x := range map[string]struct {
		config *samsav1.StreamConfig
		mask   *fieldmaskpb.FieldMask
		want   func(c *stream.Config)
	}{
		"nothing set, no mask":  {nil, nil, func(*stream.Config) {}},
		"nothing set, no paths": {&samsav1.StreamConfig{}, mask(), func(*stream.Config) {}},
		"fields set, no mask":   {&samsav1.StreamConfig{AllowFutureTimestamps: new(false)}, nil, func(c *stream.Config) { c.AllowFutureTimestamps = false }},
		"set to zero, no mask":  {&samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(0))}, nil, func(c *stream.Config) { c.RetentionSeconds = 0 }},
		"one of many masked":    {given, mask("retention_age_seconds"), func(c *stream.Config) { c.RetentionSeconds = 0 }},
		"two of many masked":    {given, mask("storage_class", "timestamping_mode"), func(c *stream.Config) { c.StorageClass, c.TimestampingMode = 1, 3 }},
		"masked and left out":   {given, mask("delete_on_empty_min_age_seconds"), func(c *stream.Config) { c.DeleteOnEmptySeconds = 40 }},
		"bool masked, left out": {nil, mask("allow_future_timestamps"), func(c *stream.Config) { c.AllowFutureTimestamps = false }},
		"masked twice":          {given, mask("storage_class", "storage_class"), func(c *stream.Config) { c.StorageClass = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			change, err := settings.NewStreamChange(x.config, x.mask)
			require.NoError(t, err)
			want := current
			x.want(&want)
			require.Equal(t, want, change(current, inherited))
		})
	}
}

func TestStreamChange_RefusesWhatMeansNothing(t *testing.T) {
	for name, x := range map[string]struct {
		config *samsav1.StreamConfig
		mask   *fieldmaskpb.FieldMask
		field  string
	}{
		"unknown path":          {nil, mask("colour"), "mask"},
		"empty path":            {nil, mask(""), "mask"},
		"path of a bucket":      {nil, mask("default_stream_config.storage_class"), "mask"},
		"path with its prefix":  {nil, mask("config.storage_class"), "mask"},
		"unspecified class":     {nil, mask("storage_class"), "config.storage_class"},
		"unspecified mode":      {nil, mask("timestamping_mode"), "config.timestamping_mode"},
		"unknown class":         {&samsav1.StreamConfig{StorageClass: 3}, nil, "config.storage_class"},
		"negative class":        {&samsav1.StreamConfig{StorageClass: -1}, nil, "config.storage_class"},
		"unknown mode":          {&samsav1.StreamConfig{TimestampingMode: 4}, nil, "config.timestamping_mode"},
		"unknown, not masked":   {&samsav1.StreamConfig{TimestampingMode: 4}, mask("storage_class"), "config.timestamping_mode"},
		"retention too long":    {&samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(1 << 63))}, nil, "config.retention_age_seconds"},
		"delete after too long": {&samsav1.StreamConfig{DeleteOnEmptyMinAgeSeconds: new(uint64(settings.MaxSeconds + 1))}, nil, "config.delete_on_empty_min_age_seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := settings.NewStreamChange(x.config, x.mask)
			requireInvalid(t, err, x.field)
		})
	}
}

func requireInvalid(t *testing.T, err error, field string) {
	t.Helper()
	var invalid *settings.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, field, invalid.Field)
}

func TestBucketChange_TouchesOnlyWhatItIsTo(t *testing.T) {
	before := settings.Bucket{
		DefaultStream:        settings.Stream{StorageClass: 2, TimestampingMode: 2, RetentionSeconds: new(uint64(5))},
		CreateStreamOnAppend: new(true),
	}
	given := &samsav1.BucketConfig{
		DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: 1, AllowFutureTimestamps: new(true)},
		CreateStreamOnRead:  new(true),
	}
	for name, x := range map[string]struct {
		config *samsav1.BucketConfig
		mask   *fieldmaskpb.FieldMask
		want   func(b *settings.Bucket)
	}{
		"nothing set, no mask": {nil, nil, func(*settings.Bucket) {}},
		"fields set, no mask": {given, nil, func(b *settings.Bucket) {
			b.DefaultStream.StorageClass, b.DefaultStream.AllowFutureTimestamps = 1, new(true)
			b.CreateStreamOnRead = new(true)
		}},
		"one nested": {given, mask("default_stream_config.storage_class"), func(b *settings.Bucket) { b.DefaultStream.StorageClass = 1 }},
		"nested and left out is inherited again": {given, mask("default_stream_config.timestamping_mode", "default_stream_config.retention_age_seconds"),
			func(b *settings.Bucket) { b.DefaultStream.TimestampingMode, b.DefaultStream.RetentionSeconds = 0, nil }},
		"unspecified is inherited again": {nil, mask("default_stream_config.storage_class"), func(b *settings.Bucket) { b.DefaultStream.StorageClass = 0 }},
		"whole default": {given, mask("default_stream_config"), func(b *settings.Bucket) {
			b.DefaultStream = settings.Stream{StorageClass: 1, AllowFutureTimestamps: new(true)}
		}},
		"flag left out": {given, mask("create_stream_on_append"), func(b *settings.Bucket) { b.CreateStreamOnAppend = nil }},
		"flag":          {given, mask("create_stream_on_read"), func(b *settings.Bucket) { b.CreateStreamOnRead = new(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			change, err := settings.NewBucketChange(x.config, x.mask)
			require.NoError(t, err)
			want := before
			x.want(&want)
			require.Equal(t, want, change(before))
		})
	}
}

func TestBucketChange_RefusesWhatMeansNothing(t *testing.T) {
	_, err := settings.NewBucketChange(nil, mask("storage_class"))
	requireInvalid(t, err, "mask")
	_, err = settings.NewBucketChange(nil, mask("default_stream_config.colour"))
	requireInvalid(t, err, "mask")
	_, err = settings.NewBucketChange(&samsav1.BucketConfig{DefaultStreamConfig: &samsav1.StreamConfig{StorageClass: 9}}, nil)
	requireInvalid(t, err, "config.default_stream_config.storage_class")
}

func TestBucket_RoundTripsThroughTheAPI(t *testing.T) {
	for _, m := range []*samsav1.BucketConfig{
		{DefaultStreamConfig: &samsav1.StreamConfig{}},
		{
			DefaultStreamConfig: &samsav1.StreamConfig{
				StorageClass: 2, RetentionAgeSeconds: new(uint64(settings.MaxSeconds)), TimestampingMode: 3,
				AllowFutureTimestamps: new(false), DeleteOnEmptyMinAgeSeconds: new(uint64(0)),
			},
			CreateStreamOnAppend: new(false), CreateStreamOnRead: new(true),
		},
	} {
		b, err := settings.BucketFromProto(m)
		require.NoError(t, err)
		require.True(t, proto.Equal(m, b.Proto()))
	}
}

func TestConfig_RoundTripsThroughTheAPI(t *testing.T) {
	for _, c := range []stream.Config{current, inherited, stream.DefaultConfig()} {
		got, err := settings.ConfigFromProto(settings.ConfigProto(c))
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	got, err := settings.ConfigFromProto(nil)
	require.NoError(t, err)
	require.Equal(t, stream.DefaultConfig(), got)
}
