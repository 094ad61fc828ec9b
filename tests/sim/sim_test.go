package sim

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// simRounds is how long a simulation is: more than a second of its time, and then
// the rest.
const simRounds = 80

// TestSimulation runs the system with faults. SIM_SEEDS says for how many seeds,
// SIM_FIRST from which one on; SIM_SEED replays one and tells what happens. make test
// runs more than a thousand.
func TestSimulation(t *testing.T) {
	if job := os.Getenv(seriesKey); job != "" {
		runSeries(t, job)
		return
	}
	if seed, ok := number("SIM_SEED"); ok {
		replay(t, seed)
		return
	}
	seeds, ok := number("SIM_SEEDS")
	if !ok {
		seeds = 100
		if testing.Short() {
			seeds = 20
		}
	}
	first, _ := number("SIM_FIRST")
	runSeeds(t, first, seeds)
}

func number(key string) (uint64, bool) {
	n, err := strconv.ParseUint(os.Getenv(key), 10, 64)
	return n, err == nil
}

// runSeeds simulates seeds, as many at once as there are processors, until one fails.
func runSeeds(t *testing.T, first, count uint64) {
	var mu sync.Mutex
	var total Stats
	reads := map[string]int{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	t.Run("seeds", func(t *testing.T) {
		workers := min(uint64(runtime.NumCPU()), count)
		for i := range workers {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				defer func() {
					if t.Failed() {
						stop()
					}
				}()
				apart(ctx, t, series{First: first + i, End: first + count, Step: workers}, func(seed uint64, r Result) {
					require.Empty(t, r.Broken, "seed %d; what happened before:\n%s\nreplay it with\n\tmake test-sim SEED=%d", seed, r.Lately, seed)
					mu.Lock()
					defer mu.Unlock()
					total.Add(r.Stats)
					for kind, n := range r.FailedReads {
						reads[kind] += n
					}
				})
			})
		}
	})
	t.Logf("%d seeds, %d faults: %+v", count, total.Faults(), total)
	for _, kind := range slices.Sorted(maps.Keys(reads)) {
		t.Logf("%8d reads and sessions failed: %s", reads[kind], kind)
	}
}

// replay runs one seed until it fails, which it does at once but for what doc.go says.
func replay(t *testing.T, seed uint64) {
	for range 10 {
		apart(t.Context(), t, series{First: seed, End: seed + 1, Step: 1, Trace: testing.Verbose()}, func(_ uint64, r Result) {
			require.Empty(t, r.Broken, "seed %d; what happened before:\n%s", seed, r.Lately)
		})
	}
}

// TestSimulation_Replays shows that a seed tells what happens.
func TestSimulation_Replays(t *testing.T) {
	const seeds = 20
	hashes := map[uint64]uint64{}
	same := 0
	for range 2 {
		apart(t.Context(), t, series{End: seeds, Step: 1}, func(seed uint64, r Result) {
			require.Empty(t, r.Broken, "seed %d", seed)
			if hashes[seed] == r.Hash {
				same++
			}
			hashes[seed] = r.Hash
		})
	}
	t.Logf("%d of %d seeds gave the same events in the same order", same, seeds)
	require.Greater(t, same, seeds/2)
}
