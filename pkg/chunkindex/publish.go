package chunkindex

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Publish makes a job's outcome the index's, all of it or nothing. ErrLost: the
// object is not pending any more, the watermark has moved, a replaced chunk is not
// there, or one that is there overlaps a new one.
func (d *DB) Publish(ctx context.Context, p Publication) error {
	return d.change(ctx, failpoint.IndexPublish, "publish chunks", func(ctx context.Context, tx pgx.Tx) error {
		t := publishing{ctx: ctx, tx: tx}
		for _, step := range []func(*Publication) error{
			t.claim, t.advance, t.note, t.lockLimits, t.replace, t.insert, t.settle,
		} {
			if err := step(&p); err != nil {
				return err
			}
		}
		return nil
	})
}

// publishing is a publication's transaction. Locks are taken in this order: the
// object, the log, tombstoned buckets, limits of streams, chunks, other objects.
// Every statement sees what was committed before it began, so what it finds behind a
// lock is how things are.
type publishing struct {
	ctx context.Context
	tx  pgx.Tx
}

func lost(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrLost, fmt.Sprintf(format, args...))
}

func (t *publishing) exec(statement string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(t.ctx, statement, args...)
	return tag.RowsAffected(), err
}

func (t *publishing) claim(p *Publication) error {
	if p.Object == 0 {
		return nil
	}
	var state State
	err := t.tx.QueryRow(t.ctx, "SELECT state FROM chunk_objects WHERE id = $1 FOR UPDATE", int64(p.Object)).Scan((*string)(&state))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return lost("chunk object %d has no row", p.Object)
	case err == nil && state != StatePending:
		return lost("chunk object %d is %s", p.Object, state)
	}
	return err
}

func (t *publishing) advance(p *Publication) error {
	if p.Log.IsZero() {
		return nil
	}
	n, err := t.exec(`UPDATE compacted_logs SET watermark = $3, drained_at = CASE WHEN sealed_end = $3 THEN now() END
		WHERE incarnation = $1 AND watermark = $2 AND COALESCE(sealed_end, $3) >= $3`, uuidColumn(p.Log), int64(p.From), int64(p.To))
	if err == nil && n == 0 {
		return lost("log %s is not compacted up to slot %d", p.Log, p.From)
	}
	return err
}

