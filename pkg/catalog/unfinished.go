package catalog

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Hold is for how long workers leave work to the one who has begun or claimed
// it.
type Hold = time.Duration

// BeginStreamDeletion marks an active stream as being deleted, for good:
// ErrNotFound, ErrDeleting. The caller has the shard's owner end it and calls
// RemoveStream; workers take that up after hold.
func (c *Catalog) BeginStreamDeletion(ctx context.Context, name stream.Name, hold Hold) (Stream, error) {
	var s Stream
	err := c.transact(ctx, "delete stream", func(ctx context.Context, tx pgx.Tx) error {
		b, err := getBucket(ctx, tx, name.Bucket, forCreating)
		if err != nil {
			return err
		}
		if s, err = lockStream(ctx, tx, b, name); err != nil {
			return err
		}
		const mark = `UPDATE streams SET state = 'deleting', deleted_at = now(), retry_at = now() + $2
			WHERE id = $1 RETURNING state, deleted_at`
		return tx.QueryRow(ctx, mark, [16]byte(s.ID), hold).Scan((*string)(&s.State), &s.DeletedAt)
	})
	if err != nil {
		return Stream{}, err
	}
	c.streamChanged(ctx, name)
	return s, nil
}

// RemoveStream frees the name of a stream whose deletion the shard's owner has
// acknowledged. It does nothing if the row is gone or active.
func (c *Catalog) RemoveStream(ctx context.Context, s Stream) error {
	return c.end(ctx, "remove stream", s, "id = $1 AND state = 'deleting'")
}

// end frees the name of a stream for which a condition holds.
func (c *Catalog) end(ctx context.Context, operation string, s Stream, condition string) error {
	err := c.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, removing(condition), [16]byte(s.ID))
		return err
	})
	if err != nil {
		return err
	}
	c.streamChanged(ctx, s.Name)
	return nil
}

// removing deletes streams' rows, counts them, and keeps in mind that they have ended:
// whoever has just read the object store may take them for lost (RestoreStreams).
func removing(condition string) string {
	return `WITH gone AS (DELETE FROM streams WHERE ` + condition + ` RETURNING id),
		ended AS (INSERT INTO ended_streams SELECT id FROM gone ON CONFLICT DO NOTHING)
		SELECT count(*) FROM gone`
}

// StreamApplied notes that the shard's owner has acknowledged s.ConfigVersion.
func (c *Catalog) StreamApplied(ctx context.Context, s Stream) error {
	return c.transact(ctx, "note applied configuration", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE streams SET applied_version = $2 WHERE id = $1 AND applied_version < $2",
			[16]byte(s.ID), int64(s.ConfigVersion))
		return err
	})
}

// ClaimStreams hands out up to limit streams that are being deleted, or whose
// configuration is not in effect, and that nobody holds; it holds them. Streams
// of a bucket that is being deleted go with it and are left out.
func (c *Catalog) ClaimStreams(ctx context.Context, limit int, hold Hold) ([]Stream, error) {
	return c.claimStreams(ctx, "claim streams", "(due.state = 'deleting' OR due.applied_version < due.config_version)", limit, hold)
}

// ClaimEmptyable hands out up to limit active streams that are to be deleted when
// they are empty, are old enough for that, and that nobody holds; it holds them. The
// shard's owner knows whether they are empty: then EndStream, else KeepStream.
func (c *Catalog) ClaimEmptyable(ctx context.Context, limit int, hold Hold) ([]Stream, error) {
	const emptyable = `due.state = 'active' AND due.delete_on_empty_seconds > 0
		AND due.applied_version >= due.config_version
		AND due.delete_on_empty_seconds <= EXTRACT(EPOCH FROM now() - due.created_at)`
	return c.claimStreams(ctx, "claim streams to delete when empty", emptyable, limit, hold)
}

// claimStreams claims streams of active buckets for which a condition on due holds.
func (c *Catalog) claimStreams(ctx context.Context, operation, condition string, limit int, hold Hold) (claimed []Stream, err error) {
	claim := `
		UPDATE streams s SET retry_at = now() + $2
		FROM buckets b
		WHERE b.id = s.bucket_id AND s.id IN (
			SELECT due.id FROM streams due JOIN buckets home ON home.id = due.bucket_id
			WHERE ` + condition + ` AND due.retry_at <= now() AND home.state = 'active'
			ORDER BY due.retry_at LIMIT $1 FOR UPDATE OF due SKIP LOCKED)
		RETURNING ` + streamColumns + `, b.name`
	err = c.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, claim, limit, hold)
		if err != nil {
			return err
		}
		claimed, err = pgx.CollectRows(rows, scanStream)
		return err
	})
	return claimed, err
}

