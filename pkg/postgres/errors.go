package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// TellsOutage tells an answer of Postgres that is no answer to the question.
func TellsOutage(err *pgconn.PgError) bool {
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

// LeftNoTrace tells that a failed transaction has certainly not happened and may
// succeed at once.
func LeftNoTrace(err error) bool { return pgconn.SafeToRetry(err) || Collides(err) }

// Collides tells that transactions got in each other's way: none of this one has
// happened.
func Collides(err error) bool {
	const serializationFailure, deadlock = "40001", "40P01"
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == serializationFailure || pg.Code == deadlock)
}
