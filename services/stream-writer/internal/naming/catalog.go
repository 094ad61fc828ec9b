// Package naming finds the streams that the log does not know yet: in the catalog,
// which creates them if their bucket says so.
package naming

import (
	"context"
	"errors"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Rows is the part of the catalog that names streams.
type Rows interface {
	LookupStream(context.Context, stream.Name) (catalog.Stream, catalog.Bucket, error)
	EnsureStream(context.Context, stream.Name, catalog.Cause) (catalog.Stream, error)
}

// Catalog answers a writer's lookups.
type Catalog struct{ rows Rows }

// New makes a Catalog.
func New(rows *catalog.Catalog) *Catalog { return &Catalog{rows: rows} }

// Find returns the active stream of that name. If it is missing and its bucket
// creates streams for such a purpose, it is created.
func (c *Catalog) Find(ctx context.Context, name stream.Name, purpose shardlog.Purpose) (shardlog.CatalogStream, error) {
	row, bucket, err := c.rows.LookupStream(ctx, name)
	if cause, ok := causeOf(purpose, bucket); ok && errors.Is(err, catalog.ErrNotFound) {
		row, err = c.rows.EnsureStream(ctx, name, cause)
	}
	if err != nil {
		return shardlog.CatalogStream{}, err
	}
	return shardlog.CatalogStream{
		ID: row.ID, BucketID: row.BucketID, Config: row.Config, ConfigVersion: row.ConfigVersion,
	}, nil
}

// causeOf is why a missing stream would be created; false: it is not.
func causeOf(purpose shardlog.Purpose, b catalog.Bucket) (catalog.Cause, bool) {
	switch {
	case purpose == shardlog.ForAppend && b.CreatesOnAppend():
		return catalog.CauseAppend, true
	case purpose == shardlog.ForRead && b.CreatesOnRead():
		return catalog.CauseRead, true
	}
	return 0, false
}
