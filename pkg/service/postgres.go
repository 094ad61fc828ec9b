package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

const (
	connectTimeout  = 3 * time.Second
	databaseBeat    = 5 * time.Second // between looks at whether Postgres is there
	databaseRetry   = time.Second
	migrationWait   = 10 * time.Second // for a database that is there, at the start
	poolCloseBudget = 3 * time.Second
)

// DSN is the connection string.
func (d *Database) DSN() string {
	if d.URL != "" {
		return d.URL
	}
	query := url.Values{"sslmode": {d.SSLMode}}
	for parameter, file := range map[string]string{"sslrootcert": d.CAFile, "sslcert": d.CertFile, "sslkey": d.KeyFile} {
		if file != "" {
			query.Set(parameter, file)
		}
	}
	u := url.URL{
		Scheme: "postgres", Host: net.JoinHostPort(d.Host, strconv.Itoa(d.Port)), Path: "/" + d.DatabaseName,
		RawQuery: query.Encode(),
	}
	switch {
	case d.Password != "":
		u.User = url.UserPassword(d.Username, d.Password)
	case d.Username != "":
		u.User = url.User(d.Username)
	}
	return u.String()
}

func (d *Database) pool() (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(d.DSN())
	if err != nil {
		return nil, fmt.Errorf("section [database]: %w", err)
	}
	c.MaxConns = int32(d.MaxConnections)
	c.ConnConfig.ConnectTimeout = connectTimeout
	return c, nil
}

// postgres is a pool that connects when it is first used, so that a program
// starts without its database.
func (p *platform) postgres(lc fx.Lifecycle, reg prometheus.Registerer, tracer trace.TracerProvider, health *telemetry.Health, log *zap.Logger) (*pgxpool.Pool, error) {
	c, err := p.config.Database.pool()
	if err != nil {
		return nil, err
	}
	if p.config.Observability.EnableOtelTracing {
		c.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(tracer))
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("section [database]: %w", err)
	}
	if err := reg.Register(newPoolMetrics(pool)); err != nil {
		return nil, err
	}
	watch := newLoop(func(ctx context.Context) {
		watchDatabase(ctx, pool, health.Component("postgres"), log.Named("postgres"))
	})
	lc.Append(fx.StartStopHook(watch.start, watch.stop))
	lc.Append(fx.StopHook(func(ctx context.Context) error { return closePool(ctx, pool) }))
	return pool, nil
}

// watchDatabase reports whether Postgres answers. Without it programs are
// degraded, not down: known streams go on.
func watchDatabase(ctx context.Context, pool *pgxpool.Pool, c *telemetry.Component, log *zap.Logger) {
	c.Degraded("has not answered yet")
	wasDown := false
	for ctx.Err() == nil {
		err := ping(ctx, pool)
		if ctx.Err() != nil {
			return
		}
		c.Report(err)
		if down := err != nil; down != wasDown {
			wasDown = down
			if down {
				log.Warn("Postgres does not answer; trying again", zap.Error(err))
			} else {
				log.Info("Postgres answers again")
			}
		}
		_ = clock.Sleep(ctx, databaseBeat)
	}
}

func ping(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return pool.Ping(ctx)
}

// closePool waits for connections in use, within a budget.
func closePool(ctx context.Context, pool *pgxpool.Pool) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pool.Close()
	}()
	ctx, cancel := context.WithTimeout(ctx, poolCloseBudget)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("close the database pool: connections are still in use")
	}
}

func newCatalog(pool *pgxpool.Pool, bus *notify.Bus, log *zap.Logger) *catalog.Catalog {
	return catalog.New(pool, catalog.Options{Publisher: bus, Log: log.Named("catalog")})
}

// Migration brings the catalog's schema up to date and makes sure that it belongs
// to the store's cluster. Programs that own the catalog ask for it by
// fx.Invoke(func(*service.Migration) {}); in one app it runs once.
type Migration struct {
	pool      *pgxpool.Pool
	catalog   *catalog.Catalog
	cluster   string
	component *telemetry.Component
	shutdown  fx.Shutdowner
	log       *zap.Logger
	done      chan struct{}
	refused   chan error // has one place: why the catalog must not be used
	started   atomic.Bool
}

type migrationIn struct {
	fx.In
	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Pool       *pgxpool.Pool
	Catalog    *catalog.Catalog
	Cluster    objstore.Cluster
	Health     *telemetry.Health
	Log        *zap.Logger
}

func newMigration(in migrationIn) *Migration {
	m := &Migration{
		pool: in.Pool, catalog: in.Catalog, cluster: in.Cluster.ID.String(),
		component: in.Health.Component("catalog"), shutdown: in.Shutdowner, log: in.Log.Named("catalog"),
		done: make(chan struct{}), refused: make(chan error, 1),
	}
	work := newLoop(m.run)
	in.Lifecycle.Append(fx.StartStopHook(func(ctx context.Context) error {
		work.start()
		if err := m.wait(ctx); err != nil {
			work.stop()
			return err
		}
		return nil
	}, work.stop))
	return m
}

// Done is closed once the catalog is fit for use.
func (m *Migration) Done() <-chan struct{} { return m.done }

// wait gives a database that is there the time to be made ready, and lets the
// program start without one that is not.
func (m *Migration) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrationWait)
	defer cancel()
	select {
	case <-m.done:
		return nil
	case err := <-m.refused:
		return err
	case <-ctx.Done():
	}
	// In this order, refuse and this function cannot both overlook the other.
	m.started.Store(true)
	select {
	case err := <-m.refused:
		return err
	default:
		m.log.Warn("started without the catalog database: calls that need it fail until it answers")
		return nil
	}
}

func (m *Migration) run(ctx context.Context) {
	m.component.Degraded("waiting for Postgres")
	for ctx.Err() == nil {
		err := m.migrate(ctx)
		if err == nil {
			m.component.OK()
			m.log.Info("catalog is up to date")
			close(m.done)
			return
		}
		var foreign *catalog.ClusterMismatchError
		if errors.As(err, &foreign) {
			m.refuse(err)
			return
		}
		if ctx.Err() == nil {
			m.component.Degraded(err.Error())
			m.log.Warn("cannot bring the catalog up to date; trying again", zap.Error(err))
		}
		_ = clock.Sleep(ctx, databaseRetry)
	}
}

func (m *Migration) migrate(ctx context.Context) error {
	if err := catalog.Migrate(ctx, m.pool); err != nil {
		return err
	}
	return m.catalog.CheckCluster(ctx, m.cluster)
}

// refuse keeps the program from starting, or ends it: it must not touch another
// cluster's catalog.
func (m *Migration) refuse(err error) {
	m.component.Down(err.Error())
	m.refused <- err
	if !m.started.Load() {
		return
	}
	m.log.Error("refusing to run", zap.Error(err))
	if err := m.shutdown.Shutdown(fx.ExitCode(ExitFailed)); err != nil {
		m.log.Error("cannot ask the program to stop", zap.Error(err))
	}
}
