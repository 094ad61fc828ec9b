package catalog_test

import (
	"context"
	"sync"
	"testing"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

// hold is longer than any test.
const hold = 1 << 40

func newCatalog(t *testing.T) (*catalog.Catalog, *recorder) {
	t.Helper()
	r := new(recorder)
	return catalogtest.New(t, catalog.Options{Publisher: r}), r
}

// change is a CatalogChange that compares.
type change struct{ bucket, stream, accessTokenID string }

// recorder keeps what is published.
type recorder struct {
	mu      sync.Mutex
	changes []change
	err     error
}

func (r *recorder) PublishCatalogChange(_ context.Context, c *clusterv1.CatalogChange) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, change{c.Bucket, c.Stream, c.AccessTokenId})
	return r.err
}

func (r *recorder) take() []change {
	r.mu.Lock()
	defer r.mu.Unlock()
	changes := r.changes
	r.changes = nil
	return changes
}

func createBucket(t *testing.T, c *catalog.Catalog, name string) catalog.Bucket {
	t.Helper()
	b, err := c.CreateBucket(t.Context(), name, settings.Bucket{})
	require.NoError(t, err)
	return b
}

func createStream(t *testing.T, c *catalog.Catalog, bucket, name string) catalog.Stream {
	t.Helper()
	s, err := c.CreateStream(t.Context(), stream.Name{Bucket: bucket, Stream: name}, settings.Stream{})
	require.NoError(t, err)
	return s
}

func named(bucket, name string) stream.Name { return stream.Name{Bucket: bucket, Stream: name} }

func requireObject(t *testing.T, err, want error, object catalog.Object, name string) {
	t.Helper()
	require.ErrorIs(t, err, want)
	var o *catalog.ObjectError
	require.ErrorAs(t, err, &o)
	require.Equal(t, object, o.Object)
	require.Equal(t, name, o.Name)
}

// inParallel runs f n times at once and returns the errors.
func inParallel(n int, f func(i int) error) []error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	wg.Wait()
	return errs
}

func countOK(errs []error) (ok int) {
	for _, err := range errs {
		if err == nil {
			ok++
		}
	}
	return ok
}
