package client

import (
	"context"
	"iter"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// StorageClass says how soon an append is put into the object store. 0: inherit.
type StorageClass = stream.StorageClass

// The storage classes.
const (
	StorageClassStandard = stream.StorageClassStandard
	StorageClassExpress  = stream.StorageClassExpress
)

// TimestampingMode says who decides a record's timestamp. 0: inherit.
type TimestampingMode = stream.TimestampingMode

// The timestamping modes.
const (
	TimestampingClientPrefer  = stream.TimestampingClientPrefer
	TimestampingClientRequire = stream.TimestampingClientRequire
	TimestampingArrival       = stream.TimestampingArrival
)

// StreamConfig is a stream's settings. A zero field is inherited on creation,
// and left alone on reconfiguration unless the mask names it.
type StreamConfig struct {
	StorageClass          StorageClass
	RetentionAge          *time.Duration // whole seconds; 0: keep for ever
	TimestampingMode      TimestampingMode
	AllowFutureTimestamps *bool
	DeleteOnEmptyMinAge   *time.Duration // whole seconds; 0: never
}

// BucketConfig is a bucket's settings.
type BucketConfig struct {
	DefaultStream        StreamConfig
	CreateStreamOnAppend *bool
	CreateStreamOnRead   *bool
}

// Paths of masks. A path of a stream's settings is one of these with
// PathDefaultStream and a dot before it when a bucket is reconfigured.
const (
	PathStorageClass          = "storage_class"
	PathRetentionAge          = "retention_age_seconds"
	PathTimestampingMode      = "timestamping_mode"
	PathAllowFutureTimestamps = "allow_future_timestamps"
	PathDeleteOnEmptyMinAge   = "delete_on_empty_min_age_seconds"

	PathDefaultStream        = "default_stream_config"
	PathCreateStreamOnAppend = "create_stream_on_append"
	PathCreateStreamOnRead   = "create_stream_on_read"
)

// BucketState is where a bucket is in its life.
type BucketState = samsav1.BucketState

// The bucket states.
const (
	BucketActive   = samsav1.BucketState_BUCKET_STATE_ACTIVE
	BucketCreating = samsav1.BucketState_BUCKET_STATE_CREATING
	BucketDeleting = samsav1.BucketState_BUCKET_STATE_DELETING
)

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name      string
	State     BucketState
	CreatedAt time.Time
	DeletedAt *time.Time // when deletion was asked for
}

// StreamInfo describes a stream.
type StreamInfo struct {
	Name      string
	CreatedAt time.Time
	DeletedAt *time.Time // when deletion was asked for
}

// List says which names to list.
type List struct {
	Prefix     string // literal
	StartAfter string // exclusive
	PageSize   int    // names asked for in one call; 0: the server's most, 1000
}

func (l List) limit() *uint64 {
	if l.PageSize <= 0 {
		return nil
	}
	return new(uint64(l.PageSize))
}

// pages walks all pages of a list. An error ends it.
func pages[T any](l List, fetch func(List) ([]T, bool, error), name func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for page := l; ; {
			items, more, err := fetch(page)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if !more || len(items) == 0 {
				return
			}
			page.StartAfter = name(items[len(items)-1])
		}
	}
}

// Buckets lists buckets by name, through all pages.
func (c *Client) Buckets(ctx context.Context, l List) iter.Seq2[BucketInfo, error] {
	return pages(l, func(l List) ([]BucketInfo, bool, error) {
		resp, err := call(ctx, c.retry, readOnly, true, c.account().ListBuckets,
			&samsav1.ListBucketsRequest{Prefix: l.Prefix, StartAfter: l.StartAfter, Limit: l.limit()})
		return mapped(resp.GetBuckets(), bucketInfo), resp.GetHasMore(), err
	}, func(b BucketInfo) string { return b.Name })
}

