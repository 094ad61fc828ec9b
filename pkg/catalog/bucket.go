package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
)

// CreateBucket makes a bucket. ErrExists, ErrDeleting: the name is taken.
func (c *Catalog) CreateBucket(ctx context.Context, name string, s settings.Bucket) (Bucket, error) {
	var b Bucket
	err := c.transact(ctx, "create bucket", func(ctx context.Context, tx pgx.Tx) (err error) {
		b, err = insertBucket(ctx, tx, name, s)
		return err
	})
	if err != nil {
		return Bucket{}, err
	}
	c.bucketChanged(ctx, name)
	return b, nil
}

func insertBucket(ctx context.Context, tx pgx.Tx, name string, s settings.Bucket) (Bucket, error) {
	const insert = `INSERT INTO buckets AS b (id, name,
			create_stream_on_append, create_stream_on_read,
			default_storage_class, default_timestamping_mode, default_allow_future_timestamps,
			default_retention_seconds, default_delete_on_empty_seconds)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (name) DO NOTHING RETURNING ` + bucketColumns
	rows, err := tx.Query(ctx, insert, append([]any{[16]byte(stream.NewID()), name}, settingsArgs(s)...)...)
	b, inserted, err := one(rows, err, scanBucket)
	if err != nil || inserted {
		return b, err
	}
	// Found, or gone again since: taken it was.
	if _, err := getBucket(ctx, tx, name, ""); err != nil {
		return Bucket{}, err
	}
	return Bucket{}, &ObjectError{ObjectBucket, name, ErrExists}
}

// GetBucket finds an active bucket: ErrNotFound, ErrDeleting.
func (c *Catalog) GetBucket(ctx context.Context, name string) (Bucket, error) {
	var b Bucket
	err := c.read(ctx, "get bucket", func(ctx context.Context, db queryer) (err error) {
		b, err = getBucket(ctx, db, name, "")
		return err
	})
	return b, err
}

// Ways to lock a bucket's row.
const (
	forCreating = " FOR SHARE"         // streams appear in it
	forChanging = " FOR NO KEY UPDATE" // waits for streams that are appearing
)

// getBucket finds an active bucket and locks it. ErrDeleting comes with the
// bucket.
func getBucket(ctx context.Context, db queryer, name, lock string) (Bucket, error) {
	rows, err := db.Query(ctx, "SELECT "+bucketColumns+" FROM buckets b WHERE name = $1"+lock, name)
	b, found, err := one(rows, err, scanBucket)
	if err != nil {
		return Bucket{}, err
	}
	return b, checkBucket(b, found, name)
}

func checkBucket(b Bucket, found bool, name string) error {
	switch {
	case !found:
		return &ObjectError{ObjectBucket, name, ErrNotFound}
	case b.State == StateDeleting:
		return &ObjectError{ObjectBucket, name, ErrDeleting}
	}
	return nil
}

// ListBuckets lists buckets by name, also those being deleted.
func (c *Catalog) ListBuckets(ctx context.Context, page Page) (buckets []Bucket, more bool, err error) {
	condition, args := page.where("name", 1)
	err = c.read(ctx, "list buckets", func(ctx context.Context, db queryer) (err error) {
		buckets, more, err = list(ctx, db, "SELECT "+bucketColumns+" FROM buckets b WHERE "+condition, args, page, "name", scanBucket)
		return err
	})
	return buckets, more, err
}

// ReconfigureBucket changes a bucket's settings. change may run more than once.
func (c *Catalog) ReconfigureBucket(ctx context.Context, name string, change settings.BucketChange) (Bucket, error) {
	var b Bucket
	err := c.transact(ctx, "reconfigure bucket", func(ctx context.Context, tx pgx.Tx) (err error) {
		if b, err = getBucket(ctx, tx, name, forChanging); err != nil {
			return err
		}
		b.Settings = change(b.Settings)
		return updateBucket(ctx, tx, b)
	})
	if err != nil {
		return Bucket{}, err
	}
	c.bucketChanged(ctx, name)
	return b, nil
}

func updateBucket(ctx context.Context, tx pgx.Tx, b Bucket) error {
	const update = `UPDATE buckets SET
			create_stream_on_append = $2, create_stream_on_read = $3,
			default_storage_class = $4, default_timestamping_mode = $5, default_allow_future_timestamps = $6,
			default_retention_seconds = $7, default_delete_on_empty_seconds = $8
		WHERE id = $1`
	_, err := tx.Exec(ctx, update, append([]any{[16]byte(b.ID)}, settingsArgs(b.Settings)...)...)
	return err
}
