package objstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/local/s3"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/objstore/objstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMem_Conforms(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store { return open(t, "mem://") })
}

func TestFile_Conforms(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store { return open(t, "file://"+t.TempDir()+"/made/on/the/way") })
}

func TestS3_Conforms(t *testing.T) {
	server := s3.ForTest(t)
	var stores atomic.Int64
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		return openConfig(t, server.Config(fmt.Sprintf("tests/%d", stores.Add(1))))
	})
}

// Without a prefix in the URL keys are the bucket's own.
func TestS3_ConformsAtTheBucketsTop(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store { return openConfig(t, s3.ForTest(t).Config("")) })
}

func TestWrappers_Conform(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		s := objstore.Store(faulty.New(open(t, "mem://")))
		s = objstore.WithRetry(s, objstore.DefaultRetryPolicy())
		s = objstore.WithTracing(s, noop.NewTracerProvider())
		return objstore.WithMetrics(s, prometheus.NewRegistry())
	})
}

func open(t testing.TB, url string) objstore.Store {
	return openConfig(t, objstore.Config{URL: url})
}

func openConfig(t testing.TB, cfg objstore.Config) objstore.Store {
	store, err := objstore.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, objstore.Close(store)) })
	return store
}
