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

// built is the one set of programs of this test binary: what all its tests share
// has no other place to be.
var built struct {
	sync.Mutex
	folder string
	err    error
}

// Run runs the tests of a binary and removes what was built for them.
func Run(m interface{ Run() int }) int {
	code := m.Run()
	built.Lock()
	defer built.Unlock()
	if built.folder != "" {
		_ = os.RemoveAll(built.folder)
	}
	return code
}

// Program is the path of a service's program ("stream-writer", "samsa", …), which
// is built if it was not before.
func Program(t testing.TB, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.folder == "" && built.err == nil {
		built.folder, built.err = build(t.Logf)
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.folder, name)
}

func build(logf func(string, ...any)) (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "samsa-programs-")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", folder + string(filepath.Separator)}
	if RaceEnabled {
		args = append(args, "-race")
	}
	for _, p := range programs {
		args = append(args, modulePrefix+"/services/"+p)
	}
	logf("go %v", args)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return folder, fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	return folder, nil
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
