package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Cause is why a missing stream is to be created without being asked for. Its
// bucket must allow it.
type Cause uint8

// The causes.
const (
	CauseAppend Cause = iota + 1 // create_stream_on_append
	CauseRead                    // create_stream_on_read
)

func (cause Cause) allowedBy(b Bucket) bool {
	return cause == CauseAppend && b.CreatesOnAppend() || cause == CauseRead && b.CreatesOnRead()
}

// LookupStream finds an active stream and its bucket. ErrNotFound names the
// bucket or the stream; in the latter case the bucket is returned. ErrDeleting
// names the one being deleted, and what was found is returned.
func (c *Catalog) LookupStream(ctx context.Context, name stream.Name) (Stream, Bucket, error) {
	var s Stream
	var b Bucket
	err := c.read(ctx, "look up stream", func(ctx context.Context, db queryer) (err error) {
		s, b, err = lookup(ctx, db, name)
		return err
	})
	return s, b, err
}

func lookup(ctx context.Context, db queryer, name stream.Name) (Stream, Bucket, error) {
	const query = "SELECT " + bucketColumns + ", " + streamColumns + `
		FROM buckets b LEFT JOIN streams s ON s.bucket_id = b.id AND s.name = $2
		WHERE b.name = $1`
	type pair struct {
		s Stream
		b Bucket
	}
	rows, err := db.Query(ctx, query, name.Bucket, name.Stream)
	found, ok, err := one(rows, err, func(row pgx.CollectableRow) (p pair, _ error) {
		var b bucketRow
		var s streamRow
		err := row.Scan(append(bucketTargets(&p.b, &b), s.targets()...)...)
		b.fill(&p.b)
		p.s = s.stream(p.b.Name)
		return p, err
	})
	if err != nil {
		return Stream{}, Bucket{}, err
	}
	if err := checkBucket(found.b, ok, name.Bucket); err != nil {
		return found.s, found.b, err
	}
	return found.s, found.b, checkStream(found.s, name)
}

func checkStream(s Stream, name stream.Name) error {
	switch {
	case s.ID.IsZero():
		return &ObjectError{ObjectStream, name.Stream, ErrNotFound}
	case s.State == StateDeleting:
		return &ObjectError{ObjectStream, name.Stream, ErrDeleting}
	}
	return nil
}

// CreateStream makes a stream, whose configuration is what s gives, then its
// bucket's default, then the system's. ErrExists, ErrDeleting: the name is
// taken; ErrNotFound, ErrDeleting: of the bucket.
func (c *Catalog) CreateStream(ctx context.Context, name stream.Name, s settings.Stream) (Stream, error) {
	created, taken, err := c.create(ctx, name, s)
	if err == nil && taken {
		return Stream{}, &ObjectError{ObjectStream, name.Stream, ErrExists}
	}
	return created, err
}

// EnsureStream finds an active stream or creates it, if its bucket lets cause do
// so. ErrNotFound: of the bucket, or of the stream and the bucket does not.
// ErrDeleting: of the bucket or the stream.
func (c *Catalog) EnsureStream(ctx context.Context, name stream.Name, cause Cause) (Stream, error) {
	got, err := c.EnsureStreams(ctx, []Wanted{{name, cause}})
	if err != nil {
		return Stream{}, err
	}
	return got[0].Stream, got[0].Err
}

// create inserts a stream or returns the active one that has its name.
func (c *Catalog) create(ctx context.Context, name stream.Name, given settings.Stream) (s Stream, taken bool, err error) {
	err = c.transact(ctx, "create stream", func(ctx context.Context, tx pgx.Tx) error {
		b, err := getBucket(ctx, tx, name.Bucket, forCreating)
		if err != nil {
			return err
		}
		s, taken, err = insertStream(ctx, tx, b, name, given.Resolve(b.Settings.NewStreamConfig()))
		return err
	})
	if err != nil {
		return Stream{}, false, err
	}
	if !taken {
		c.streamChanged(ctx, name)
	}
	return s, taken, nil
}