// KeepStream has an active stream not be claimed for a while, unless its configuration
// has changed since: a worker who is to bring that into effect does not wait.
func (c *Catalog) KeepStream(ctx context.Context, s Stream, pause time.Duration) error {
	return c.transact(ctx, "keep stream", func(ctx context.Context, tx pgx.Tx) error {
		const keep = `UPDATE streams SET retry_at = now() + $2
			WHERE id = $1 AND state = 'active' AND applied_version >= config_version`
		_, err := tx.Exec(ctx, keep, [16]byte(s.ID), pause)
		return err
	})
}

// EndStream frees the name of a stream, active or being deleted, which the shard's
// owner has ended.
func (c *Catalog) EndStream(ctx context.Context, s Stream) error {
	return c.end(ctx, "end stream", s, "id = $1")
}

// BeginBucketDeletion marks an active bucket as being deleted, for good:
// ErrNotFound, ErrDeleting. From then on its streams answer ErrDeleting. The
// caller has every shard's owner end them and calls BucketTombstoned; workers
// take up what is left after hold.
func (c *Catalog) BeginBucketDeletion(ctx context.Context, name string, hold Hold) (Bucket, error) {
	var b Bucket
	err := c.transact(ctx, "delete bucket", func(ctx context.Context, tx pgx.Tx) (err error) {
		if b, err = getBucket(ctx, tx, name, forChanging); err != nil {
			return err
		}
		const mark = `UPDATE buckets SET state = 'deleting', deleted_at = now(), retry_at = now() + $2
			WHERE id = $1 RETURNING state, deleted_at`
		return tx.QueryRow(ctx, mark, [16]byte(b.ID), hold).Scan((*string)(&b.State), &b.DeletedAt)
	})
	if err != nil {
		return Bucket{}, err
	}
	c.bucketChanged(ctx, name)
	return b, nil
}

// BucketTombstoned notes that every shard's owner has acknowledged the end of a
// bucket that is being deleted. Workers may take up the rest at once.
func (c *Catalog) BucketTombstoned(ctx context.Context, b Bucket) error {
	return c.transact(ctx, "note bucket's tombstone", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE buckets SET tombstoned = true, retry_at = now() WHERE id = $1 AND state = 'deleting'", [16]byte(b.ID))
		return err
	})
}

// ClaimBuckets hands out up to limit buckets that are being deleted and that
// nobody holds; it holds them.
func (c *Catalog) ClaimBuckets(ctx context.Context, limit int, hold Hold) (claimed []Bucket, err error) {
	const claim = `
		UPDATE buckets b SET retry_at = now() + $2
		WHERE id IN (
			SELECT id FROM buckets WHERE state = 'deleting' AND retry_at <= now()
			ORDER BY retry_at LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING ` + bucketColumns
	err = c.transact(ctx, "claim buckets", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, claim, limit, hold)
		if err != nil {
			return err
		}
		claimed, err = pgx.CollectRows(rows, scanBucket)
		return err
	})
	return claimed, err
}

// RemoveStreamsOf removes up to limit streams of a bucket that is tombstoned and
// tells how many it has removed.
func (c *Catalog) RemoveStreamsOf(ctx context.Context, b Bucket, limit int) (removed int, err error) {
	// In the index's order, lest the planner scans all buckets' streams.
	remove := removing(`id IN (
			SELECT id FROM streams
			WHERE bucket_id = $1
				AND EXISTS (SELECT FROM buckets WHERE id = $1 AND state = 'deleting' AND tombstoned)
			ORDER BY name LIMIT $2)`)
	err = c.transact(ctx, "remove streams", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, remove, [16]byte(b.ID), limit).Scan(&removed)
	})
	return removed, err
}

// RemoveBucket frees the name of a bucket that is tombstoned and has no streams
// left. It does nothing if the row is gone.
func (c *Catalog) RemoveBucket(ctx context.Context, b Bucket) error {
	err := c.transact(ctx, "remove bucket", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM buckets WHERE id = $1 AND state = 'deleting' AND tombstoned", [16]byte(b.ID))
		return err
	})
	if err != nil {
		return err
	}
	c.bucketChanged(ctx, b.Name)
	return nil
}
