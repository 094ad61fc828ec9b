package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const oldestMajor = 13

// usualFolders are where packages put the programs, as glob patterns.
//
//nolint:gochecknoglobals // a table
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // Fedora, RHEL from postgresql.org
	"/usr/lib64/postgresql*/bin",                         // SUSE, Gentoo
	"/usr/libexec/postgresql*",                           // Alpine
	"/usr/local/pgsql/bin",                               // built from source
	"/opt/homebrew/opt/postgresql*/bin",                  // macOS
	"/usr/local/opt/postgresql*/bin",                     // macOS on Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin", // macOS
	"/run/current-system/sw/bin",                         // NixOS
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew on Linux
}

// binaries is a folder with the programs of one version.
type binaries struct {
	dir          string
	major, minor int
}

func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }
func (b binaries) initdb() string   { return filepath.Join(b.dir, "initdb") }

// findBinaries finds the programs that fit the data, or the newest if there is
// none yet, or fetches them.
func findBinaries(ctx context.Context, o Options, h *home) (binaries, error) {
	major, err := dataMajor(h.data)
	if err != nil {
		return binaries{}, err
	}
	if o.Binaries != "" {
		return given(o.Binaries, major, h.data)
	}
	if b, ok := newest(installed(append(candidates(), fetchedFolder(h.root))), major); ok {
		return b, nil
	}
	b, err := fetch(ctx, o, h, major)
	if err != nil {
		return binaries{}, &MissingError{Major: major, Cause: err}
	}
	return b, nil
}

// MissingError means that there is no PostgreSQL on the machine and none could
// be fetched.
type MissingError struct {
	Major int // the version that the data needs; 0: any
	Cause error
}

func (e *MissingError) Error() string {
	what, number := "PostgreSQL", ""
	if e.Major != 0 {
		number = strconv.Itoa(e.Major)
		what += " " + number + ", which made the data,"
	}
	return fmt.Sprintf("%s is not installed and could not be fetched (%v): install it (Debian, Ubuntu: apt install postgresql%s; "+
		"Fedora: dnf install postgresql%s-server; macOS: brew install postgresql@%s), put postgres and initdb into PATH, "+
		"or name a server that runs already",
		what, e.Cause, prefixed("-", number), number, cmp.Or(number, "18"))
}

func (e *MissingError) Unwrap() error { return e.Cause }

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// dataMajor is the version that made the data; 0 if there is none.
func dataMajor(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func given(dir string, major int, data string) (binaries, error) {
	b, err := inspect(dir)
	if err == nil && major != 0 && b.major != major {
		err = fmt.Errorf("%s has PostgreSQL %d, but %d made %s", dir, b.major, major, data)
	}
	return b, err
}

// candidates are folders that may have the programs, the likelier ones first.
func candidates() []string {
	var dirs []string
	for _, pattern := range usualFolders {
		found, _ := filepath.Glob(pattern) // fails for a malformed pattern only
		dirs = append(dirs, found...)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		// PATH often has links; what they lead to has the rest of the installation.
		if program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	return dirs
}

// installed inspects folders, leaving out those without a usable PostgreSQL.
func installed(dirs []string) []binaries {
	var found []binaries
	seen := map[string]bool{}
	for _, dir := range dirs {
		folder, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[folder] {
			continue
		}
		seen[folder] = true
		if b, err := inspect(folder); err == nil {
			found = append(found, b)
		}
	}
	return found
}

// newest picks the newest, of that major version unless it is 0; of equal ones
// the first.
func newest(found []binaries, major int) (binaries, bool) {
	var fit []binaries
	for _, b := range found {
		if b.major == major || major == 0 && b.major >= oldestMajor {
			fit = append(fit, b)
		}
	}
	slices.SortStableFunc(fit, func(a, b binaries) int {
		return cmp.Or(cmp.Compare(b.major, a.major), cmp.Compare(b.minor, a.minor))
	})
	if len(fit) == 0 {
		return binaries{}, false
	}
	return fit[0], true
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// inspect asks both programs in dir for their version.
func inspect(dir string) (binaries, error) {
	b := binaries{dir: dir}
	server, err := versionOf(b.postgres())
	if err != nil {
		return binaries{}, err
	}
	tool, err := versionOf(b.initdb())
	if err != nil {
		return binaries{}, err
	}
	if server != tool {
		return binaries{}, fmt.Errorf("%s: postgres is %v, but initdb is %v", dir, server, tool)
	}
	b.major, b.minor = server[0], server[1]
	return b, nil
}

func versionOf(program string) ([2]int, error) {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return [2]int{}, fmt.Errorf("%s --version: %w", program, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return [2]int{}, fmt.Errorf("%s --version: cannot tell the version from %q", program, out)
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2])) // a beta has none
	return [2]int{major, minor}, nil
}
