package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// patience bounds every wait, with room for the race detector on a busy machine.
const patience = 3 * time.Minute

// within bounds what a test does.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// cli is the command line, for one target.
type cli struct {
	program string
	target  cluster.Target
}

func commandLine(t testing.TB, target cluster.Target) cli {
	return cli{cluster.Program(t, "samsa"), target}
}

// command is a run to come.
func (c cli) command(t testing.TB, args ...string) *exec.Cmd {
	command := exec.CommandContext(within(t), c.program, args...)
	command.Env = append(os.Environ(), "SAMSA_ADDRESS="+c.target.Address())
	return command
}

// outcome is how a run ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// run runs a command with some input.
func (c cli) run(t testing.TB, stdin string, args ...string) outcome {
	t.Helper()
	command := c.command(t, args...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := command.Run()
	require.NotNil(t, command.ProcessState, "%v", err)
	return outcome{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// ok runs a command that has to succeed and returns what it printed.
func (c cli) ok(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	o := c.run(t, stdin, args...)
	require.Zero(t, o.code, "samsa %s: %s", strings.Join(args, " "), o.stderr)
	return o.stdout
}
