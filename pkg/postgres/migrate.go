package postgres

import (
	"context"
	"database/sql"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrator brings the tables of one package up to date.
type Migrator struct {
	db       *sql.DB
	provider *goose.Provider
}

// NewMigrator reads the migrations in the folder "migrations" of files; versionTable
// keeps account of those that were applied. It does not talk to Postgres.
func NewMigrator(pool *pgxpool.Pool, files fs.FS, versionTable string) (*Migrator, error) {
	folder, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	// Every second, 60 times.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, folder,
		goose.WithSessionLocker(locker), goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &Migrator{db, provider}, nil
}

// Up applies what is missing. Several programs may call it at once: an advisory lock
// lets one of them do the work. It waits for the lock for up to a minute, or until ctx
// ends. The errors are the driver's.
func (m *Migrator) Up(ctx context.Context) error {
	_, err := m.provider.Up(ctx)
	return err
}

// Close lets go of what NewMigrator took; the pool stays open.
func (m *Migrator) Close() { _ = m.db.Close() }
