package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutantSeeds is how many seeds a mutant may survive.
const mutantSeeds = 2000

// TestMutants breaks each rule in turn and wants the simulation to notice.
func TestMutants(t *testing.T) {
	if os.Getenv("SIM_MUTANTS") == "" {
		t.Skip("minutes of breaking the code on purpose: make test-mutants")
	}
	binary := buildMutants(t)
	t.Run("none", func(t *testing.T) {
		out, err := runMutant(t, binary, "none", 20)
		require.NoError(t, err, "%s", out)
	})
	only := os.Getenv("SIM_MUTANT") // its name; empty: all
	for _, m := range mutants() {
		if only != "" && m.name != only {
			continue
		}
		t.Run(m.invariant+" "+m.name, func(t *testing.T) {
			out, err := runMutant(t, binary, m.name, mutantSeeds)
			require.Error(t, err, "the mutant survived %d seeds", mutantSeeds)
			// A panic of the code under test is its own way to notice.
			caught := regexp.MustCompile(`after \d[^:]*: ([^\n]*)|panic: ([^\n]*)`).FindStringSubmatch(out)
			require.NotNil(t, caught, "%s", out)
			t.Logf("%s: %.140s%.140s", cmp.Or(regexp.MustCompile(`seed \d+`).FindString(out), "the process ends"), caught[1], caught[2])
		})
	}
}

func runMutant(t *testing.T, binary, name string, seeds int) (string, error) {
	cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestSimulation$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), "SAMSA_MUTANT="+name, fmt.Sprint("SIM_SEEDS=", seeds), "SIM_SEED=", "SIM_FIRST=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// buildMutants builds this package's tests with every mutant in, and none of them on.
func buildMutants(t *testing.T) string {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	sources := map[string]string{}
	for _, m := range mutants() {
		for _, p := range m.patches {
			if sources[p.file] == "" {
				source, err := os.ReadFile(filepath.Join(root, p.file))
				require.NoError(t, err)
				sources[p.file] = strings.Replace(string(source), "import (\n", "import (\n\t\"github.com/samsa-io/samsa/pkg/mutant\"\n", 1)
			}
			before := sources[p.file]
			require.Equal(t, 1, strings.Count(before, p.old), "mutant %q: %s has to hold this once:\n%s", m.name, p.file, p.old)
			sources[p.file] = strings.Replace(before, p.old, strings.ReplaceAll(p.new, "$ON", fmt.Sprintf("mutant.On(%q)", m.name)), 1)
		}
	}
	sources["pkg/mutant/mutant.go"] = "package mutant\n\nimport \"os\"\n\nvar name = os.Getenv(\"SAMSA_MUTANT\")\n\nfunc On(n string) bool { return n == name }\n"
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, source := range sources {
		at := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		require.NoError(t, os.WriteFile(at, []byte(source), 0o600))
		overlay.Replace[filepath.Join(root, file)] = at
	}
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	listAt, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutants.test")
	require.NoError(t, os.WriteFile(listAt, list, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", listAt, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}
