package catalog

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/samsa-io/samsa/pkg/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

const versionTable = "schema_migrations"

// Migrate brings the database's schema up to date. Several programs may call it
// at once: an advisory lock lets one of them do the work. It waits for the lock
// for up to a minute, or until ctx ends.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := postgres.NewMigrator(pool, migrations, versionTable)
	if err != nil {
		return fmt.Errorf("read the catalog's migrations: %w", err)
	}
	defer m.Close()
	return translate(ctx, "migrate the catalog database", m.Up(ctx))
}

// CheckCluster refuses a database that belongs to another cluster than id with a
// *ClusterMismatchError. One that belongs to none becomes this cluster's.
func (c *Catalog) CheckCluster(ctx context.Context, id string) error {
	var have string
	err := c.transact(ctx, "check the cluster id", func(ctx context.Context, tx pgx.Tx) error {
		const claim = "INSERT INTO cluster (id) VALUES ($1) ON CONFLICT (single) DO NOTHING"
		if _, err := tx.Exec(ctx, claim, id); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT id FROM cluster").Scan(&have)
	})
	if err != nil {
		return err
	}
	if have != id {
		return &ClusterMismatchError{Database: have, Store: id}
	}
	return nil
}
