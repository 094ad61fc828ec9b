package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const modulePrefix = "github.com/samsa-io/samsa"

// programs are what Build makes, by the names of their folders.
var programs = []string{"account", "bucket", "stream-writer", "stream-reader", "router", "compactor", "samsa"}

// built are the sets of programs of this test binary: what all its tests share has
// no other place to be.
var built struct {
	sync.Mutex
	sets map[variant]set
}

// variant is how programs are built.
type variant struct {
	race bool
	tags string
	// Of a mutant, which is built alone: the program, the file below the root, and
	// what stands there instead of what.
	only, file, from, to string
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
	return program(t, name, variant{race: RaceEnabled})
}

// PlainProgram is a Program without the race detector, for input so large that
// the detector would take minutes.
func PlainProgram(t testing.TB, name string) string {
	t.Helper()
	return program(t, name, variant{})
}

// FailpointProgram is a PlainProgram that pkg/failpoint can kill.
func FailpointProgram(t testing.TB, name string) string {
	t.Helper()
	return program(t, name, variant{tags: "failpoint"})
}

// MutantProgram is a Program with one place of its source changed: to stands in
// file, a path from the repository's root, where from stood.
func MutantProgram(t testing.TB, name, file, from, to string) string {
	t.Helper()
	return program(t, name, variant{race: RaceEnabled, only: name, file: file, from: from, to: to})
}

func program(t testing.TB, name string, v variant) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	s, ok := built.sets[v]
	if folder := os.Getenv("SAMSA_TEST_PROGRAMS"); folder != "" && v == (variant{race: true}) {
		s, ok = set{folder: folder}, true // the Makefile has built them, for several test binaries
	}
	if !ok {
		s = build(v)
		if built.sets == nil {
			built.sets = map[variant]set{}
		}
		built.sets[v] = s
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return filepath.Join(s.folder, name)
}

func build(v variant) set {
	root, err := repositoryRoot()
	if err != nil {
		return set{err: err}
	}
	folder, err := os.MkdirTemp("", "samsa-programs-")
	if err != nil {
		return set{err: err}
	}
	args := []string{"build", "-ldflags", "-s -w", "-tags", v.tags, "-o", folder + string(filepath.Separator)}
	if v.race {
		args = append(args, "-race")
	}
	if v.file != "" {
		overlay, err := v.overlay(root, folder)
		if err != nil {
			return set{folder, err}
		}
		args = append(args, "-overlay", overlay)
	}
	for _, p := range programs {
		if v.only != "" && v.only != p {
			continue
		}
		args = append(args, modulePrefix+"/services/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return set{folder, fmt.Errorf("building the programs: %w\n%s", err, output)}
	}
	return set{folder: folder}
}

// overlay writes what go build's -overlay takes, and gives its path.
func (v variant) overlay(root, folder string) (string, error) {
	file := filepath.Join(root, filepath.FromSlash(v.file))
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(source, []byte(v.from)); n != 1 {
		return "", fmt.Errorf("%s has %q %d times, not once: a mutant has to follow what it changes", v.file, v.from, n)
	}
	mutant, list := filepath.Join(folder, "mutant.go"), filepath.Join(folder, "overlay.json")
	content, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutant}})
	if err != nil {
		return "", err
	}
	return list, errors.Join(
		os.WriteFile(mutant, bytes.Replace(source, []byte(v.from), []byte(v.to), 1), 0o600),
		os.WriteFile(list, content, 0o600))
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
