package chunkindex

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Totals is how much the index holds.
type Totals struct {
	Chunks    int64 // rows, estimated where there are many
	Objects   int64 // that chunks are in
	Bytes     int64 // of those objects' blocks
	LiveBytes int64 // of the blocks that chunks name
	Removed   int64 // objects that wait for their deletion
	Logs      int64 // of which slots are left
}

// Totals counts. What grows with the data is estimated by Postgres's own statistics,
// once it is too much to count now and then.
func (d *DB) Totals(ctx context.Context) (t Totals, err error) {
	const count = `SELECT
		CASE WHEN (SELECT reltuples FROM pg_class WHERE oid = 'chunks'::regclass) < 100000
			THEN (SELECT count(*) FROM (SELECT FROM chunks LIMIT 1000000) AS few)
			ELSE (SELECT reltuples::bigint FROM pg_class WHERE oid = 'chunks'::regclass) END,
		count(*) FILTER (WHERE state = 'live'),
		COALESCE(sum(bytes) FILTER (WHERE state = 'live'), 0)::bigint,
		COALESCE(sum(live_bytes) FILTER (WHERE state = 'live'), 0)::bigint,
		count(*) FILTER (WHERE state = 'removed'),
		(SELECT count(*) FROM compacted_logs WHERE collected_at IS NULL)
		FROM chunk_objects`
	err = d.transact(ctx, "count the chunk index", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, count).Scan(&t.Chunks, &t.Objects, &t.Bytes, &t.LiveBytes, &t.Removed, &t.Logs)
	})
	return t, err
}
