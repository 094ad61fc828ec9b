package cluster

import (
	"strconv"
	"testing"

	"github.com/samsa-io/samsa/pkg/local/postgres"
)

// Dev is a `samsa dev`.
type Dev struct {
	*Process
	// Folder keeps its data over restarts.
	Folder string

	port, httpPort int
}

// StartDev starts `samsa dev` on a new folder and free ports, with more arguments
// if some are given, and waits until it can be used.
func StartDev(t testing.TB, args ...string) *Dev {
	t.Helper()
	d := NewDev(t, postgres.TempDir(t), args...)
	d.Start(t)
	return d
}

// StartPlainDev is StartDev without the race detector.
func StartPlainDev(t testing.TB) *Dev {
	t.Helper()
	d := newDev(t, PlainProgram(t, "samsa"), postgres.TempDir(t))
	d.Start(t)
	return d
}

// NewDev describes a `samsa dev` on a folder, which is not started.
func NewDev(t testing.TB, folder string, args ...string) *Dev {
	t.Helper()
	return newDev(t, Program(t, "samsa"), folder, args...)
}

func newDev(t testing.TB, program, folder string, args ...string) *Dev {
	d := &Dev{Folder: folder, port: freePort(t), httpPort: freePort(t)}
	admin := freePort(t)
	args = append([]string{
		"dev", "--data-dir", folder, "--server.port", strconv.Itoa(d.port), "--server.http_port", strconv.Itoa(d.httpPort),
		"--observability.metrics_port", strconv.Itoa(admin), "--observability.log_format", "json",
	}, args...)
	d.Process = newProcess(t, "dev", program, loopback(admin), args, quickUpkeep("account", "bucket", "stream-writer"))
	return d
}

// Start starts it and waits until it can be used.
func (d *Dev) Start(t testing.TB) {
	t.Helper()
	d.Process.Start(t)
	d.WaitReady(t)
	waitUsable(t, Connect(t, d, d.Address()), "dev")
}

// Name implements Target.
func (d *Dev) Name() string { return "dev" }

// Address implements Target.
func (d *Dev) Address() string { return "http://" + loopback(d.port) }

// HTTP implements Target.
func (d *Dev) HTTP() string { return "http://" + loopback(d.httpPort) }

// quickUpkeep has what is done every so often done soon.
func quickUpkeep(roles ...string) []string {
	var env []string
	for _, role := range roles {
		switch role {
		case "account":
			env = append(env, "SAMSA_ACCOUNT_PURGE_INTERVAL_SECS=1")
		case "bucket":
			env = append(env, "SAMSA_BUCKET_FINISH_INTERVAL_SECS=1")
		case "stream-writer":
			env = append(env, "SAMSA_STORAGE_CLEANUP_INTERVAL_SECS=1")
		}
	}
	return env
}
