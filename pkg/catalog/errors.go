package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/samsa-io/samsa/pkg/postgres"
)

var (
	// ErrNotFound says that there is no such thing; it stands in an *ObjectError.
	ErrNotFound = errors.New("not found")
	// ErrExists says that the name is taken; it stands in an *ObjectError.
	ErrExists = errors.New("exists already")
	// ErrDeleting says that the name is taken by something whose deletion goes
	// on; it stands in an *ObjectError.
	ErrDeleting = errors.New("is being deleted")
	// ErrInvalidToken says that a text is no access token, or not a valid one.
	ErrInvalidToken = errors.New("access token is not valid")
	// ErrTokenExpired says that an access token was valid once.
	ErrTokenExpired = errors.New("access token has expired")
	// ErrUnavailable says that Postgres did not answer: a change may have been
	// made or not.
	ErrUnavailable = errors.New("catalog database is unavailable")
)

// Object is a kind of thing in the catalog.
type Object string

// The kinds of things in the catalog.
const (
	ObjectBucket      Object = "bucket"
	ObjectStream      Object = "stream"
	ObjectAccessToken Object = "access token"
)

// ObjectError says what is not found, exists or is being deleted.
type ObjectError struct {
	Object Object
	Name   string
	Err    error // ErrNotFound, ErrExists or ErrDeleting
}

func (e *ObjectError) Error() string { return fmt.Sprintf("%s %q %v", e.Object, e.Name, e.Err) }

func (e *ObjectError) Unwrap() error { return e.Err }

// ClusterMismatchError refuses a database that belongs to another cluster.
type ClusterMismatchError struct {
	Database string // the id in the database
	Store    string // the id that was asked for: the object store's
}

func (e *ClusterMismatchError) Error() string {
	return fmt.Sprintf("the catalog database belongs to cluster %s, the object store to cluster %s: "+
		"let database.url and storage.url name the same cluster's", e.Database, e.Store)
}

// translate turns a driver's error into one of this package, with the operation.
// ctx is the caller's.
func translate(ctx context.Context, operation string, err error) error {
	var object *ObjectError
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &object), errors.Is(err, ErrInvalidToken), errors.Is(err, ErrTokenExpired):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", operation, ctx.Err())
	case errors.As(err, &pg) && !postgres.TellsOutage(pg):
		return fmt.Errorf("%s: %w", operation, err)
	}
	return fmt.Errorf("%s: %w: %w", operation, ErrUnavailable, err)
}

// connectionBroke tells that a connection which stood has gone, as after a
// restart of Postgres: the pool has others.
func connectionBroke(err error) bool {
	var connecting *pgconn.ConnectError
	var pg *pgconn.PgError
	var object *ObjectError
	switch {
	case errors.As(err, &connecting), errors.As(err, &object):
		return false
	case errors.As(err, &pg):
		return postgres.TellsOutage(pg)
	}
	return !errors.Is(err, ErrInvalidToken) && !errors.Is(err, ErrTokenExpired)
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
