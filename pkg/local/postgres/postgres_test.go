package postgres

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// parentDir makes this binary a parent that starts a server there and waits to
// be killed.
const parentDir = "SAMSA_TEST_POSTGRES_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentDir); dir != "" {
		beParent(dir)
	}
	goleak.VerifyTestMain(StopAfter(m))
}

func beParent(dir string) {
	s, err := Start(context.Background(), Options{Dir: dir, Fast: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.PID())
	select {}
}

func query(t *testing.T, url, statement string, args ...any) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var answer string
	require.NoError(t, conn.QueryRow(t.Context(), statement, args...).Scan(&answer))
	return answer
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func TestStart_KeepsDataPortAndPasswordOverRestarts(t *testing.T) {
	o := Options{Dir: TempDir(t)}
	first := start(t, o)
	require.Equal(t, "on", query(t, first.URL, "SHOW fsync"), "durable unless asked otherwise")
	query(t, first.URL, "WITH made AS (SELECT 1) SELECT 'x' FROM made")
	require.NoError(t, first.exec(t.Context(), "CREATE TABLE kept (v text)"))
	require.NoError(t, first.exec(t.Context(), "INSERT INTO kept VALUES ('yes')"))
	require.NoError(t, first.Stop(t.Context()))
	<-first.Exited()

	second := start(t, o)
	require.Equal(t, first.URL, second.URL)
	require.Equal(t, "yes", query(t, second.URL, "SELECT v FROM kept"))
}

func TestStart_RefusesAFolderInUse(t *testing.T) {
	o := Options{Dir: TempDir(t), Fast: true}
	start(t, o)
	_, err := Start(t.Context(), o)
	require.ErrorIs(t, err, errInUse)
	require.ErrorContains(t, err, o.Dir)
}

func TestStartClean_StartsAnewOnBrokenDataAndKeepsTheLock(t *testing.T) {
	dir := TempDir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("broken"), 0o644))
	s, err := startClean(t.Context(), dir)
	require.NoError(t, err)
	_, err = startClean(t.Context(), dir)
	require.ErrorIs(t, err, errInUse)
	require.NoError(t, s.Stop(t.Context()))
}

func TestStart_TakesAnotherPortIfTheLastOneIsTaken(t *testing.T) {
	o := Options{Dir: TempDir(t), Fast: true}
	taken := start(t, Options{Dir: TempDir(t), Fast: true})
	require.NoError(t, ports.Save(o.Dir, taken.Port))
	require.NotEqual(t, taken.Port, start(t, o).Port)
}

func TestStart_WantsThePassword(t *testing.T) {
	s := start(t, Options{Dir: TempDir(t), Fast: true})
	s.password = "wrong"
	_, err := pgx.Connect(t.Context(), s.urlOf(databaseName))
	require.ErrorContains(t, err, "password authentication failed")
}

func TestStart_OutlivesNoKilledParentAndStartsAfterIt(t *testing.T) {
	dir := TempDir(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentDir+"="+dir)
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(line, &pid)
	require.NoError(t, err, line)
	require.NoError(t, syscall.Kill(pid, 0))

	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	s := start(t, Options{Dir: dir, Fast: true}) // at once: the orphan may still be ending
	require.Equal(t, "1", query(t, s.URL, "SELECT '1'"))
	require.False(t, runs(pid, s.home.data))
}

func TestStart_RemovesAStalePIDFileOfAnotherProcess(t *testing.T) {
	o := Options{Dir: TempDir(t), Fast: true}
	s := start(t, o)
	pidFile := filepath.Join(s.home.data, "postmaster.pid")
	require.NoError(t, s.Stop(t.Context()))
	stale := fmt.Sprintf("%d\n%s\n", os.Getppid(), s.home.data)
	require.NoError(t, os.WriteFile(pidFile, []byte(stale), 0o600))
	start(t, o)
}

func TestStart_BeginsAgainAfterAnInterruptedInit(t *testing.T) {
	dir := TempDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data.new", "PG_VERSION"), []byte("9\n"), 0o600))
	start(t, Options{Dir: dir, Fast: true})
}

func TestStart_SaysThatThePasswordIsMissing(t *testing.T) {
	dir := TempDir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
	_, err := Start(t.Context(), Options{Dir: dir})
	require.ErrorContains(t, err, filepath.Join(dir, "password")+" is missing")
}

