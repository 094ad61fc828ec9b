package catalog

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
)

const bucketColumns = `b.id, b.name, b.state, b.created_at, b.deleted_at, b.tombstoned,
	b.create_stream_on_append, b.create_stream_on_read,
	b.default_storage_class, b.default_timestamping_mode, b.default_allow_future_timestamps,
	b.default_retention_seconds, b.default_delete_on_empty_seconds`

// bucketTargets are where bucketColumns go.
func bucketTargets(b *Bucket, row *bucketRow) []any {
	defaults := &b.Settings.DefaultStream
	return []any{
		(*[16]byte)(&b.ID), &b.Name, (*string)(&b.State), &b.CreatedAt, &row.deletedAt, &b.Tombstoned,
		&b.Settings.CreateStreamOnAppend, &b.Settings.CreateStreamOnRead,
		&row.storageClass, &row.timestampingMode, &defaults.AllowFutureTimestamps,
		&defaults.RetentionSeconds, &defaults.DeleteOnEmptySeconds,
	}
}

// bucketRow holds the columns of a bucket that are NULL where Go has a zero.
type bucketRow struct {
	deletedAt                      zeronull.Timestamptz
	storageClass, timestampingMode zeronull.Int2
}

func (r bucketRow) fill(b *Bucket) {
	b.DeletedAt = time.Time(r.deletedAt)
	b.Settings.DefaultStream.StorageClass = stream.StorageClass(r.storageClass)
	b.Settings.DefaultStream.TimestampingMode = stream.TimestampingMode(r.timestampingMode)
}

func scanBucket(row pgx.CollectableRow) (Bucket, error) {
	var b Bucket
	var r bucketRow
	err := row.Scan(bucketTargets(&b, &r)...)
	r.fill(&b)
	return b, err
}

// settingsArgs are the values of the columns from create_stream_on_append on.
func settingsArgs(s settings.Bucket) []any {
	return []any{
		s.CreateStreamOnAppend, s.CreateStreamOnRead,
		zeronull.Int2(s.DefaultStream.StorageClass), zeronull.Int2(s.DefaultStream.TimestampingMode),
		s.DefaultStream.AllowFutureTimestamps, s.DefaultStream.RetentionSeconds, s.DefaultStream.DeleteOnEmptySeconds,
	}
}

const streamColumns = `s.id, s.bucket_id, s.name, s.state, s.created_at, s.deleted_at,
	s.storage_class, s.timestamping_mode, s.allow_future_timestamps, s.retention_seconds, s.delete_on_empty_seconds,
	s.config_version, s.applied_version`

// streamRow holds the columns of a stream, which are all NULL where a join finds
// none.
type streamRow struct {
	id, bucketID                   zeronull.UUID
	name, state                    zeronull.Text
	createdAt, deletedAt           zeronull.Timestamptz
	storageClass, timestampingMode zeronull.Int2
	allowFuture                    *bool
	retention, deleteOnEmpty       zeronull.Int8
	configVersion, appliedVersion  zeronull.Int8
}

func (r *streamRow) targets() []any {
	return []any{
		&r.id, &r.bucketID, &r.name, &r.state, &r.createdAt, &r.deletedAt,
		&r.storageClass, &r.timestampingMode, &r.allowFuture, &r.retention, &r.deleteOnEmpty,
		&r.configVersion, &r.appliedVersion,
	}
}

func (r *streamRow) stream(bucket string) Stream {
	return Stream{
		ID:       stream.ID(r.id),
		BucketID: stream.ID(r.bucketID),
		Name:     stream.Name{Bucket: bucket, Stream: string(r.name)},
		State:    State(r.state),
		Config: stream.Config{
			StorageClass:          stream.StorageClass(r.storageClass),
			TimestampingMode:      stream.TimestampingMode(r.timestampingMode),
			AllowFutureTimestamps: isTrue(r.allowFuture),
			RetentionSeconds:      uint64(r.retention),
			DeleteOnEmptySeconds:  uint64(r.deleteOnEmpty),
		},
		ConfigVersion:  uint64(r.configVersion),
		AppliedVersion: uint64(r.appliedVersion),
		CreatedAt:      time.Time(r.createdAt),
		DeletedAt:      time.Time(r.deletedAt),
	}
}

// scanStream reads streamColumns followed by the bucket's name.
func scanStream(row pgx.CollectableRow) (Stream, error) {
	var r streamRow
	var bucket string
	err := row.Scan(append(r.targets(), &bucket)...)
	return r.stream(bucket), err
}

// configArgs are the values of the columns from storage_class to
// delete_on_empty_seconds.
func configArgs(c stream.Config) []any {
	return []any{
		int16(c.StorageClass), int16(c.TimestampingMode), c.AllowFutureTimestamps,
		int64(c.RetentionSeconds), int64(c.DeleteOnEmptySeconds),
	}
}

// one reads the only row, or says that there is none.
func one[T any](rows pgx.Rows, err error, scan pgx.RowToFunc[T]) (row T, found bool, _ error) {
	if err != nil {
		return row, false, err
	}
	all, err := pgx.CollectRows(rows, scan)
	if err != nil || len(all) == 0 {
		return row, false, err
	}
	return all[0], true, nil
}
