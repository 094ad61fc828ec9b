package service

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// OpenStore opens the object store and its cluster for a command. It writes nothing:
// the store is not probed, and a cluster must be there. Close it by objstore.Close.
func OpenStore(ctx context.Context, s Storage) (objstore.Store, objstore.Cluster, error) {
	raw, err := objstore.Open(ctx, s.Config)
	if err != nil {
		return nil, objstore.Cluster{}, fmt.Errorf("open the object store %s: %w", s.URL, err)
	}
	store := objstore.WithRetry(raw, objstore.DefaultRetryPolicy())
	found, err := objstore.ReadCluster(ctx, store)
	if err != nil {
		_ = objstore.Close(raw)
		return nil, objstore.Cluster{}, fmt.Errorf("read the cluster of the object store %s (storage.url): %w", s.URL, err)
	}
	return store, found, nil
}

// OpenDatabase makes a pool for a command, which can change nothing if readOnly.
func OpenDatabase(ctx context.Context, d Database, readOnly bool) (*pgxpool.Pool, error) {
	c, err := d.pool()
	if err != nil {
		return nil, err
	}
	if readOnly {
		c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("section [database]: %w", err)
	}
	if err := ping(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("section [database]: %w", err)
	}
	return pool, nil
}