func insertStream(ctx context.Context, tx pgx.Tx, b Bucket, name stream.Name, config stream.Config) (s Stream, taken bool, err error) {
	const insert = `INSERT INTO streams AS s (id, bucket_id, name,
			storage_class, timestamping_mode, allow_future_timestamps, retention_seconds, delete_on_empty_seconds)
		VALUES ($1, $2, $3, $5, $6, $7, $8, $9)
		ON CONFLICT (bucket_id, name) DO NOTHING RETURNING ` + streamColumns + `, $4::text`
	args := append([]any{[16]byte(stream.NewID()), [16]byte(b.ID), name.Stream, b.Name}, configArgs(config)...)
	// The row in the way may go before it is looked at; then there is room.
	for range attempts {
		rows, err := tx.Query(ctx, insert, args...)
		if s, inserted, err := one(rows, err, scanStream); err != nil || inserted {
			return s, false, err
		}
		if s, _, err = lookup(ctx, tx, name); err == nil || !isNotFound(err) {
			return s, true, err
		}
	}
	return Stream{}, false, &ObjectError{ObjectStream, name.Stream, ErrDeleting}
}

// ListStreams lists an active bucket's streams by name, also those being
// deleted. ErrNotFound, ErrDeleting: of the bucket.
func (c *Catalog) ListStreams(ctx context.Context, bucket string, page Page) (streams []Stream, more bool, err error) {
	condition, args := page.where("s.name", 3)
	err = c.read(ctx, "list streams", func(ctx context.Context, db queryer) error {
		b, err := getBucket(ctx, db, bucket, "")
		if err != nil {
			return err
		}
		streams, more, err = list(ctx, db, "SELECT "+streamColumns+", $2::text FROM streams s WHERE s.bucket_id = $1 AND "+condition,
			append([]any{[16]byte(b.ID), b.Name}, args...), page, "s.name", scanStream)
		return err
	})
	return streams, more, err
}

// ReconfigureStream changes an active stream's configuration and counts up its
// version. change may run more than once. The caller brings the change into
// effect and calls StreamApplied; workers take that up after hold.
func (c *Catalog) ReconfigureStream(ctx context.Context, name stream.Name, change settings.StreamChange, hold Hold) (Stream, error) {
	var s Stream
	err := c.transact(ctx, "reconfigure stream", func(ctx context.Context, tx pgx.Tx) error {
		b, err := getBucket(ctx, tx, name.Bucket, forCreating)
		if err != nil {
			return err
		}
		if s, err = lockStream(ctx, tx, b, name); err != nil {
			return err
		}
		s, err = updateStream(ctx, tx, s, change(s.Config, b.Settings.NewStreamConfig()), hold)
		return err
	})
	if err != nil {
		return Stream{}, err
	}
	c.streamChanged(ctx, name)
	return s, nil
}

// lockStream finds an active stream of a bucket that is locked and locks it, too.
func lockStream(ctx context.Context, tx pgx.Tx, b Bucket, name stream.Name) (Stream, error) {
	const query = "SELECT " + streamColumns + ", $3::text FROM streams s WHERE bucket_id = $1 AND name = $2 FOR NO KEY UPDATE"
	rows, err := tx.Query(ctx, query, [16]byte(b.ID), name.Stream, b.Name)
	s, _, err := one(rows, err, scanStream)
	if err != nil {
		return Stream{}, err
	}
	return s, checkStream(s, name)
}

func updateStream(ctx context.Context, tx pgx.Tx, s Stream, config stream.Config, hold Hold) (Stream, error) {
	const update = `UPDATE streams s SET
			storage_class = $4, timestamping_mode = $5, allow_future_timestamps = $6,
			retention_seconds = $7, delete_on_empty_seconds = $8,
			config_version = config_version + 1, retry_at = now() + $3
		WHERE id = $1 RETURNING ` + streamColumns + `, $2::text`
	rows, err := tx.Query(ctx, update, append([]any{[16]byte(s.ID), s.Name.Bucket, hold}, configArgs(config)...)...)
	s, _, err = one(rows, err, scanStream)
	return s, err
}
