package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/objstore"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

const (
	// glimpse is how long the test runs if it is not told: long enough to see that
	// everything in it works, not to see a slope.
	glimpse = 20 * time.Second
	// telling is from when on a slope means something: all caches are full by half
	// of it.
	telling  = 10 * time.Minute
	sampling = 5 * time.Second
	patience = 2 * time.Minute
)

func length(t *testing.T) time.Duration {
	text := os.Getenv("MINUTES")
	if text == "" {
		return glimpse
	}
	minutes, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err, "MINUTES")
	return time.Duration(minutes * float64(time.Minute))
}

// TestSoak prints how everything developed; a run long enough to tell fails if
// memory, goroutines, objects or rows have a slope.
func TestSoak(t *testing.T) {
	howLong := length(t)
	c := cluster.Start(t, cluster.Options{
		Writers: 2, Readers: 2, Compactors: 1,
		Env: []string{
			"SAMSA_COMPACTOR_INTERVAL_MS=1000", "SAMSA_COMPACTOR_LIVE_BYTES=1", "SAMSA_COMPACTOR_LIVE_AGE_SECS=5", "SAMSA_COMPACTOR_ABANDON_SECS=60", "SAMSA_COMPACTOR_SEAL_AGE_SECS=10",
			// Small enough to be full by half of a run that tells.
			"SAMSA_STREAM_READER_CACHE_BYTES=33554432", "SAMSA_STREAM_READER_FOOTER_CACHE_BYTES=8388608",
			"SAMSA_STORAGE_CLEANUP_INTERVAL_SECS=5", "SAMSA_STORAGE_CLEANUP_GRACE_PERIOD_SECS=5",
		},
	})
	cluster.Eventually(t, patience, "the compactor has made its tables", func() error {
		return new(recorder).rows(t.Context(), c.PostgresURL())
	})
	store, err := objstore.Open(t.Context(), c.Store.Config(""))
	require.NoError(t, err)
	retry := client.DefaultRetry()
	retry.GiveUpAfter = patience
	ctx, cancel := context.WithCancel(context.Background())
	l := startLoad(ctx, t, cluster.Client(t, c, client.WithRetry(retry)))
	r := &recorder{begun: time.Now()}
	watch(t, c, r, store, howLong)
	cancel()
	l.group.Wait()
	require.NoError(t, errors.Join(l.errors...))
	require.NoError(t, objstore.Close(store))
	t.Logf("%s: %d records appended, %d followed, %d read, %d streams created and deleted", howLong, l.appended.Load(), l.followed.Load(), l.read.Load(), l.churned.Load())
	report(t, r.all, howLong)
}

// watch samples, and restarts a writer now and then: a different one each time, in
// turn with SIGTERM and with SIGKILL.
func watch(t *testing.T, c *cluster.Cluster, r *recorder, store objstore.Store, howLong time.Duration) {
	restarts := max(howLong/20, 10*time.Second)
	next := restarts
	for n := 0; time.Since(r.begun) < howLong; {
		for _, name := range c.Names() {
			r.process(c.Process(t, name))
		}
		require.NoError(t, r.objects(t.Context(), store))
		require.NoError(t, r.rows(t.Context(), c.PostgresURL()))
		if time.Since(r.begun) > next {
			restart(t, c, n)
			n++
			next += restarts
		}
		_ = clock.Sleep(t.Context(), sampling)
	}
}

func restart(t *testing.T, c *cluster.Cluster, n int) {
	name := fmt.Sprintf("stream-writer-%d", n%2)
	if n/2%2 == 0 {
		c.Process(t, name).Signal(t, syscall.SIGTERM)
		c.Process(t, name).WaitExit(t, patience)
	} else {
		c.Kill(t, name)
	}
	c.Restart(t, name)
}

func report(t *testing.T, all []*Series, howLong time.Duration) {
	require.NotEmpty(t, all)
	t.Logf("\n%s", table(all))
	picture := os.Getenv("PLOT")
	if picture == "" {
		picture = filepath.Join(t.TempDir(), "soak.png")
	}
	require.NoError(t, drawAll(all, picture))
	t.Logf("plot: %s", picture)
	var grown []string
	for _, s := range all {
		if !s.Lasting && s.slope().Grows() {
			grown = append(grown, s.Name)
		}
	}
	if howLong >= telling {
		require.Empty(t, grown, "has a slope: %s", strings.Join(grown, ", "))
	}
}

func TestSlope_TellsGrowthFromNoise(t *testing.T) {
	series := func(f func(i int) float64) *Series {
		s := &Series{}
		for i := range 100 {
			s.Points = append(s.Points, Point{time.Duration(i) * time.Minute, f(i)})
		}
		return s
	}
	flat := series(func(i int) float64 { return 100 + float64(i%7) }).slope()
	require.False(t, flat.Grows())
	require.InDelta(t, 103, flat.Mean, 1)
	growing := series(func(i int) float64 { return 100 + 2*float64(i) }).slope()
	require.True(t, growing.Grows())
	require.InDelta(t, 120, growing.PerHour, 1e-6)
	require.False(t, series(func(i int) float64 { return min(float64(i), 50) * 10 }).slope().Grows(), "what fills up and stays is no slope")
	require.False(t, series(func(int) float64 { return 0 }).slope().Grows())
	require.False(t, series(func(i int) float64 { return float64(i) / 10 }).slope().Grows(), "too small to matter")
}
