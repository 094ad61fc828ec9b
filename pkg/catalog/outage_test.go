package catalog_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// calls is one of each kind of call.
func calls(ctx context.Context, c *catalog.Catalog) map[string]error {
	_, get := c.GetBucket(ctx, "logs")
	_, create := c.CreateBucket(ctx, "more-logs", settings.Bucket{})
	_, _, lookup := c.LookupStream(ctx, named("logs", "a"))
	_, ensure := c.EnsureStream(ctx, named("logs", "a"), catalog.CauseAppend)
	_, _, list := c.ListStreams(ctx, "logs", catalog.Page{})
	_, claim := c.ClaimStreams(ctx, 1, hold)
	return map[string]error{
		"get": get, "create": create, "lookup": lookup, "ensure": ensure, "list": list, "claim": claim,
		"cluster": c.CheckCluster(ctx, "id"),
	}
}

func TestOutage_StoppedPostgresIsUnavailableAtOnceAndComesBack(t *testing.T) {
	dir := postgres.TempDir(t)
	server, err := postgres.Start(t.Context(), postgres.Options{Dir: dir, Fast: true})
	require.NoError(t, err)
	pool, err := pgxpool.New(t.Context(), server.URL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, catalog.Migrate(t.Context(), pool))
	c := catalog.New(pool, catalog.Options{})
	createBucket(t, c, "logs")

	require.NoError(t, server.Stop(t.Context()))
	begin := time.Now()
	for what, err := range calls(t.Context(), c) {
		require.ErrorIs(t, err, catalog.ErrUnavailable, what)
	}
	require.ErrorIs(t, catalog.Migrate(t.Context(), pool), catalog.ErrUnavailable)
	require.Less(t, time.Since(begin), catalog.DefaultTimeout)

	server, err = postgres.Start(t.Context(), postgres.Options{Dir: dir, Fast: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	// On the same port, so the pool finds it.
	_, err = c.GetBucket(t.Context(), "logs")
	require.NoError(t, err)
}

func TestOutage_BrokenConnectionsAreReplacedWithinACall(t *testing.T) {
	pool := catalogtest.Pool(t)
	c := catalog.New(pool, catalog.Options{})
	createBucket(t, c, "logs")
	for range 3 {
		killer, err := pgxpool.New(t.Context(), pool.Config().ConnString())
		require.NoError(t, err)
		_, err = killer.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		require.NoError(t, err)
		killer.Close()
		_, err = c.GetBucket(t.Context(), "logs")
		require.NoError(t, err)
	}
}

func TestOutage_SilentPostgresIsUnavailableAfterTheTimeout(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), "postgres://samsa@"+blackHole(t)+"/samsa?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	c := catalog.New(pool, catalog.Options{Timeout: 50 * time.Millisecond})
	for what, err := range calls(t.Context(), c) {
		require.ErrorIs(t, err, catalog.ErrUnavailable, what)
	}
}

func TestOutage_CallerWhoGivesUpGetsHisOwnError(t *testing.T) {
	c, _ := newCatalog(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range calls(ctx, c) {
		require.ErrorIs(t, err, context.Canceled, what)
		require.NotErrorIs(t, err, catalog.ErrUnavailable, what)
	}
}

func TestUnpublishedChange_IsLoggedAndStands(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	c := catalogtest.New(t, catalog.Options{Publisher: &recorder{err: errors.New("NATS is away")}, Log: zap.New(core)})
	createBucket(t, c, "logs")
	require.Equal(t, 1, logs.FilterField(zap.String("bucket", "logs")).Len())
}

// blackHole is an address where connections are accepted and never answered.
func blackHole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		var open []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, conn)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}
