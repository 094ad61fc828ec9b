package settings

import (
	"fmt"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// InvalidError tells which field of a message means nothing, and why.
type InvalidError struct {
	Field   string // its path in the request, such as config.storage_class
	Problem string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

// StreamFromProto reads a stream's settings; nil leaves all out. The error is an
// *InvalidError.
func StreamFromProto(m *samsav1.StreamConfig) (Stream, error) {
	return streamFromProto("config.", m)
}

func streamFromProto(path string, m *samsav1.StreamConfig) (Stream, error) {
	if err := checkStream(path, m); err != nil {
		return Stream{}, err
	}
	if m == nil {
		return Stream{}, nil
	}
	return Stream{
		StorageClass:          stream.StorageClass(m.StorageClass),
		TimestampingMode:      stream.TimestampingMode(m.TimestampingMode),
		AllowFutureTimestamps: clone(m.AllowFutureTimestamps),
		RetentionSeconds:      clone(m.RetentionAgeSeconds),
		DeleteOnEmptySeconds:  clone(m.DeleteOnEmptyMinAgeSeconds),
	}, nil
}

func checkStream(path string, m *samsav1.StreamConfig) error {
	if _, ok := samsav1.StorageClass_name[int32(m.GetStorageClass())]; !ok {
		return &InvalidError{path + pathStorageClass,
			fmt.Sprintf("%d is no storage class: want STORAGE_CLASS_STANDARD or STORAGE_CLASS_EXPRESS", m.GetStorageClass())}
	}
	if _, ok := samsav1.TimestampingMode_name[int32(m.GetTimestampingMode())]; !ok {
		return &InvalidError{path + pathTimestampingMode,
			fmt.Sprintf("%d is no timestamping mode: want TIMESTAMPING_MODE_CLIENT_PREFER, _CLIENT_REQUIRE or _ARRIVAL", m.GetTimestampingMode())}
	}
	if err := checkAge(path+pathRetention, m.GetRetentionAgeSeconds(), "for ever"); err != nil {
		return err
	}
	return checkAge(path+pathDeleteOnEmpty, m.GetDeleteOnEmptyMinAgeSeconds(), "never")
}

func checkAge(path string, seconds uint64, zero string) error {
	if seconds <= MaxSeconds {
		return nil
	}
	return &InvalidError{path, fmt.Sprintf("%d seconds is more than %d (1000 years): want less, or 0 for %s", seconds, uint64(MaxSeconds), zero)}
}

// BucketFromProto reads a bucket's settings; nil leaves all out. The error is an
// *InvalidError.
func BucketFromProto(m *samsav1.BucketConfig) (Bucket, error) {
	defaults, err := streamFromProto("config."+pathDefaultStream+".", m.GetDefaultStreamConfig())
	if err != nil || m == nil {
		return Bucket{}, err
	}
	return Bucket{
		DefaultStream:        defaults,
		CreateStreamOnAppend: clone(m.CreateStreamOnAppend),
		CreateStreamOnRead:   clone(m.CreateStreamOnRead),
	}, nil
}

// Proto writes the settings as the API has them; what is left out stays so.
func (s Stream) Proto() *samsav1.StreamConfig {
	return &samsav1.StreamConfig{
		StorageClass:               samsav1.StorageClass(s.StorageClass),
		RetentionAgeSeconds:        clone(s.RetentionSeconds),
		TimestampingMode:           samsav1.TimestampingMode(s.TimestampingMode),
		AllowFutureTimestamps:      clone(s.AllowFutureTimestamps),
		DeleteOnEmptyMinAgeSeconds: clone(s.DeleteOnEmptySeconds),
	}
}

// Proto writes the settings as the API has them; what is left out stays so.
func (b Bucket) Proto() *samsav1.BucketConfig {
	return &samsav1.BucketConfig{
		DefaultStreamConfig:  b.DefaultStream.Proto(),
		CreateStreamOnAppend: clone(b.CreateStreamOnAppend),
		CreateStreamOnRead:   clone(b.CreateStreamOnRead),
	}
}

// ConfigProto writes a resolved configuration as the API has it: every field is
// set.
func ConfigProto(c stream.Config) *samsav1.StreamConfig {
	return &samsav1.StreamConfig{
		StorageClass:               samsav1.StorageClass(c.StorageClass),
		RetentionAgeSeconds:        &c.RetentionSeconds,
		TimestampingMode:           samsav1.TimestampingMode(c.TimestampingMode),
		AllowFutureTimestamps:      &c.AllowFutureTimestamps,
		DeleteOnEmptyMinAgeSeconds: &c.DeleteOnEmptySeconds,
	}
}

// ConfigFromProto reads a configuration that ConfigProto wrote. What a message
// of another origin leaves out is the system's default.
func ConfigFromProto(m *samsav1.StreamConfig) (stream.Config, error) {
	s, err := StreamFromProto(m)
	return s.Resolve(stream.DefaultConfig()), err
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}
