package failpoint_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
)

func TestAll_HasANameForEachPoint(t *testing.T) {
	names := map[string]bool{}
	for _, p := range failpoint.All() {
		require.NotContains(t, []byte(p.String()), ' ')
		require.NotEqual(t, '.', rune(p.String()[0]), "step %d has no name", p.Step)
		names[p.String()] = true
		back, nth, err := failpoint.Parse(p.String() + ":3")
		require.NoError(t, err)
		require.Equal(t, p, back)
		require.Equal(t, 3, nth)
	}
	require.Len(t, names, len(failpoint.All()))
}

func TestParse_RefusesWhatWouldNeverKill(t *testing.T) {
	for _, text := range []string{"", "chain-put", "chain-put.during", "chain-put.after:0", "chain-put.after:x", "chain-put.after:"} {
		_, _, err := failpoint.Parse(text)
		require.ErrorContains(t, err, failpoint.Variable, text)
	}
}

// putFolder, in the environment, makes this program put two chain entries there.
const putFolder = "SAMSA_TEST_PUT_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(putFolder); folder != "" {
		raw, err := objstore.NewFile(folder, nil)
		if err != nil {
			panic(err)
		}
		store := failpoint.Store(raw)
		for epoch := range 2 {
			if err := store.PutIfAbsent(context.Background(), segment.ChainKey(0, 0)+string(rune('a'+epoch)), nil); err != nil {
				panic(err)
			}
		}
		return
	}
	os.Exit(m.Run())
}

// TestStore_KillsAtThePoint builds this very program with the tag and without it.
func TestStore_KillsAtThePoint(t *testing.T) {
	programs := map[string]string{"": build(t, ""), "failpoint": build(t, "failpoint")}
	for name, tc := range map[string]struct {
		tags, point string
		puts        int
		killed      bool
	}{
		"before the first":   {"failpoint", "chain-put.before", 0, true},
		"after the first":    {"failpoint", "chain-put.after", 1, true},
		"before the second":  {"failpoint", "chain-put.before:2", 1, true},
		"never the third":    {"failpoint", "chain-put.after:3", 2, false},
		"another step":       {"failpoint", "state-put.after", 2, false},
		"not without a name": {"failpoint", "", 2, false},
		"not without tag":    {"", "chain-put.before", 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			cmd := exec.Command(programs[tc.tags])
			cmd.Env = append(os.Environ(), putFolder+"="+folder, failpoint.Variable+"="+tc.point)
			err := cmd.Run()
			if tc.killed {
				require.Equal(t, syscall.SIGKILL, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
			} else {
				require.NoError(t, err)
			}
			puts, err := filepath.Glob(filepath.Join(folder, "chain", "*", "*"))
			require.NoError(t, err)
			require.Len(t, puts, tc.puts)
		})
	}
}

func build(t *testing.T, tags string) string {
	program := filepath.Join(t.TempDir(), "program")
	output, err := exec.Command("go", "test", "-c", "-tags", tags, "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", output)
	return program
}
