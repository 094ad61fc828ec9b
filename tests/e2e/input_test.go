package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/tests/cluster"
)

// What the whole of the real input has at least.
const (
	inputLines = 1_000_000
	inputBytes = 100 << 20
)

// A test takes the whole input, or a tenth if the suite is to be short or the race
// detector makes everything slow.
const (
	whole = 1
	tenth = 10
)

// share is how much input tests take that are not about its size.
func share() int {
	if testing.Short() || cluster.RaceEnabled {
		return tenth
	}
	return whole
}

// input is a file of real text: the sources of Go's standard library as grep -n
// prints them, over and over.
type input struct {
	path  string
	lines int
	bytes int64
}

// makeInput writes the file; it is the same each time.
func makeInput(t testing.TB, share int) input {
	t.Helper()
	in := input{path: filepath.Join(t.TempDir(), "input.log")}
	file, err := os.Create(in.path)
	require.NoError(t, err)
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	root, sources := goSources(t)
	for in.lines < inputLines/share || in.bytes < inputBytes/int64(share) {
		for _, source := range sources {
			in.add(t, w, root, source)
			if in.lines >= inputLines/share && in.bytes >= inputBytes/int64(share) {
				break
			}
		}
	}
	require.NoError(t, w.Flush())
	return in
}

func (in *input) add(t testing.TB, w *bufio.Writer, root, source string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, source))
	require.NoError(t, err)
	number := 0
	for line := range bytes.Lines(content) {
		number++
		n, err := fmt.Fprintf(w, "go/%s:%d: %s\n", source, number, bytes.TrimSuffix(line, []byte("\n")))
		require.NoError(t, err)
		in.lines++
		in.bytes += int64(n)
	}
}

func goSources(t testing.TB) (root string, sources []string) {
	t.Helper()
	output, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	root = strings.TrimSpace(string(output))
	err = fs.WalkDir(os.DirFS(root), "src", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			sources = append(sources, path)
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	return root, sources
}

// read returns the lines without their newlines.
func (in input) read(t testing.TB) [][]byte {
	t.Helper()
	content, err := os.ReadFile(in.path)
	require.NoError(t, err)
	lines := bytes.Split(content, []byte("\n"))
	return lines[:len(lines)-1]
}

// rates prints how fast the whole input went.
func (in input) rates(t testing.TB, what string, took time.Duration) {
	t.Logf("%s: %d lines, %.0f MiB in %s: %.0f lines/s, %.1f MiB/s", what, in.lines, float64(in.bytes)/(1<<20), took.Round(time.Millisecond),
		float64(in.lines)/took.Seconds(), float64(in.bytes)/(1<<20)/took.Seconds())
}

// requireSameFile does what cmp does, and tells the first line that differs.
func requireSameFile(t testing.TB, want, got string) {
	t.Helper()
	a, err := os.ReadFile(want)
	require.NoError(t, err)
	b, err := os.ReadFile(got)
	require.NoError(t, err)
	if bytes.Equal(a, b) {
		return
	}
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	t.Fatalf("%s (%d bytes) and %s (%d bytes) differ at byte %d, line %d", want, len(a), got, len(b), at, 1+bytes.Count(a[:at], []byte("\n")))
}

// TestRealInput_ComesBackIdentical: through stdin of the command line, while a
// subscriber that was there before sees every line in order.
func TestRealInput_ComesBackIdentical(t *testing.T) {
	t.Run("dev", func(t *testing.T) {
		size := whole
		if testing.Short() {
			size = tenth
		}
		dev := cluster.StartPlainDev(t)
		comesBack(t, makeInput(t, size), cli{cluster.PlainProgram(t, "samsa"), dev})
	})
	t.Run("split", func(t *testing.T) {
		split := cluster.Start(t, cluster.Options{Writers: 2, Readers: 2, Store: cluster.S3})
		comesBack(t, makeInput(t, share()), commandLine(t, split))
	})
}

func comesBack(t *testing.T, in input, c cli) {
	c.ok(t, "", "bucket", "create", "real-input")
	c.ok(t, "", "stream", "-b", "real-input", "create", "log")

	seen := filepath.Join(t.TempDir(), "seen.log")
	subscribed := make(chan error, 1)
	subscriber := c.toFile(t, seen, "data", "-b", "real-input", "-s", "log", "subscribe", "--start-seq-num", "0", "--limit", fmt.Sprint(in.lines), "--format", "text")
	require.NoError(t, subscriber.Start())
	begun := time.Now()
	go func() {
		err := subscriber.Wait()
		in.rates(t, "subscriber", time.Since(begun))
		subscribed <- err
	}()

	file, err := os.Open(in.path)
	require.NoError(t, err)
	defer file.Close()
	appending := c.command(t, "data", "-b", "real-input", "-s", "log", "append", "--from-stdin")
	var summary bytes.Buffer
	appending.Stdin, appending.Stderr = file, &summary
	require.NoError(t, appending.Run(), "%s", &summary)
	in.rates(t, "append", time.Since(begun))
	require.Contains(t, summary.String(), fmt.Sprintf("appended %d records", in.lines))
	require.NoError(t, <-subscribed)
	requireSameFile(t, in.path, seen)

	back := filepath.Join(t.TempDir(), "back.log")
	begun = time.Now()
	require.NoError(t, c.toFile(t, back, "data", "-b", "real-input", "-s", "log", "read", "--format", "text").Run())
	in.rates(t, "read", time.Since(begun))
	requireSameFile(t, in.path, back)
}

// toFile is a command whose output goes to a file, and whose errors are shown.
func (c cli) toFile(t testing.TB, path string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	command := c.command(t, args...)
	command.Stdout, command.Stderr = file, os.Stderr
	return command
}
