package crash

import (
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/failpoint"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// patience bounds every wait. A removed chunk object's row stays for a minute, so
// that is the least that the last step of collecting takes.
const patience = 3 * time.Minute

// The programs whose steps are points, and the writer that is restarted so that
// there is something to take, to hand over, to compact and to collect.
const (
	writer    = "stream-writer-0"
	other     = "stream-writer-1"
	compactor = "compactor-0"
)

// TestCrash kills a program at each point: it comes back, nothing is lost or
// doubled, and appends go on.
func TestCrash(t *testing.T) {
	c := cluster.Start(t, cluster.Options{
		Writers: 2, Readers: 1, Compactors: 1, Programs: cluster.FailpointProgram,
		Env: []string{
			"SAMSA_SERVER_HEARTBEAT_INTERVAL_SECS=1", "SAMSA_SERVER_LEASE_TTL_SECS=2",
			"SAMSA_COMPACTOR_INTERVAL_MS=200", "SAMSA_COMPACTOR_LIVE_BYTES=1", "SAMSA_COMPACTOR_LIVE_AGE_SECS=1", "SAMSA_COMPACTOR_ABANDON_SECS=60", "SAMSA_COMPACTOR_PARALLEL=16",
			"SAMSA_STORAGE_CLEANUP_INTERVAL_SECS=1", "SAMSA_STORAGE_CLEANUP_GRACE_PERIOD_SECS=1",
		},
	})
	retry := client.DefaultRetry()
	retry.GiveUpAfter = patience
	l := startLoad(t, cluster.Client(t, c, client.WithRetry(retry)), 6)
	for _, point := range points(t) {
		t.Run(point.String(), func(t *testing.T) { crashAt(t, c, l, point) })
	}
}

// points are all if SAMSA_TEST_ALL is set, else a quarter of them.
func points(t *testing.T) []failpoint.Point {
	all := failpoint.All()
	if os.Getenv("SAMSA_TEST_ALL") != "" {
		return all
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	t.Log("a quarter of the points; SAMSA_TEST_ALL=1 is for all")
	return all[:len(all)/4]
}

func crashAt(t *testing.T, c *cluster.Cluster, l *load, point failpoint.Point) {
	victim := victimOf(point.Step)
	p := c.Process(t, victim)
	p.Kill(t)
	p.Start(t, failpoint.Variable+"="+point.String())
	begun := time.Now()
	provoke(t, c, p)
	require.Equal(t, -1, p.ExitCode(), "it ended by itself:\n%s", p.LogTail())
	t.Logf("%s died after %s", victim, time.Since(begun).Round(time.Millisecond))
	p.Start(t)
	p.WaitReady(t)
	l.requireProgress(t)
	l.requireIntact(t)
}

// victimOf is the process that takes a step.
func victimOf(s failpoint.Step) string {
	switch name := s.String(); {
	case strings.HasPrefix(name, "index-"), s == failpoint.ChunkPut, s == failpoint.GonePut, s == failpoint.SlotDelete, s == failpoint.ChunkDelete:
		return compactor
	default:
		return writer
	}
}

// provoke restarts the other writer, in turn with SIGKILL and SIGTERM, until the
// victim dies.
func provoke(t *testing.T, c *cluster.Cluster, victim *cluster.Process) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for round := 0; ; round++ {
		if died(victim, 2*time.Second) {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s did not come to the point within %s", victim.Name, patience)
		if round%2 == 0 {
			c.Kill(t, other)
		} else {
			c.Process(t, other).Signal(t, syscall.SIGTERM)
			c.Process(t, other).WaitExit(t, patience)
		}
		if died(victim, time.Second) {
			c.Restart(t, other)
			return
		}
		c.Restart(t, other)
	}
}

func died(p *cluster.Process, within time.Duration) bool {
	select {
	case <-p.Exited():
		return true
	case <-time.After(within):
		return false
	}
}