// CreateBucket makes a bucket. ErrAlreadyExists: the name is in use.
func (c *Client) CreateBucket(ctx context.Context, name string, config BucketConfig) (BucketInfo, error) {
	resp, err := call(ctx, c.retry, changes, false, c.account().CreateBucket,
		&samsav1.CreateBucketRequest{Bucket: name, Config: config.proto()})
	return bucketInfo(resp.GetInfo()), err
}

// DeleteBucket deletes a bucket and its streams. Their data goes later.
func (c *Client) DeleteBucket(ctx context.Context, name string) error {
	_, err := call(ctx, c.retry, changes, false, c.account().DeleteBucket, &samsav1.DeleteBucketRequest{Bucket: name})
	return err
}

// BucketConfig is the settings of a bucket.
func (c *Client) BucketConfig(ctx context.Context, name string) (BucketConfig, error) {
	resp, err := call(ctx, c.retry, readOnly, true, c.account().GetBucketConfig, &samsav1.GetBucketConfigRequest{Bucket: name})
	return bucketConfig(resp.GetConfig()), err
}

// ReconfigureBucket changes what the mask's paths name, or without a mask the
// fields that are set, and returns the settings as they are then.
func (c *Client) ReconfigureBucket(ctx context.Context, name string, config BucketConfig, mask ...string) (BucketConfig, error) {
	resp, err := call(ctx, c.retry, changes, true, c.account().ReconfigureBucket,
		&samsav1.ReconfigureBucketRequest{Bucket: name, Config: config.proto(), Mask: fieldMask(mask)})
	return bucketConfig(resp.GetConfig()), err
}

// Bucket is a handle on a bucket, which need not exist.
type Bucket struct {
	client *Client
	name   string
}

// Bucket gives the handle on the bucket of that name.
func (c *Client) Bucket(name string) *Bucket { return &Bucket{client: c, name: name} }

// Name is the bucket's name.
func (b *Bucket) Name() string { return b.name }

// Streams lists the bucket's streams by name, through all pages.
func (b *Bucket) Streams(ctx context.Context, l List) iter.Seq2[StreamInfo, error] {
	return pages(l, func(l List) ([]StreamInfo, bool, error) {
		resp, err := call(ctx, b.client.retry, readOnly, true, b.client.bucket().ListStreams,
			&samsav1.ListStreamsRequest{Bucket: b.name, Prefix: l.Prefix, StartAfter: l.StartAfter, Limit: l.limit()})
		return mapped(resp.GetStreams(), streamInfo), resp.GetHasMore(), err
	}, func(s StreamInfo) string { return s.Name })
}

// CreateStream makes a stream. ErrAlreadyExists: the name is in use.
func (b *Bucket) CreateStream(ctx context.Context, name string, config StreamConfig) (StreamInfo, error) {
	resp, err := call(ctx, b.client.retry, changes, false, b.client.bucket().CreateStream,
		&samsav1.CreateStreamRequest{Bucket: b.name, Stream: name, Config: config.proto()})
	return streamInfo(resp.GetInfo()), err
}

// DeleteStream deletes a stream. Once it has returned no append to it is
// acknowledged; the data goes later.
func (b *Bucket) DeleteStream(ctx context.Context, name string) error {
	_, err := call(ctx, b.client.retry, changes, false, b.client.bucket().DeleteStream,
		&samsav1.DeleteStreamRequest{Bucket: b.name, Stream: name})
	return err
}

// StreamConfig is the settings of a stream.
func (b *Bucket) StreamConfig(ctx context.Context, name string) (StreamConfig, error) {
	resp, err := call(ctx, b.client.retry, readOnly, true, b.client.bucket().GetStreamConfig,
		&samsav1.GetStreamConfigRequest{Bucket: b.name, Stream: name})
	return streamConfig(resp.GetConfig()), err
}

