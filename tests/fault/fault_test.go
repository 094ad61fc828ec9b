package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
	"github.com/samsa-io/samsa/tests/history"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// smoke is how long the test runs if it is not told.
const smoke = 20 * time.Second

// length is MINUTES, or smoke.
func length(t *testing.T) time.Duration {
	text := os.Getenv("MINUTES")
	if text == "" {
		return smoke
	}
	minutes, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err, "MINUTES")
	return time.Duration(minutes * float64(time.Minute))
}

// seedOf is SEED, or one that nobody has seen.
func seedOf(t *testing.T) uint64 {
	text := os.Getenv("SEED")
	if text == "" {
		return rand.Uint64N(1_000_000)
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, "SEED")
	return seed
}

// TestFaults: under every fault that the nemesis knows, what clients are told can
// be explained by one order of what they did.
func TestFaults(t *testing.T) {
	seed, howLong := seedOf(t), length(t)
	t.Logf("SEED=%d, for %s", seed, howLong)
	c := cluster.Start(t, cluster.Options{
		Writers: many(3), Readers: 2, Routers: 2, Compactors: many(2), Links: true, Seed: seed,
		Env: []string{
			"SAMSA_SERVER_HEARTBEAT_INTERVAL_SECS=1", fmt.Sprintf("SAMSA_SERVER_LEASE_TTL_SECS=%d", int(lease.Seconds())),
			"SAMSA_COMPACTOR_INTERVAL_MS=300", "SAMSA_COMPACTOR_LIVE_BYTES=1", "SAMSA_COMPACTOR_LIVE_AGE_SECS=1",
			"SAMSA_STORAGE_CLEANUP_INTERVAL_SECS=1", "SAMSA_STORAGE_CLEANUP_GRACE_PERIOD_SECS=1",
		},
	})
	begun := time.Now()
	run := &run{t: t, c: c, seed: seed, nemesis: newNemesis(t, c, seed)}
	run.lanes(howLong)
	t.Logf("it took %s", time.Since(begun).Round(time.Second))
	run.report()
}

// many is one fewer with the race detector, which makes programs large and slow.
func many(count int) int {
	if cluster.RaceEnabled {
		return count - 1
	}
	return count
}

// run is a test under way.
type run struct {
	t       *testing.T
	c       *cluster.Cluster
	seed    uint64
	nemesis *nemesis

	mu        sync.Mutex
	verdicts  []*history.Verdict
	failures  []string
	artifacts string // folder
}

const bucket = "faults"

// lanes lets streams live and die for a while, under the nemesis.
func (r *run) lanes(howLong time.Duration) {
	const lanes = 3
	plain, patient := r.clients(client.RetryNone), r.clients(client.RetryNoSideEffects)
	_, err := patient[0].CreateBucket(context.Background(), bucket, client.BucketConfig{})
	require.NoError(r.t, err)
	ctx, cancel := context.WithTimeout(r.t.Context(), howLong)
	defer cancel()
	histories := make(chan *history.History, 1024)
	var running, checking sync.WaitGroup
	for i := range lanes {
		l := &lane{
			id: i, rng: rand.New(rand.NewPCG(r.seed, uint64(i))), plain: plain, patient: patient, bucket: bucket,
			life: 6 * time.Second, workers: 4, patience: recovery,
		}
		running.Go(func() {
			if err := l.run(ctx, func(h *history.History) { histories <- h }); err != nil {
				r.failf("%v", err)
				cancel()
			}
		})
	}
	checking.Go(func() {
		for h := range histories {
			r.check(h)
		}
	})
	for ctx.Err() == nil {
		r.nemesis.round()
	}
	running.Wait()
	close(histories)
	checking.Wait()
}

// clients are one for each router.
func (r *run) clients(policy client.RetryPolicy) (all []*client.Client) {
	retry := client.DefaultRetry()
	retry.Policy = policy
	for i := range 2 {
		c, err := client.New(r.c.Router(i), client.WithRetry(retry))
		require.NoError(r.t, err)
		r.t.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
	}
	return all
}

// checkPatience is how long the checker may search for one history's order.
const checkPatience = 2 * time.Minute

func (r *run) check(h *history.History) {
	v := h.Check(checkPatience)
	r.mu.Lock()
	r.verdicts = append(r.verdicts, v)
	r.mu.Unlock()
	if v.OK() && !v.Undecided {
		return
	}
	path, err := h.Save(r.folder(), v)
	if err != nil {
		path = err.Error()
	}
	if v.OK() {
		r.t.Logf("%s: undecided after %s: %s", v.Stream, v.Took, path)
		return
	}
	r.failf("%s\n%s", v, path)
}

func (r *run) failf(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, a...))
}

// folder is where to leave what shows a failure.
func (r *run) folder() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.artifacts == "" {
		folder, err := os.MkdirTemp("", fmt.Sprintf("samsa-fault-%d-", r.seed))
		if err != nil {
			r.t.Log(err)
		}
		r.artifacts = folder
	}
	return r.artifacts
}

// report prints what was done, and fails the test if anything was found.
func (r *run) report() {
	ops, unknown, undecided := 0, 0, 0
	for _, v := range r.verdicts {
		ops += v.Ops
		unknown += v.Unknown
		if v.Undecided {
			undecided++
		}
	}
	r.t.Logf("%d histories, %d operations, %d appends of unknown outcome, %d histories undecided", len(r.verdicts), ops, unknown, undecided)
	r.t.Logf("faults:\n%s", r.nemesis.used())
	r.t.Logf("requests to the object store that met a fault: %v", r.c.StoreFaultsMet())
	if len(r.failures) > 0 || r.t.Failed() {
		r.keep()
		r.t.Fatalf("SEED=%d; diary and logs are in %s\n%s", r.seed, r.artifacts, strings.Join(r.failures, "\n"))
	}
	require.NotEmpty(r.t, r.verdicts)
	require.LessOrEqual(r.t, undecided, len(r.verdicts)/20, "the checker has to be able to decide")
}

// keep leaves diary and logs.
func (r *run) keep() {
	folder := r.folder()
	_ = os.WriteFile(filepath.Join(folder, "diary"), []byte(strings.Join(r.nemesis.diary, "\n")+"\n"), 0o644)
	for _, name := range r.nemesis.processes {
		content, err := os.ReadFile(r.c.Process(r.t, name).Log)
		if err == nil {
			_ = os.WriteFile(filepath.Join(folder, name+".log"), content, 0o644)
		}
	}
}
