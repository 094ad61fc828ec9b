package s3_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/local/s3"
	"github.com/samsa-io/samsa/pkg/objstore"
)

// parentOf, in the environment, makes this program start a server below the
// folder that it names, tell the server's process id, and stay.
const parentOf = "SAMSA_TEST_PARENT_OF"

func TestMain(m *testing.M) {
	if folder := os.Getenv(parentOf); folder != "" {
		server, err := s3.Start(context.Background(), folder)
		if err != nil {
			panic(err)
		}
		fmt.Println(server.PID())
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
	}
	goleak.VerifyTestMain(m)
}

func TestStart_ServerEndsWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentOf+"="+t.TempDir())
	_, err := parent.StdinPipe()
	require.NoError(t, err)
	output, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	var child int
	_, err = fmt.Fscan(output, &child)
	require.NoError(t, err)

	require.NoError(t, parent.Process.Kill())
	_, _ = parent.Process.Wait()
	require.Eventually(t, func() bool { return gone(child) }, 20*time.Second, 10*time.Millisecond)
}

// gone also holds for a process that nobody has collected yet.
func gone(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || strings.Contains(string(status), "\nState:\tZ")
}

func TestStart_ServesABucketThatSurvivesARestart(t *testing.T) {
	folder := t.TempDir()
	first, err := s3.Start(t.Context(), folder)
	require.NoError(t, err)
	put(t, first, "log/0")
	first.Stop()
	require.ErrorIs(t, syscall.Kill(first.PID(), 0), syscall.ESRCH, "the child is gone")

	second, err := s3.Start(t.Context(), folder)
	require.NoError(t, err)
	defer second.Stop()
	store := open(t, second)
	object, err := store.Get(t.Context(), "log/0", objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, "body", string(object.Body))
}

func TestStart_AnswersKilledServer(t *testing.T) {
	server := s3.ForTest(t)
	store := open(t, server)
	require.NoError(t, syscall.Kill(server.PID(), syscall.SIGKILL))
	require.Eventually(t, func() bool {
		_, err := store.Head(t.Context(), "log/0")
		return err != nil && objstore.Outcome(err) == "error"
	}, 20*time.Second, 10*time.Millisecond)
	server.Stop()
}

func TestBinary_NamesTheVariableAndTheRemedy(t *testing.T) {
	t.Setenv("SAMSA_VERSITYGW", "/nowhere/versitygw")
	_, err := s3.Binary(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "SAMSA_VERSITYGW")

	t.Setenv("SAMSA_VERSITYGW", "")
	t.Chdir(t.TempDir())
	_, err = s3.Binary(t.Context())
	require.ErrorContains(t, err, "set SAMSA_VERSITYGW")
}

func TestStart_TellsWhatTheServerSaidWhenItExits(t *testing.T) {
	script := filepath.Join(t.TempDir(), "versitygw")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho out of order\nexit 1\n"), 0o755))
	t.Setenv("SAMSA_VERSITYGW", script)
	_, err := s3.Start(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "out of order")
}

func put(t *testing.T, server *s3.Server, key string) {
	require.NoError(t, open(t, server).PutIfAbsent(t.Context(), key, []byte("body")))
}

func open(t *testing.T, server *s3.Server) objstore.Store {
	store, err := objstore.Open(t.Context(), server.Config(""))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, objstore.Close(store)) })
	return store
}
