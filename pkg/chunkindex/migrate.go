package chunkindex

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/samsa-io/samsa/pkg/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

const versionTable = "chunk_index_migrations"

// Migrate brings the index's tables up to date. Several programs may call it at
// once: an advisory lock lets one of them do the work.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := postgres.NewMigrator(pool, migrations, versionTable)
	if err != nil {
		return fmt.Errorf("read the chunk index's migrations: %w", err)
	}
	defer m.Close()
	return translate(ctx, "migrate the chunk index", m.Up(ctx))
}
