package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const modulePrefix = "github.com/samsa-io/samsa"

// programs are what Build makes, by the names of their folders.
var programs = []string{"account", "bucket", "stream-writer", "stream-reader", "router", "samsa"}

// built are the sets of programs of this test binary, with and without the race
// detector: what all its tests share has no other place to be.
var built struct {
	sync.Mutex
	sets map[bool]set
}

type set struct {
	folder string
	err    error
}

// Run runs the tests of a binary and removes what was built for them.
func Run(m interface{ Run() int }) int {
	code := m.Run()
	built.Lock()
	defer built.Unlock()
	for _, s := range built.sets {
		_ = os.RemoveAll(s.folder)
	}
	return code
}

// Program is the path of a service's program ("stream-writer", "samsa", …), which
// is built if it was not before. It has the race detector if the test has.
func Program(t testing.TB, name string) string {
	t.Helper()
	return program(t, name, RaceEnabled)
}

// PlainProgram is a Program without the race detector, for input so large that
// the detector would take minutes.
func PlainProgram(t testing.TB, name string) string {
	t.Helper()
	return program(t, name, false)
}

func program(t testing.TB, name string, race bool) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	s, ok := built.sets[race]
	if !ok {
		s = build(race)
		if built.sets == nil {
			built.sets = map[bool]set{}
		}
		built.sets[race] = s
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return filepath.Join(s.folder, name)
}

func build(race bool) set {
	root, err := repositoryRoot()
	if err != nil {
		return set{err: err}
	}
	folder, err := os.MkdirTemp("", "samsa-programs-")
	if err != nil {
		return set{err: err}
	}
	args := []string{"build", "-o", folder + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	for _, p := range programs {
		args = append(args, modulePrefix+"/services/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return set{folder, fmt.Errorf("building the programs: %w\n%s", err, output)}
	}
	return set{folder: folder}
}

// repositoryRoot is the nearest folder above the working directory with a go.work.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.work")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no go.work above %s: run the tests inside Samsa's repository", start)
		}
	}
}
