// Package naming finds the streams that the log does not know yet: in the catalog,
// which creates them if their bucket says so.
package naming

import (
	"context"

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
	row, err := c.find(ctx, name, purpose)
	if err != nil {
		return shardlog.CatalogStream{}, err
	}
	return shardlog.CatalogStream{
		ID: row.ID, BucketID: row.BucketID, Config: row.Config, ConfigVersion: row.ConfigVersion,
	}, nil
}

func (c *Catalog) find(ctx context.Context, name stream.Name, purpose shardlog.Purpose) (catalog.Stream, error) {
	switch purpose {
	case shardlog.ForAppend:
		return c.rows.EnsureStream(ctx, name, catalog.CauseAppend)
	case shardlog.ForRead:
		return c.rows.EnsureStream(ctx, name, catalog.CauseRead)
	default:
		row, _, err := c.rows.LookupStream(ctx, name)
		return row, err
	}
}
