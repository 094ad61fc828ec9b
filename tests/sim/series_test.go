package sim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// series is the work of one process: every Step-th seed from First on, below End.
type series struct {
	First, End, Step uint64
	Trace            bool
}

// outcomeOf is what a process has to say of one seed.
type outcomeOf struct {
	Seed   uint64
	Result Result
}

// seriesKey has the environment tell a process its work.
const seriesKey = "SIM_SERIES"

// apart simulates seeds in a process with one processor. There goroutines that can go
// on at the same instant do so one after the other, in the order in which they came to
// it, and nothing has to be handed from one processor to another. done is told each
// result as it comes; nothing more once ctx ends.
func apart(ctx context.Context, t *testing.T, s series, done func(seed uint64, r Result)) {
	job, err := json.Marshal(s)
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestSimulation$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), seriesKey+"="+string(job), "GOMAXPROCS=1", "GOGC=400", "GODEBUG=asyncpreemptoff=1")
	var said strings.Builder
	cmd.Stderr, cmd.Stdout = &said, &said
	if s.Trace {
		cmd.Stdout = os.Stdout
	}
	results, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer results.Close()
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	require.NoError(t, theirs.Close())
	require.NoError(t, err)
	defer func() {
		_ = cmd.Process.Kill() // ends whatever a failure has left undone
		_ = cmd.Wait()
	}()
	for d := json.NewDecoder(results); ; {
		var o outcomeOf
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		done(o.Seed, o.Result)
	}
	if err := cmd.Wait(); ctx.Err() == nil {
		require.NoError(t, err, "%s", &said)
	}
}

// runSeries is the process's end of apart.
func runSeries(t *testing.T, job string) {
	var s series
	require.NoError(t, json.Unmarshal([]byte(job), &s))
	var trace io.Writer
	if s.Trace {
		trace = os.Stdout
	}
	out := json.NewEncoder(os.NewFile(3, "results"))
	for seed := s.First; seed < s.End; seed += s.Step {
		require.NoError(t, out.Encode(outcomeOf{seed, Simulate(t, seed, simRounds, trace)}))
	}
}
