package overload

import (
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

const patience = 2 * time.Minute

// full tells whether to measure, or only to see that measuring works.
func full() bool { return os.Getenv("OVERLOAD") != "" }

// latencies are of calls that went well.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

func (l *latencies) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// quantile is 0 if there is none.
func (l *latencies) quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return l.all[min(int(q*float64(len(l.all))), len(l.all)-1)]
}

// String is the median, the 99th percentile and the maximum.
func (l *latencies) String() string {
	if l.count() == 0 {
		return "none"
	}
	at := func(q float64) time.Duration { return l.quantile(q).Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %s, p99 %s, max %s", at(0.5), at(0.99), at(1))
}

// memory is the highest resident memory of each of some processes, in bytes.
type memory map[string]float64

// watchMemory samples until stop, which returns what was the highest.
func watchMemory(t *testing.T, c *cluster.Cluster, names ...string) (stop func() memory) {
	highest, done := residentMemory(t, c, names...), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				for name, bytes := range residentMemory(t, c, names...) {
					highest[name] = math.Max(highest[name], bytes)
				}
			}
		}
	})
	end := sync.OnceFunc(func() { close(done); group.Wait() })
	t.Cleanup(end) // before the programs' ends, if the test fails
	return func() memory {
		end()
		return highest
	}
}

func residentMemory(t *testing.T, c *cluster.Cluster, names ...string) memory {
	now := memory{}
	for _, name := range names {
		figures, err := c.Process(t, name).Figures()
		if err != nil {
			t.Errorf("figures of %s: %v", name, err)
			continue
		}
		now[name] = figures["process_resident_memory_bytes"]
	}
	return now
}

// requireGrowth checks what came on top of before.
func (m memory) requireGrowth(t *testing.T, before memory, budget float64) {
	t.Helper()
	for name, bytes := range m {
		t.Logf("RSS of %s: %.0f MiB before, %.0f MiB at most", name, before[name]/(1<<20), bytes/(1<<20))
		require.Positive(t, before[name], name)
		require.LessOrEqual(t, bytes-before[name], budget, "%s grew by more than its budget", name)
	}
}
