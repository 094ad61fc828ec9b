package catalog_test

import (
	"errors"
	"testing"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/stretchr/testify/require"
)

func TestMigrate_ManyProgramsAtOnceAndAgain(t *testing.T) {
	pool := catalogtest.EmptyPool(t)
	errs := inParallel(3, func(int) error { return catalog.Migrate(t.Context(), pool) })
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, catalog.Migrate(t.Context(), pool))
	createBucket(t, catalog.New(pool, catalog.Options{}), "logs")
}

func TestCheckCluster_RefusesTheDatabaseOfAnother(t *testing.T) {
	c, _ := newCatalog(t)
	ids := []string{"one", "two", "three"}
	errs := inParallel(len(ids), func(i int) error { return c.CheckCluster(t.Context(), ids[i]) })
	require.Equal(t, 1, countOK(errs))
	for i, err := range errs {
		if err == nil {
			require.NoError(t, c.CheckCluster(t.Context(), ids[i]))
			continue
		}
		var mismatch *catalog.ClusterMismatchError
		require.ErrorAs(t, err, &mismatch)
		require.Equal(t, ids[i], mismatch.Store)
		require.Contains(t, err.Error(), "database.url")
	}
}
