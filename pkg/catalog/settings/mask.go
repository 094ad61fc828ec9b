package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// The paths of a mask, which are the fields of the messages.
const (
	pathStorageClass     = "storage_class"
	pathRetention        = "retention_age_seconds"
	pathTimestampingMode = "timestamping_mode"
	pathAllowFuture      = "allow_future_timestamps"
	pathDeleteOnEmpty    = "delete_on_empty_min_age_seconds"
	pathDefaultStream    = "default_stream_config"
	pathCreateOnAppend   = "create_stream_on_append"
	pathCreateOnRead     = "create_stream_on_read"
)

// streamFields copy one setting, or its absence, by path.
func streamFields() map[string]func(to *Stream, from Stream) {
	return map[string]func(to *Stream, from Stream){
		pathStorageClass:     func(to *Stream, from Stream) { to.StorageClass = from.StorageClass },
		pathRetention:        func(to *Stream, from Stream) { to.RetentionSeconds = from.RetentionSeconds },
		pathTimestampingMode: func(to *Stream, from Stream) { to.TimestampingMode = from.TimestampingMode },
		pathAllowFuture:      func(to *Stream, from Stream) { to.AllowFutureTimestamps = from.AllowFutureTimestamps },
		pathDeleteOnEmpty:    func(to *Stream, from Stream) { to.DeleteOnEmptySeconds = from.DeleteOnEmptySeconds },
	}
}

// bucketFields copy one setting, or its absence, by path.
func bucketFields() map[string]func(to *Bucket, from Bucket) {
	fields := map[string]func(to *Bucket, from Bucket){
		pathDefaultStream:  func(to *Bucket, from Bucket) { to.DefaultStream = from.DefaultStream },
		pathCreateOnAppend: func(to *Bucket, from Bucket) { to.CreateStreamOnAppend = from.CreateStreamOnAppend },
		pathCreateOnRead:   func(to *Bucket, from Bucket) { to.CreateStreamOnRead = from.CreateStreamOnRead },
	}
	for path, copyField := range streamFields() {
		fields[pathDefaultStream+"."+path] = func(to *Bucket, from Bucket) {
			copyField(&to.DefaultStream, from.DefaultStream)
		}
	}
	return fields
}

// StreamChange makes a stream's new configuration out of its current one and of
// what a new stream of its bucket would get.
type StreamChange func(current, inherited stream.Config) stream.Config

// BucketChange makes a bucket's new settings out of its current ones.
type BucketChange func(current Bucket) Bucket

// NewStreamChange reads a request to reconfigure a stream. The error is an
// *InvalidError.
func NewStreamChange(m *samsav1.StreamConfig, mask *fieldmaskpb.FieldMask) (StreamChange, error) {
	given, err := StreamFromProto(m)
	if err != nil {
		return nil, err
	}
	paths := mask.GetPaths()
	if len(paths) == 0 {
		return func(current, _ stream.Config) stream.Config { return given.Resolve(current) }, nil
	}
	fields := streamFields()
	if err := checkPaths(paths, fields); err != nil {
		return nil, err
	}
	if err := checkEnumsGiven(paths, given); err != nil {
		return nil, err
	}
	return func(current, inherited stream.Config) stream.Config {
		s := complete(current)
		for _, path := range paths {
			fields[path](&s, given)
		}
		return s.Resolve(inherited)
	}, nil
}

// NewBucketChange reads a request to reconfigure a bucket. The error is an
// *InvalidError.
func NewBucketChange(m *samsav1.BucketConfig, mask *fieldmaskpb.FieldMask) (BucketChange, error) {
	given, err := BucketFromProto(m)
	if err != nil {
		return nil, err
	}
	paths := mask.GetPaths()
	if len(paths) == 0 {
		return given.over, nil
	}
	fields := bucketFields()
	if err := checkPaths(paths, fields); err != nil {
		return nil, err
	}
	return func(b Bucket) Bucket {
		for _, path := range paths {
			fields[path](&b, given)
		}
		return b
	}, nil
}

// over is base where b leaves something out.
func (b Bucket) over(base Bucket) Bucket {
	return Bucket{
		DefaultStream: Stream{
			StorageClass:          either(b.DefaultStream.StorageClass, base.DefaultStream.StorageClass),
			TimestampingMode:      either(b.DefaultStream.TimestampingMode, base.DefaultStream.TimestampingMode),
			AllowFutureTimestamps: either(b.DefaultStream.AllowFutureTimestamps, base.DefaultStream.AllowFutureTimestamps),
			RetentionSeconds:      either(b.DefaultStream.RetentionSeconds, base.DefaultStream.RetentionSeconds),
			DeleteOnEmptySeconds:  either(b.DefaultStream.DeleteOnEmptySeconds, base.DefaultStream.DeleteOnEmptySeconds),
		},
		CreateStreamOnAppend: either(b.CreateStreamOnAppend, base.CreateStreamOnAppend),
		CreateStreamOnRead:   either(b.CreateStreamOnRead, base.CreateStreamOnRead),
	}
}

// complete is the settings that resolve to c whatever they inherit.
func complete(c stream.Config) Stream {
	return Stream{
		StorageClass:          c.StorageClass,
		TimestampingMode:      c.TimestampingMode,
		AllowFutureTimestamps: &c.AllowFutureTimestamps,
		RetentionSeconds:      &c.RetentionSeconds,
		DeleteOnEmptySeconds:  &c.DeleteOnEmptySeconds,
	}
}

func checkPaths[F any](paths []string, fields map[string]F) error {
	for _, path := range paths {
		if _, ok := fields[path]; !ok {
			known := slices.Sorted(maps.Keys(fields))
			return &InvalidError{"mask", fmt.Sprintf("path %q is unknown: want some of %s", path, strings.Join(known, ", "))}
		}
	}
	return nil
}

func checkEnumsGiven(paths []string, given Stream) error {
	for _, path := range paths {
		if path == pathStorageClass && given.StorageClass == 0 || path == pathTimestampingMode && given.TimestampingMode == 0 {
			return &InvalidError{"config." + path, "is masked but UNSPECIFIED: give a value, or leave it out of the mask"}
		}
	}
	return nil
}
