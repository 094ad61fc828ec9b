package chunkindex

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/samsa-io/samsa/pkg/postgres"
)

// translate turns a driver's error into one of this package, with the operation.
func translate(ctx context.Context, operation string, err error) error {
	var pg *pgconn.PgError
	var behind *BehindError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrLost), errors.Is(err, ErrRebuilding), errors.As(err, &behind):
		return fmt.Errorf("%s: %w", operation, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", operation, ctx.Err())
	case errors.As(err, &pg) && !postgres.TellsOutage(pg):
		return fmt.Errorf("%s: %w", operation, err)
	}
	return fmt.Errorf("%s: %w: %w", operation, ErrUnavailable, err)
}
