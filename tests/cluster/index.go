package cluster

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/samsa-io/samsa/pkg/chunkindex"
)

// HoldCompactors lets the compactors of a database end what they do, and keeps them
// from beginning anything, until release is called.
func HoldCompactors(t testing.TB, databaseURL string) (release func()) {
	t.Helper()
	return hold(t, openPool(t, databaseURL))
}

func openPool(t testing.TB, databaseURL string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func hold(t testing.TB, pool *pgxpool.Pool) (release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	Eventually(t, startPatience, "compactors are held", func() (err error) {
		release, err = chunkindex.New(pool, 0).Exclude(ctx)
		if err != nil && !errors.Is(err, chunkindex.ErrRebuilding) {
			t.Fatal(err)
		}
		return err
	})
	return release
}

// EmptyIndex loses the chunk index, as a restored database may.
func EmptyIndex(t testing.TB, databaseURL string) {
	t.Helper()
	pool := openPool(t, databaseURL)
	defer hold(t, pool)()
	_, err := pool.Exec(t.Context(), "TRUNCATE compacted_logs, chain_heads, chunk_objects, chunks, stream_limits, tombstoned_buckets, chunk_index; ALTER SEQUENCE chunk_object_ids RESTART")
	if err != nil {
		t.Fatal(err)
	}
}
