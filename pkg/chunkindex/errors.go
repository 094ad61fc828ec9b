package chunkindex

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// translate turns a driver's error into one of this package, with the operation.
func translate(ctx context.Context, operation string, err error) error {
	var pg *pgconn.PgError
	var behind *BehindError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrLost), errors.As(err, &behind):
		return fmt.Errorf("%s: %w", operation, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", operation, ctx.Err())
	case errors.As(err, &pg) && !tellsOutage(pg):
		return fmt.Errorf("%s: %w", operation, err)
	}
	return fmt.Errorf("%s: %w: %w", operation, ErrUnavailable, err)
}

// tellsOutage tells an answer of Postgres that is no answer to the question.
func tellsOutage(err *pgconn.PgError) bool {
	const readOnlyTransaction = "25006" // a standby
	switch err.Code[:2] {
	case "08", // connection exception
		"53", // insufficient resources
		"57", // operator intervention: shutting down, starting up, cancelled
		"58": // system error
		return true
	}
	return err.Code == readOnlyTransaction
}

// leftNoTrace tells that a failed transaction has certainly not happened and may
// succeed at once.
func leftNoTrace(err error) bool {
	const serializationFailure, deadlock = "40001", "40P01"
	var pg *pgconn.PgError
	return pgconn.SafeToRetry(err) || errors.As(err, &pg) && (pg.Code == serializationFailure || pg.Code == deadlock)
}
