package chunkindex

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

const objectColumns = "id, state, log, from_slot, to_slot, sources, bytes, live_bytes"

func scanObject(row pgx.CollectableRow) (o Object, err error) {
	var id, from, to int64
	var log pgtype.UUID
	var sources []int64
	err = row.Scan(&id, (*string)(&o.State), &log, &from, &to, &sources, &o.Bytes, &o.LiveBytes)
	o.ID, o.Log = segment.ChunkID(id), stream.Incarnation(log.Bytes)
	o.From, o.To, o.Sources = stream.Slot(from), stream.Slot(to), chunkIDs(sources)
	return o, err
}

func (d *DB) objects(ctx context.Context, operation, where string, args ...any) ([]Object, error) {
	return query(ctx, d, operation, scanObject, "SELECT "+objectColumns+" FROM chunk_objects WHERE "+where, args...)
}

// Begin gives a job's object an id that was never given before. From then on the
// object may be put.
func (d *DB) Begin(ctx context.Context, job Job) (id segment.ChunkID, err error) {
	err = d.change(ctx, failpoint.IndexBegin, "begin a chunk object", func(ctx context.Context, tx pgx.Tx) error {
		const begin = `INSERT INTO chunk_objects (id, state, log, from_slot, to_slot, sources)
			VALUES (nextval('chunk_object_ids'), 'pending', $1, $2, $3, $4) RETURNING id`
		var n int64
		err := tx.QueryRow(ctx, begin, uuidOrNull(job.Log), int64(job.From), int64(job.To), numbers(job.Sources)).Scan(&n)
		id = segment.ChunkID(n)
		return err
	})
	return id, err
}

// Abandoned is the objects that have been pending for at least age, by id.
func (d *DB) Abandoned(ctx context.Context, age time.Duration) ([]Object, error) {
	return d.objects(ctx, "list abandoned chunk objects", "state = 'pending' AND since <= now() - $1::interval ORDER BY id", age)
}

// Dead is the objects that have been live without chunks for at least age, by id.
func (d *DB) Dead(ctx context.Context, age time.Duration) ([]Object, error) {
	return d.objects(ctx, "list dead chunk objects",
		"state = 'live' AND live_bytes = 0 AND since <= now() - $1::interval ORDER BY id", age)
}

// Sparse is up to limit live objects, by id, that are more than half dead, or
// smaller than small bytes.
func (d *DB) Sparse(ctx context.Context, small int64, limit int) ([]Object, error) {
	return d.objects(ctx, "list sparse chunk objects",
		"state = 'live' AND live_bytes > 0 AND (live_bytes * 2 < bytes OR bytes < $1) ORDER BY id LIMIT $2", small, limit)
}

// Removed is the objects that are being deleted, by id; those since at least age.
func (d *DB) Removed(ctx context.Context, age time.Duration) ([]Object, error) {
	return d.objects(ctx, "list removed chunk objects", "state = 'removed' AND since <= now() - $1::interval ORDER BY id", age)
}

// Remove decides that an object goes: one that is pending, or one that is live
// without chunks. False: it is neither, any more, or chunks name it though the sum of
// its live bytes denies it.
func (d *DB) Remove(ctx context.Context, id segment.ChunkID) (bool, error) {
	n, err := d.exec(ctx, failpoint.IndexRemove, "remove a chunk object", `UPDATE chunk_objects SET state = 'removed', since = now()
		WHERE id = $1 AND (state = 'pending' OR state = 'live' AND live_bytes = 0)
			AND NOT EXISTS (SELECT FROM chunks WHERE object = $1)`, int64(id))
	return n > 0, err
}

// Forget drops the row of an object that was removed and deleted.
func (d *DB) Forget(ctx context.Context, id segment.ChunkID) error {
	_, err := d.exec(ctx, failpoint.IndexForget, "forget a chunk object", "DELETE FROM chunk_objects WHERE id = $1 AND state = 'removed'", int64(id))
	return err
}

// Objects is those of the objects that have rows, by id.
func (d *DB) Objects(ctx context.Context, ids []segment.ChunkID) ([]Object, error) {
	return d.objects(ctx, "look chunk objects up", "id = ANY($1::bigint[]) ORDER BY id", numbers(ids))
}

// ChunksIn is the chunks in some objects, by stream and position. It looks at every
// chunk that there is.
func (d *DB) ChunksIn(ctx context.Context, ids []segment.ChunkID) ([]Chunk, error) {
	return query(ctx, d, "list the chunks of objects", scanChunk, "SELECT "+chunkColumns+` FROM chunks c
		WHERE c.object = ANY($1::bigint[]) ORDER BY c.stream_id, c.next_seq`, numbers(ids))
}

// Page is up to limit objects with ids above after, by id.
func (d *DB) Page(ctx context.Context, after segment.ChunkID, limit int) ([]Object, error) {
	return d.objects(ctx, "list chunk objects", "id > $1 ORDER BY id LIMIT $2", int64(after), limit)
}

// Miscounted is the objects with ids in (above, upTo] whose live bytes are not the
// sum of the chunks that name them, or that chunks name though they are not live, or
// have no row at all, by id.
func (d *DB) Miscounted(ctx context.Context, above, upTo segment.ChunkID) ([]Miscount, error) {
	return query(ctx, d, "add chunks up", func(row pgx.CollectableRow) (m Miscount, err error) {
		var id int64
		err = row.Scan(&id, (*string)(&m.State), &m.LiveBytes, &m.Named)
		m.ID = segment.ChunkID(id)
		return m, err
	}, `SELECT id, COALESCE(o.state, ''), COALESCE(o.live_bytes, 0), COALESCE(s.bytes, 0)
		FROM (SELECT * FROM chunk_objects WHERE id > $1 AND id <= $2) o
		FULL JOIN (SELECT object AS id, sum(stored_bytes)::bigint AS bytes FROM chunks
			WHERE object > $1 AND object <= $2 GROUP BY object) s USING (id)
		WHERE CASE WHEN o.state = 'live' THEN o.live_bytes <> COALESCE(s.bytes, 0) ELSE s.id IS NOT NULL END
		ORDER BY id`, int64(above), int64(min(upTo, math.MaxInt64)))
}