// note keeps the facts.
func (t *publishing) note(p *Publication) error {
	f := &p.Facts
	var streams, buckets []stream.ID
	for _, o := range f.Opened {
		streams, buckets = append(streams, o.Stream), append(buckets, o.Bucket)
	}
	if err := t.lockBuckets(len(buckets) > 0, len(f.BucketTombstones) > 0); err != nil {
		return err
	}
	var trimmed []stream.ID
	var trims []stream.SeqNum
	for id, trim := range f.Trims {
		trimmed, trims = append(trimmed, id), append(trims, trim)
	}
	for _, s := range []struct {
		skip      bool
		statement string
		args      []any
	}{
		{len(f.BucketTombstones) == 0, `INSERT INTO tombstoned_buckets
			SELECT DISTINCT unnest($1::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING`, []any{uuids(f.BucketTombstones)}},
		{len(streams) == 0, `INSERT INTO stream_limits AS l (stream_id, bucket_id, tombstoned, dirty)
			SELECT DISTINCT ON (1) o.stream_id, o.bucket_id, t.bucket_id IS NOT NULL, t.bucket_id IS NOT NULL
			FROM unnest($1::uuid[], $2::uuid[]) AS o(stream_id, bucket_id) LEFT JOIN tombstoned_buckets t USING (bucket_id) ORDER BY 1
			ON CONFLICT (stream_id) DO UPDATE SET bucket_id = EXCLUDED.bucket_id,
				tombstoned = l.tombstoned OR EXCLUDED.tombstoned, dirty = l.dirty OR EXCLUDED.dirty`, []any{uuids(streams), uuids(buckets)}},
		{len(trimmed) == 0, `INSERT INTO stream_limits AS l (stream_id, trim, dirty)
			SELECT stream_id, trim, true FROM unnest($1::uuid[], $2::bigint[]) AS f(stream_id, trim) ORDER BY 1
			ON CONFLICT (stream_id) DO UPDATE SET trim = GREATEST(l.trim, EXCLUDED.trim), dirty = true`, []any{uuids(trimmed), numbers(trims)}},
		{len(f.Tombstones) == 0, `INSERT INTO stream_limits (stream_id, tombstoned, dirty)
			SELECT DISTINCT id, true, true FROM unnest($1::uuid[]) AS f(id) ORDER BY 1
			ON CONFLICT (stream_id) DO UPDATE SET tombstoned = true, dirty = true`, []any{uuids(f.Tombstones)}},
		{len(f.BucketTombstones) == 0, `UPDATE stream_limits SET tombstoned = true, dirty = true
			WHERE bucket_id = ANY($1::uuid[]) AND NOT tombstoned`, []any{uuids(f.BucketTombstones)}},
	} {
		if s.skip {
			continue
		}
		if _, err := t.exec(s.statement, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// lockBuckets keeps the end of a bucket and the beginning of a stream in it from
// being noted at once: each would miss the other, and the stream live for ever.
// Beginnings, which are many, share the lock.
func (t *publishing) lockBuckets(begin, end bool) (err error) {
	switch {
	case end:
		_, err = t.exec("SELECT pg_advisory_xact_lock($1)", bucketsLock)
	case begin:
		_, err = t.exec("SELECT pg_advisory_xact_lock_shared($1)", bucketsLock)
	}
	return err
}

// lockLimits keeps a stream's limit from moving until the new chunks can be seen:
// otherwise Drop might look for them too early. A limit that is not known yet is made
// for that. Where the limit has moved already Drop has to look again.
func (t *publishing) lockLimits(p *Publication) error {
	ids := streamsOf(p.Chunks)
	if len(ids) == 0 {
		return nil
	}
	for _, s := range []string{
		"INSERT INTO stream_limits (stream_id) SELECT unnest($1::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING",
		"SELECT FROM stream_limits WHERE stream_id = ANY($1::uuid[]) ORDER BY stream_id FOR SHARE",
		"UPDATE stream_limits SET dirty = true WHERE stream_id = ANY($1::uuid[]) AND (tombstoned OR trim > 0) AND NOT dirty",
	} {
		if _, err := t.exec(s, uuids(ids)); err != nil {
			return err
		}
	}
	return nil
}

func streamsOf(chunks []Chunk) []stream.ID {
	var ids []stream.ID
	for i := range chunks {
		if i == 0 || chunks[i].Stream != chunks[i-1].Stream {
			ids = append(ids, chunks[i].Stream)
		}
	}
	return ids
}

// replace deletes the replaced chunks, which must all be there as they were.
func (t *publishing) replace(p *Publication) error {
	if len(p.Replaced) == 0 {
		return nil
	}
	n, err := t.exec(`WITH gone AS (
			DELETE FROM chunks d USING `+unnestChunks+`
			WHERE d.stream_id = c.stream_id AND d.next_seq = c.next_seq AND d.first_seq = c.first_seq
				AND d.object = c.object AND d.offset_bytes = c.offset_bytes
			RETURNING d.object, d.stored_bytes),
		sums AS (SELECT object, sum(stored_bytes) AS bytes FROM gone GROUP BY object),
		shrunk AS (UPDATE chunk_objects o SET live_bytes = o.live_bytes - s.bytes,
				since = CASE WHEN o.live_bytes = s.bytes THEN now() ELSE o.since END
			FROM sums s WHERE o.id = s.object)
		SELECT FROM gone`, chunkArrays(p.Replaced)...)
	if err == nil && n != int64(len(p.Replaced)) {
		return lost("%d of %d chunks to replace are not there", int64(len(p.Replaced))-n, len(p.Replaced))
	}
	return err
}

func (t *publishing) insert(p *Publication) error {
	if len(p.Chunks) == 0 {
		return nil
	}
	arrays := chunkArrays(p.Chunks)
	n, err := t.exec(`SELECT FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS n(stream_id, first_seq, next_seq)
		WHERE EXISTS (SELECT FROM (
				SELECT first_seq FROM chunks c WHERE c.stream_id = n.stream_id AND c.next_seq > n.first_seq ORDER BY c.next_seq LIMIT 1
			) above WHERE above.first_seq < n.next_seq)
		LIMIT 1`, arrays[:3]...)
	if err != nil {
		return err
	}
	if n > 0 {
		return lost("other chunks overlap those of object %d", p.Object)
	}
	_, err = t.exec(`INSERT INTO chunks (stream_id, first_seq, next_seq, first_timestamp, last_timestamp,
			object, offset_bytes, stored_bytes, raw_bytes, codec, checksum)
		SELECT * FROM `+unnestChunks, arrays...)
	return err
}

// settle turns the object live.
func (t *publishing) settle(p *Publication) error {
	if p.Object == 0 {
		return nil
	}
	_, err := t.exec("UPDATE chunk_objects SET state = 'live', bytes = $2, live_bytes = $2, since = now() WHERE id = $1",
		int64(p.Object), bytesOf(p.Chunks))
	return err
}

// Drop deletes the chunks that need not be kept, of up to limit streams, and tells
// how many streams it looked at.
func (d *DB) Drop(ctx context.Context, limit int) (looked int, err error) {
	err = d.transact(ctx, "drop chunks", func(ctx context.Context, tx pgx.Tx) error {
		due, err := lockDue(ctx, tx, limit)
		if err != nil {
			return err
		}
		looked = len(due)
		return drop(ctx, tx, due)
	})
	return looked, err
}

// lockDue locks the limits of streams that Drop has to look at. It is a statement of
// its own: whoever publishes chunks of such a stream has done so before it, for the
// next statement to see, or waits.
func lockDue(ctx context.Context, tx pgx.Tx, limit int) ([]pgtype.UUID, error) {
	rows, err := tx.Query(ctx, `SELECT stream_id FROM stream_limits WHERE dirty
		ORDER BY stream_id LIMIT $1 FOR UPDATE SKIP LOCKED`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
}

// drop deletes what locked limits let go.
func drop(ctx context.Context, tx pgx.Tx, due []pgtype.UUID) error {
	if len(due) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `WITH clean AS (
			UPDATE stream_limits SET dirty = false WHERE stream_id = ANY($1::uuid[])
			RETURNING stream_id, trim, tombstoned),
		gone AS (
			DELETE FROM chunks c USING clean
			WHERE c.stream_id = clean.stream_id AND (clean.tombstoned OR c.next_seq <= clean.trim)
			RETURNING c.object, c.stored_bytes),
		sums AS (SELECT object, sum(stored_bytes) AS bytes FROM gone GROUP BY object)
		UPDATE chunk_objects o SET live_bytes = o.live_bytes - s.bytes,
			since = CASE WHEN o.live_bytes = s.bytes THEN now() ELSE o.since END
		FROM sums s WHERE o.id = s.object`, due)
	return err
}
