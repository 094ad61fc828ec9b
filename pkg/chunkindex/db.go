package chunkindex

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/postgres"
	"github.com/samsa-io/samsa/pkg/segment"
)

// DB is the index in a Postgres database. It is safe for concurrent use.
type DB struct {
	pool    *pgxpool.Pool
	timeout time.Duration
}

// DefaultTimeout is how long a call may take, waiting for a connection included.
const DefaultTimeout = 30 * time.Second

// New makes a DB over the pool, which stays the caller's. timeout bounds each call;
// 0: DefaultTimeout. It does not talk to Postgres; see Migrate.
func New(pool *pgxpool.Pool, timeout time.Duration) *DB {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return &DB{pool: pool, timeout: timeout}
}

// attempts is how often a transaction is tried that collides with others.
const attempts = 4

// transact runs f in a transaction, again where the first run left no trace. Each
// statement sees what was committed before it.
func (d *DB) transact(caller context.Context, operation string, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(caller, d.timeout)
	defer cancel()
	var err error
	for range attempts {
		err = pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error { return f(ctx, tx) })
		if err == nil || ctx.Err() != nil || !postgres.LeftNoTrace(err) {
			break
		}
	}
	return translate(caller, operation, err)
}

// change is a transaction that is a step of compacting or collecting.
func (d *DB) change(ctx context.Context, step failpoint.Step, operation string, f func(ctx context.Context, tx pgx.Tx) error) error {
	err := d.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		failpoint.Before(step)
		return nil
	})
	failpoint.After(step)
	return err
}

// exec changes the index by one statement and tells how many rows it touched.
func (d *DB) exec(ctx context.Context, step failpoint.Step, operation, statement string, args ...any) (n int64, err error) {
	err = d.change(ctx, step, operation, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, statement, args...)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// query collects the rows of one statement.
func query[T any](ctx context.Context, d *DB, operation string, scan pgx.RowToFunc[T], statement string, args ...any) (out []T, err error) {
	err = d.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, statement, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scan)
		return err
	})
	return out, err
}

// Status looks at the index as a whole.
func (d *DB) Status(ctx context.Context) (s Status, err error) {
	var last int64
	err = d.transact(ctx, "look at the chunk index", func(ctx context.Context, tx pgx.Tx) error {
		const look = `SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM chunk_object_ids),
			COALESCE((SELECT behind FROM chunk_index), '')`
		return tx.QueryRow(ctx, look).Scan(&last, &s.Behind)
	})
	s.Last = segment.ChunkID(last)
	return s, err
}

// Halt notes why the index must not be worked on until it was rebuilt. The first
// reason stays.
func (d *DB) Halt(ctx context.Context, reason string) error {
	return d.transact(ctx, "halt the chunk index", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO chunk_index AS i (behind) VALUES ($1)
			ON CONFLICT (single) DO UPDATE SET behind = EXCLUDED.behind WHERE i.behind = ''`, reason)
		return err
	})
}
