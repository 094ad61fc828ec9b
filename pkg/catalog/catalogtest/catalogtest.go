// Package catalogtest gives tests a catalog in a real Postgres: one server for a
// test binary, one database for a test.
package catalogtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/stretchr/testify/require"
)

const template = "catalog_template"

// server is the binary's Postgres. It starts when a test first asks for it, and
// Run stops it.
var server struct {
	start   sync.Once
	err     error
	dir     string
	running *postgres.Server
	names   atomic.Int64
}

// Run runs a binary's tests and then stops the Postgres that they have used. It
// is for TestMain: os.Exit(catalogtest.Run(m)).
func Run(m *testing.M) int {
	defer stop()
	return m.Run()
}

func stop() {
	if server.running != nil {
		if err := server.running.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if server.dir != "" {
		_ = os.RemoveAll(server.dir)
	}
}

func start(ctx context.Context) (err error) {
	if server.dir, err = os.MkdirTemp("", "catalogtest-"); err != nil {
		return err
	}
	// The server's user must be able to reach its data.
	if err := os.Chmod(server.dir, 0o711); err != nil {
		return err
	}
	if server.running, err = postgres.Start(ctx, postgres.Options{Dir: server.dir, Fast: true}); err != nil {
		return err
	}
	if err := execute(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, urlOf(template))
	if err != nil {
		return err
	}
	defer pool.Close()
	return catalog.Migrate(ctx, pool)
}

// New is an empty catalog in a database of its own.
func New(t testing.TB, o catalog.Options) *catalog.Catalog {
	t.Helper()
	return catalog.New(Pool(t), o)
}

// Pool is connected to a database of its own that holds an empty catalog.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	name := create(t, " TEMPLATE "+template)
	pool, err := pgxpool.New(context.Background(), urlOf(name))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// EmptyPool is connected to a database of its own that holds nothing.
func EmptyPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), urlOf(create(t, "")))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func create(t testing.TB, with string) (name string) {
	t.Helper()
	// Run must have a chance to stop it, so the server outlives this test.
	server.start.Do(func() { server.err = start(context.Background()) })
	require.NoError(t, server.err)
	name = fmt.Sprintf("test_%d", server.names.Add(1))
	require.NoError(t, execute(context.Background(), "CREATE DATABASE "+name+with))
	return name
}

func execute(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, server.running.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func urlOf(database string) string {
	u, err := url.Parse(server.running.URL)
	if err != nil {
		panic(err) // postgres made it
	}
	u.Path = database
	return u.String()
}
