package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/tests/cluster"
)

// TestCLI runs what needs no more than a running `samsa dev`.
func TestCLI(t *testing.T) {
	dev := cluster.StartDev(t)
	c := commandLine(t, dev)
	t.Run("QuickStart", func(t *testing.T) { quickStart(t, c) })
	t.Run("ReadyLineHasCommandsThatWork", func(t *testing.T) { readyLine(t, dev) })
	t.Run("EveryRecordFormatComesBack", func(t *testing.T) { formats(t, c) })
	t.Run("ErrorsGoToStderr", func(t *testing.T) { cliErrors(t, c) })
	t.Run("HeadEndsItQuietly", func(t *testing.T) { headEndsIt(t, c) })
	t.Run("Tour", func(t *testing.T) { tour(t, c) })
	t.Run("Example", func(t *testing.T) { example(t, dev) })
}

// quickStart is the prototype's, with samsa for samsa-cli.
func quickStart(t *testing.T, c cli) {
	c.ok(t, "", "bucket", "create", "quick-start", "--auto-create-on-append")
	c.ok(t, "", "stream", "-b", "quick-start", "create", "my-stream")
	c.ok(t, "Hello, World!\n", "data", "-b", "quick-start", "-s", "my-stream", "append", "--from-stdin")
	var record struct {
		SeqNum uint64 `json:"seq_num"`
		Body   string `json:"body"`
	}
	out := c.ok(t, "", "data", "-b", "quick-start", "-s", "my-stream", "read")
	require.NoError(t, json.Unmarshal([]byte(out), &record))
	require.Zero(t, record.SeqNum)
	require.Equal(t, "Hello, World!", record.Body)
	require.Equal(t, "Hello, World!\n", c.ok(t, "", "data", "-b", "quick-start", "-s", "my-stream", "read", "--format", "text"))
}

// readyLine runs the commands that `samsa dev` prints when it is ready.
func readyLine(t *testing.T, dev *cluster.Dev) {
	printed, err := os.ReadFile(dev.Stdout)
	require.NoError(t, err)
	require.Contains(t, string(printed), strings.TrimPrefix(dev.Address(), "http://"))
	require.Contains(t, string(printed), strings.TrimPrefix(dev.HTTP(), "http://"))
	lines := strings.Split(strings.TrimSpace(string(printed)), "\n")
	require.Len(t, lines, 4, "one ready line and three commands")
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "bin"), 0o755))
	require.NoError(t, os.Symlink(cluster.Program(t, "samsa"), filepath.Join(folder, "bin", "samsa")))
	for _, line := range lines[1:] {
		command := exec.CommandContext(within(t), "sh", "-c", strings.TrimSpace(line))
		command.Dir = folder
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s", line, output)
		if strings.HasSuffix(line, " read") {
			require.Contains(t, string(output), "Hello, World!")
		}
	}
}

func formats(t *testing.T, c cli) {
	c.ok(t, "", "bucket", "create", "formats", "--auto-create-on-append")
	in := "plain\n\ntab\tand \"quotes\" and ü\n  spaces  \n" + strings.Repeat("long ", 100_000) + "\nno newline at the end"
	c.ok(t, in, "data", "-b", "formats", "-s", "text", "append", "--from-stdin")
	require.Equal(t, in+"\n", c.ok(t, "", "data", "-b", "formats", "-s", "text", "read", "--format", "text"))
	// What read prints as JSON goes in again as it was.
	first := c.ok(t, "", "data", "-b", "formats", "-s", "text", "read", "--limit", "4")
	c.ok(t, first, "data", "-b", "formats", "-s", "json", "append", "--from-stdin", "--format", "json")
	require.Equal(t, "plain\n\ntab\tand \"quotes\" and ü\n  spaces  \n", c.ok(t, "", "data", "-b", "formats", "-s", "json", "read", "--format", "text"))
}

func cliErrors(t *testing.T, c cli) {
	for want, args := range map[int][][]string{
		1: {
			{"bucket", "config", "no-such-bucket"},
			{"bucket", "create", "No"},
			{"data", "-b", "no-such-bucket", "-s", "s", "read"},
			{"data", "-b", "no-such-bucket", "-s", "s", "append", "--body", "x"},
		},
		2: {
			{"no-such-command"},
			{"bucket", "no-such-command"},
			{"bucket", "list", "--no-such-flag"},
			{"data", "-b", "b", "append", "--body", "x"},
			{"data", "-b", "b", "-s", "s", "append"},
			{"data", "-b", "b", "-s", "s", "read", "--limit", "x"},
		},
	} {
		for _, a := range args {
			o := c.run(t, "", a...)
			require.Equal(t, want, o.code, "%v: %s", a, o.stderr)
			require.Empty(t, o.stdout, "%v", a)
			require.Contains(t, o.stderr, "samsa: ", "%v", a)
		}
	}
}

// headEndsIt closes the output after a line, as `| head -n 1` does.
func headEndsIt(t *testing.T, c cli) {
	c.ok(t, "", "bucket", "create", "head", "--auto-create-on-append")
	c.ok(t, strings.Repeat("a line of some length\n", 200_000), "data", "-b", "head", "-s", "s", "append", "--from-stdin")
	command := c.command(t, "data", "-b", "head", "-s", "s", "read", "--format", "text")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "a line of some length\n", line)
	require.NoError(t, out.Close())
	require.NoError(t, command.Wait())
	require.Empty(t, stderr.String())
}

// tour runs the tour of the command line that the client's examples have.
func tour(t *testing.T, c cli) {
	command := exec.CommandContext(within(t), "sh", filepath.Join("..", "..", "pkg", "client", "examples", "cli-tour.sh"))
	command.Env = append(os.Environ(), "SAMSA="+c.program, "SAMSA_ADDRESS="+c.target.Address())
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Contains(t, string(output), "The end of the tour")
}

// example runs the client's example program.
func example(t *testing.T, target cluster.Target) {
	program := filepath.Join(t.TempDir(), "example")
	output, err := exec.CommandContext(within(t), "go", "build", "-o", program, "github.com/samsa-io/samsa/pkg/client/examples/stream").CombinedOutput()
	require.NoError(t, err, "%s", output)
	command := exec.CommandContext(within(t), program)
	command.Env = append(os.Environ(), "SAMSA_ADDRESS="+target.Address())
	output, err = command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Contains(t, string(output), "followed")
}