// ReconfigureStream changes what the mask's paths name, or without a mask the
// fields that are set, and returns the settings as they are then.
func (b *Bucket) ReconfigureStream(ctx context.Context, name string, config StreamConfig, mask ...string) (StreamConfig, error) {
	resp, err := call(ctx, b.client.retry, changes, true, b.client.bucket().ReconfigureStream,
		&samsav1.ReconfigureStreamRequest{Bucket: b.name, Stream: name, Config: config.proto(), Mask: fieldMask(mask)})
	return streamConfig(resp.GetConfig()), err
}

func mapped[From, To any](from []From, f func(From) To) []To {
	to := make([]To, len(from))
	for i := range from {
		to[i] = f(from[i])
	}
	return to
}

func fieldMask(paths []string) *fieldmaskpb.FieldMask {
	if len(paths) == 0 {
		return nil
	}
	return &fieldmaskpb.FieldMask{Paths: paths}
}

func (c StreamConfig) proto() *samsav1.StreamConfig {
	return &samsav1.StreamConfig{
		StorageClass:               samsav1.StorageClass(c.StorageClass),
		RetentionAgeSeconds:        wholeSeconds(c.RetentionAge),
		TimestampingMode:           samsav1.TimestampingMode(c.TimestampingMode),
		AllowFutureTimestamps:      c.AllowFutureTimestamps,
		DeleteOnEmptyMinAgeSeconds: wholeSeconds(c.DeleteOnEmptyMinAge),
	}
}

func streamConfig(c *samsav1.StreamConfig) StreamConfig {
	if c == nil {
		return StreamConfig{}
	}
	return StreamConfig{
		StorageClass:          StorageClass(c.GetStorageClass()),
		RetentionAge:          fromSeconds(c.RetentionAgeSeconds),
		TimestampingMode:      TimestampingMode(c.GetTimestampingMode()),
		AllowFutureTimestamps: c.AllowFutureTimestamps,
		DeleteOnEmptyMinAge:   fromSeconds(c.DeleteOnEmptyMinAgeSeconds),
	}
}

func (c BucketConfig) proto() *samsav1.BucketConfig {
	return &samsav1.BucketConfig{
		DefaultStreamConfig:  c.DefaultStream.proto(),
		CreateStreamOnAppend: c.CreateStreamOnAppend,
		CreateStreamOnRead:   c.CreateStreamOnRead,
	}
}

func bucketConfig(c *samsav1.BucketConfig) BucketConfig {
	if c == nil {
		return BucketConfig{}
	}
	return BucketConfig{
		DefaultStream:        streamConfig(c.GetDefaultStreamConfig()),
		CreateStreamOnAppend: c.CreateStreamOnAppend,
		CreateStreamOnRead:   c.CreateStreamOnRead,
	}
}

func bucketInfo(b *samsav1.BucketInfo) BucketInfo {
	if b == nil {
		return BucketInfo{}
	}
	return BucketInfo{Name: b.GetName(), State: b.GetState(), CreatedAt: fromMillis(b.GetCreatedAt()), DeletedAt: fromOptionalMillis(b.DeletedAt)}
}

func streamInfo(s *samsav1.StreamInfo) StreamInfo {
	if s == nil {
		return StreamInfo{}
	}
	return StreamInfo{Name: s.GetName(), CreatedAt: fromMillis(s.GetCreatedAt()), DeletedAt: fromOptionalMillis(s.DeletedAt)}
}

func fromMillis(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

func fromOptionalMillis(ms *uint64) *time.Time {
	if ms == nil {
		return nil
	}
	return new(fromMillis(*ms))
}

func wholeSeconds(d *time.Duration) *uint64 {
	if d == nil {
		return nil
	}
	return new(uint64(max(*d, 0) / time.Second))
}

// fromSeconds gives the longest Duration for what is longer than that, 292 years.
func fromSeconds(s *uint64) *time.Duration {
	if s == nil {
		return nil
	}
	if *s > uint64(math.MaxInt64/time.Second) {
		return new(time.Duration(math.MaxInt64))
	}
	return new(time.Duration(*s) * time.Second)
}
