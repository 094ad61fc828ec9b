package settings

import (
	"github.com/samsa-io/samsa/pkg/stream"
)

// MaxSeconds bounds every age: 1000 years. So no sum of an age in milliseconds
// and a time overflows.
const MaxSeconds = 1000 * 365 * 24 * 60 * 60

// Stream is a stream's settings, each of which may be left out.
type Stream struct {
	StorageClass          stream.StorageClass     // 0: left out
	TimestampingMode      stream.TimestampingMode // 0: left out
	AllowFutureTimestamps *bool
	RetentionSeconds      *uint64 // 0: keep for ever
	DeleteOnEmptySeconds  *uint64 // 0: never
}

// Bucket is a bucket's settings, each of which may be left out.
type Bucket struct {
	DefaultStream        Stream
	CreateStreamOnAppend *bool
	CreateStreamOnRead   *bool
}

// Resolve fills what s leaves out from base.
func (s Stream) Resolve(base stream.Config) stream.Config {
	return stream.Config{
		StorageClass:          either(s.StorageClass, base.StorageClass),
		TimestampingMode:      either(s.TimestampingMode, base.TimestampingMode),
		AllowFutureTimestamps: orElse(s.AllowFutureTimestamps, base.AllowFutureTimestamps),
		RetentionSeconds:      orElse(s.RetentionSeconds, base.RetentionSeconds),
		DeleteOnEmptySeconds:  orElse(s.DeleteOnEmptySeconds, base.DeleteOnEmptySeconds),
	}
}

// NewStreamConfig is what a stream of the bucket gets that asks for nothing.
func (b Bucket) NewStreamConfig() stream.Config {
	return b.DefaultStream.Resolve(stream.DefaultConfig())
}

func either[T comparable](value, otherwise T) T {
	var unset T
	if value == unset {
		return otherwise
	}
	return value
}

func orElse[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
