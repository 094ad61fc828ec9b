package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// testPrefix is how the databases of tests begin.
const testPrefix = "test_"

// testServer is the one server of this test binary: what is shared by all its
// tests has no other place to be.
//
//nolint:gochecknoglobals // see above
var testServer struct {
	sync.Mutex
	server *Server
	err    error
	count  int // databases made
}

// ForTest gives the test a database of its own and returns its URL. The server
// is shared by the tests of one binary and not durable; it ends with the binary.
// If goleak checks the binary, wrap its m with StopAfter.
func ForTest(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s, name, err := forTest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err = s.exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return s.urlOf(name)
}

func forTest(ctx context.Context) (*Server, string, error) {
	testServer.Lock()
	defer testServer.Unlock()
	if testServer.server == nil && testServer.err == nil {
		testServer.server, testServer.err = startForTests(ctx)
	}
	testServer.count++
	return testServer.server, fmt.Sprintf("%s%d", testPrefix, testServer.count), testServer.err
}

// startForTests starts a server in the first folder that no other test binary
// uses. Folders are kept: the next run starts in a tenth of the time, and no run
// leaves more behind than the one before.
func startForTests(ctx context.Context) (*Server, error) {
	const most = 64
	base := filepath.Join(os.TempDir(), fmt.Sprintf("samsa-test-postgres-%d", os.Getuid()))
	for i := range most {
		dir := filepath.Join(base, fmt.Sprint(i))
		s, err := startClean(ctx, dir)
		if !errors.Is(err, errInUse) {
			return s, err
		}
	}
	return nil, fmt.Errorf("all %d folders in %s are in use", most, base)
}

// startClean starts a server without databases of earlier tests. Data that was
// not durable may be broken, or of a version that is gone: then it starts anew.
func startClean(ctx context.Context, dir string) (*Server, error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	o := Options{Dir: dir, Fast: true}
	s, err := startUsed(ctx, o, lock)
	if err == nil {
		return s, nil
	}
	// Locked all the while: else another binary would start on what is removed.
	if removeErr := empty(dir); removeErr != nil {
		err = errors.Join(err, removeErr)
	} else {
		s, err = startLocked(ctx, o, lock)
	}
	if err != nil {
		_ = lock.Close()
	}
	return s, err
}

// startUsed starts on what earlier tests left, and removes their databases.
func startUsed(ctx context.Context, o Options, lock *os.File) (*Server, error) {
	s, err := startLocked(ctx, o, lock)
	if err != nil {
		return nil, err
	}
	if err = s.dropTestDatabases(ctx); err != nil {
		return nil, errors.Join(err, s.end(ctx))
	}
	return s, nil
}

// empty removes all but the lock, which would be another file if made anew.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

func (s *Server) dropTestDatabases(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", testPrefix)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		_, dropErr := conn.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
		err = errors.Join(err, dropErr)
	}
	return err
}

func (s *Server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err = conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Tests is what a *testing.M does.
type Tests interface{ Run() int }

// StopAfter runs tests and then stops the server that ForTest started, so that
// no goroutine of it is left for goleak to find:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }
func StopAfter(m Tests) Tests { return stopAfter{m} }

type stopAfter struct{ Tests }

func (m stopAfter) Run() int {
	code := m.Tests.Run()
	testServer.Lock()
	defer testServer.Unlock()
	if testServer.server != nil {
		_ = testServer.server.Stop(context.Background()) // an unclean end does no harm
		testServer.server = nil
	}
	return code
}

// TempDir is a folder for a test's own Server, with a port that stays the test's
// over restarts. Unlike t.TempDir's it can be passed by the user that the server
// runs as under root.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "samsa-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err = os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	release, err := ports.Reserve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return dir
}
