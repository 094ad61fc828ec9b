// Package catalogtest gives a test a catalog in a real Postgres, in a database
// of its own. See postgres.ForTest for the server and for what TestMain has to
// do about it.
package catalogtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/stretchr/testify/require"
)

// New is an empty catalog.
func New(t testing.TB, o catalog.Options) *catalog.Catalog {
	t.Helper()
	return catalog.New(Pool(t), o)
}

// Pool is connected to a database that holds an empty catalog.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool := EmptyPool(t)
	require.NoError(t, catalog.Migrate(context.Background(), pool))
	return pool
}

// EmptyPool is connected to a database that holds nothing.
func EmptyPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), postgres.ForTest(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}
