package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Totals is how much the catalog holds.
type Totals struct {
	Buckets, Streams int64 // streams are estimated where there are many
	// What waits to be deleted, or to come into effect.
	DeletingBuckets, DeletingStreams, UnappliedStreams int64
}

// Totals counts. Streams are estimated by Postgres's own statistics, once they are
// too many to count now and then.
func (c *Catalog) Totals(ctx context.Context) (t Totals, err error) {
	const count = `SELECT
		(SELECT count(*) FROM buckets),
		CASE WHEN (SELECT reltuples FROM pg_class WHERE oid = 'streams'::regclass) < 100000
			THEN (SELECT count(*) FROM (SELECT FROM streams LIMIT 1000000) AS few)
			ELSE (SELECT reltuples::bigint FROM pg_class WHERE oid = 'streams'::regclass) END,
		(SELECT count(*) FROM buckets WHERE state = 'deleting'),
		(SELECT count(*) FROM streams WHERE state = 'deleting'),
		(SELECT count(*) FROM streams WHERE state = 'active' AND applied_version < config_version)`
	err = c.transact(ctx, "count the catalog", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, count).Scan(&t.Buckets, &t.Streams, &t.DeletingBuckets, &t.DeletingStreams, &t.UnappliedStreams)
	})
	return t, err
}
