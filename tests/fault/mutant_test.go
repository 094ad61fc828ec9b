package fault

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// TestFaults_FindsMutants: writers that were broken on purpose are found out by what
// their clients record, without any fault.
func TestFaults_FindsMutants(t *testing.T) {
	for name, m := range map[string]struct{ file, from, to string }{
		"a stale token is taken": {
			"pkg/shardlog/append.go", "if a.FencingToken != nil && *a.FencingToken != l.Fence {", "if a.FencingToken != nil && l.ID.IsZero() {",
		},
		"a tail lags behind": {
			"pkg/shardlog/control.go", "Tail: st.Tail,", "Tail: st.Tail - min(st.Tail, 1),",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Store: cluster.File, Programs: func(t testing.TB, name string) string {
				if name == "stream-writer" {
					return cluster.MutantProgram(t, name, m.file, m.from, m.to)
				}
				return cluster.Program(t, name)
			}})
			requireFound(t, c)
		})
	}
}

// requireFound records histories until one cannot be explained.
func requireFound(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	const streams = 10
	once := cluster.Client(t, c, client.WithRetry(client.Retry{Policy: client.RetryNone}))
	_, err := once.CreateBucket(t.Context(), bucket, client.BucketConfig{})
	require.NoError(t, err)
	for n := range streams {
		l := &lane{
			rng: rand.New(rand.NewPCG(uint64(n), 0)), plain: []*client.Client{once}, patient: []*client.Client{cluster.Client(t, c)},
			id: n, bucket: bucket, life: 3 * time.Second, workers: 4, patience: 5 * time.Second,
		}
		h, err := l.one(l.name(0))
		require.NotNil(t, h, "%v", err)
		if v := h.Check(checkPatience); !v.OK() {
			t.Logf("found after %d streams: %s", n+1, v)
			return
		}
	}
	t.Fatalf("%d histories, and no contradiction", streams)
}