func TestStart_UnderRootGoesWhereItsUserCanGo(t *testing.T) {
	if os.Geteuid() != 0 {
		a := &account{name: "nobody", uid: 65534, gid: 65534}
		closed := filepath.Join(t.TempDir(), "closed")
		require.NoError(t, os.Mkdir(closed, 0o700))
		require.NotEmpty(t, a.obstacle(closed))
		return
	}
	dir := filepath.Join(t.TempDir(), "closed", "postgres") // t.TempDir is for us alone
	s := start(t, Options{Dir: dir, Fast: true})
	link, err := os.Readlink(filepath.Join(dir, "data"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(link)) })
	require.Equal(t, link, s.home.data)
	info, err := os.Stat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Sys().(*syscall.Stat_t).Uid)

	require.NoError(t, s.Stop(t.Context()))
	require.Equal(t, s.home.data, start(t, Options{Dir: dir, Fast: true}).home.data)
}

func TestStop_KillsAServerThatDoesNotStop(t *testing.T) {
	s := start(t, Options{Dir: TempDir(t), Fast: true, StopTimeout: 50 * time.Millisecond})
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGSTOP))
	require.ErrorContains(t, s.Stop(t.Context()), "was killed")
	<-s.Exited()
}

func TestFindBinaries_PicksTheNewestThatFitsTheData(t *testing.T) {
	fake := func(version string) string {
		dir := t.TempDir()
		for _, name := range []string{"postgres", "initdb"} {
			script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s (Made up 1)'\n", name, version)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
		}
		return dir
	}
	v15, v17, v17later, v9 := fake("15.18"), fake("17.2"), fake("17.10"), fake("9.6.24")
	onlyServer := fake("18.1")
	require.NoError(t, os.Remove(filepath.Join(onlyServer, "initdb")))
	all := installed([]string{v9, v15, v17, v17later, onlyServer, t.TempDir(), v15})
	require.Len(t, all, 4)

	b, ok := newest(all, 0)
	require.True(t, ok)
	require.Equal(t, v17later, b.dir)
	b, ok = newest(all, 15)
	require.True(t, ok)
	require.Equal(t, v15, b.dir)
	_, ok = newest(all, 16)
	require.False(t, ok)
}

func TestFetch_SaysInOneLineWhatToDo(t *testing.T) {
	dir := t.TempDir()
	_, err := fetch(t.Context(), Options{Dir: dir, Repository: "http://127.0.0.1:1", Log: zap.NewNop()}, &home{root: dir}, 0)
	require.Error(t, err)
	text := (&MissingError{Major: 16, Cause: err}).Error()
	require.Contains(t, text, "PostgreSQL 16, which made the data, is not installed")
	require.Contains(t, text, "apt install postgresql-16")
	require.NotContains(t, text, "\n")
	require.Contains(t, (&MissingError{Cause: err}).Error(), "apt install postgresql;")
}

func TestForTest_GivesEachTestItsOwnDatabase(t *testing.T) {
	var urls []string
	for range 2 {
		t.Run("", func(t *testing.T) {
			url := ForTest(t)
			urls = append(urls, url)
			require.True(t, strings.HasPrefix(query(t, url, "SELECT current_database()"), testPrefix))
		})
	}
	require.NotEqual(t, urls[0], urls[1])
	_, err := pgx.Connect(t.Context(), urls[0])
	require.ErrorContains(t, err, "does not exist")
}

// repository serves testdata/binaries.txz as every version: scripts that say
// they are PostgreSQL 18.3.
func repository(t *testing.T) string {
	archive, err := os.ReadFile("testdata/binaries.txz")
	require.NoError(t, err)
	var jar bytes.Buffer
	w := zip.NewWriter(&jar)
	f, err := w.Create("postgres.txz")
	require.NoError(t, err)
	_, err = f.Write(archive)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			fmt.Fprintf(w, "%x", sha256.Sum256(jar.Bytes()))
		} else {
			_, _ = w.Write(jar.Bytes())
		}
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return server.URL
}

func TestFetch_PutsTheProgramsBesideTheData(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	dir := t.TempDir()
	b, err := fetch(t.Context(), Options{Dir: dir, Repository: repository(t), Log: zap.NewNop()}, &home{root: dir}, 0)
	require.NoError(t, err)
	require.Equal(t, binaries{dir: fetchedFolder(dir), major: 18, minor: 3}, b)
}
