package e2e

import (
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

	"github.com/samsa-io/samsa/tests/cluster"
)

// postgresOf is the process id of a `samsa dev`'s Postgres.
func postgresOf(t testing.TB, dev *cluster.Dev) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dev.Folder, "postgres", "data", "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)
	return pid
}

// requireGone waits until a process is gone.
func requireGone(t testing.TB, pid int) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("process %d is gone", pid), func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || strings.Contains(string(status), "\nState:\tZ") { // nobody has collected it yet
			return nil
		}
		return fmt.Errorf("it lives")
	})
}

// TestStop_OfDevLeavesNothing: SIGINT and SIGTERM, with sessions open, end it with
// code 0 within seconds, and SIGKILL takes the children along.
func TestStop_OfDevLeavesNothing(t *testing.T) {
	dev := cluster.StartDev(t)
	ctx := within(t)
	c := cluster.Client(t, dev)
	_, err := c.CreateBucket(ctx, "stop", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	for i, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		postgres := postgresOf(t, dev)
		_, err := c.Bucket("stop").Stream("s").Append(ctx, client.AppendInput{Records: []client.AppendRecord{{}}})
		require.NoError(t, err)
		session := c.Bucket("stop").Stream("s").ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)})
		for kept := 0; kept < i+1; { // in one batch or several
			batch, err := session.Next()
			require.NoError(t, err)
			kept += len(batch.Records)
		}
		begun := time.Now()
		if s == syscall.SIGINT {
			dev.SignalGroup(t, s) // as a terminal does for Ctrl-C
		} else {
			dev.Signal(t, s)
		}
		code := dev.WaitExit(t, 30*time.Second)
		t.Logf("%s: it ended after %s", s, time.Since(begun).Round(time.Millisecond))
		if s != syscall.SIGKILL {
			require.Zero(t, code)
		}
		session.Close()
		requireGone(t, postgres)
		require.False(t, dev.GroupLives())
		if s != syscall.SIGKILL {
			dev.Start(t)
		}
	}
}

// TestSecondDevOnTheSameFolderIsRefused with one clear line.
func TestSecondDevOnTheSameFolderIsRefused(t *testing.T) {
	dev := cluster.StartDev(t)
	second := cluster.NewDev(t, dev.Folder)
	second.Process.Start(t)
	require.Equal(t, 1, second.WaitExit(t, time.Minute))
	said := strings.TrimSpace(second.LogTail())
	require.Contains(t, said, dev.Folder)
	require.Contains(t, said, "in use")
	require.NotContains(t, said, "\n", "one line")
	_, err := cluster.Client(t, dev).CreateBucket(within(t), "still-works", client.BucketConfig{})
	require.NoError(t, err)
}

// TestDevRefusesToListenForOthers: it has no authentication.
func TestDevRefusesToListenForOthers(t *testing.T) {
	dev := cluster.NewDev(t, t.TempDir(), "--server.address", "0.0.0.0")
	dev.Process.Start(t)
	require.NotZero(t, dev.WaitExit(t, time.Minute))
	require.Contains(t, dev.LogTail(), "loopback")
}
