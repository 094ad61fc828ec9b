//go:build compose

package compose

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// container is what these tests look at of docker inspect.
type container struct {
	ID     string
	Config struct {
		User   string
		Labels map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs bool
		CapDrop        []string
		SecurityOpt    []string
		Memory         int64
		PidsLimit      int64
	}
	State struct {
		Status   string
		ExitCode int
	}
}

func (c container) service() string { return c.Config.Labels["com.docker.compose.service"] }

// all is every container of the project that lasts, by service.
func (s stack) all(t *testing.T) (found []container) {
	t.Helper()
	ids := strings.Fields(s.compose(t, "", "ps", "-a", "-q"))
	require.NoError(t, json.Unmarshal([]byte(docker(t, append([]string{"inspect"}, ids...)...)), &found))
	return slices.DeleteFunc(found, func(c container) bool { return c.service() == "volumes" || c.service() == "certificates" })
}

// Every container runs as somebody without rights, and cannot write where it should
// not: its root file system refuses.
func TestContainers_RunUnprivilegedOnReadOnlyRoots(t *testing.T) {
	s := newStack(t)
	file := filepath.Join(t.TempDir(), "written")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	seen := map[string]bool{}
	for _, c := range s.all(t) {
		seen[c.service()] = true
		require.Regexp(t, `^[1-9][0-9]*:`, c.Config.User, c.service())
		require.True(t, c.HostConfig.ReadonlyRootfs, c.service())
		require.Equal(t, []string{"ALL"}, c.HostConfig.CapDrop, c.service())
		require.Contains(t, c.HostConfig.SecurityOpt, "no-new-privileges:true", c.service())
		require.Positive(t, c.HostConfig.Memory, c.service())
		require.Positive(t, c.HostConfig.PidsLimit, c.service())
		out, err := exec.CommandContext(t.Context(), "docker", "cp", file, c.ID+":/written").CombinedOutput()
		require.Error(t, err, "%s let a file be written to its root", c.service())
		require.Contains(t, string(out), "read-only", c.service())
		if c.State.Status == "running" {
			for _, uid := range processUsers(t, c.ID) {
				require.NotEqual(t, "0", uid, "%s runs a process as root", c.service())
			}
		}
	}
	t.Logf("looked at %v", slices.Sorted(maps.Keys(seen)))
	require.Subset(t, slices.Collect(maps.Keys(seen)), []string{
		"account", "bucket", "stream-writer", "stream-reader", "compactor", "router", "edge", "postgres", "etcd", "nats", "s3"})
}

// processUsers is who the container's processes run as, but for what Docker itself
// brings in to run a health check. Docker wants to see their pids.
func processUsers(t *testing.T, id string) (uids []string) {
	t.Helper()
	for line := range strings.Lines(docker(t, "top", id, "-eo", "pid,uid,comm")) {
		if fields := strings.Fields(line); fields[0] != "PID" && !strings.HasPrefix(fields[2], "runc") {
			uids = append(uids, fields[1])
		}
	}
	require.NotEmpty(t, uids)
	return uids
}
