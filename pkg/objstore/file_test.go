package objstore_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

func TestFile_ClearsWhatDeadProcessesLeft(t *testing.T) {
	folder := t.TempDir()
	left := filepath.Join(folder, ".samsa-tmp", "dead")
	require.NoError(t, os.MkdirAll(left, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(left, "1"), []byte("half of a bo"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "log"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(left, "2"), []byte("linked"), 0o644))
	require.NoError(t, os.Link(filepath.Join(left, "2"), filepath.Join(folder, "log", "0")))

	store := open(t, "file://"+folder)
	require.NoDirExists(t, left)
	object, err := store.Get(t.Context(), "log/0", objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, "linked", string(object.Body))
}

func TestFile_MayBeOpenTwice(t *testing.T) {
	url := "file://" + t.TempDir()
	first, second := open(t, url), open(t, url)
	require.NoError(t, first.PutIfAbsent(t.Context(), "log/0", []byte("first")), "its temporary folder is still there")
	require.ErrorIs(t, second.PutIfAbsent(t.Context(), "log/0", []byte("second")), objstore.ErrExists)
	require.NoError(t, second.PutIfAbsent(t.Context(), "log/1", nil))
	_, err := first.Head(t.Context(), "log/1")
	require.NoError(t, err)
}

func TestFile_LeavesNothingButObjects(t *testing.T) {
	folder := t.TempDir()
	store, err := objstore.NewFile(folder, nil)
	require.NoError(t, err)
	require.NoError(t, store.PutIfAbsent(t.Context(), "a/b", nil))
	require.ErrorIs(t, store.PutIfAbsent(t.Context(), "a/b", nil), objstore.ErrExists)
	require.NoError(t, store.Close())
	left, err := os.ReadDir(filepath.Join(folder, ".samsa-tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestFile_StaysInsideItsFolder(t *testing.T) {
	outside, folder := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(folder, "way-out")))
	store := open(t, "file://"+folder)
	_, err := store.Get(t.Context(), "way-out/secret", objstore.Whole)
	require.Error(t, err)
	require.Error(t, store.PutIfAbsent(t.Context(), "way-out/new", nil))
	require.NoFileExists(t, filepath.Join(outside, "new"))
}

func TestFile_RefusesAFileForAFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	_, err := objstore.Open(t.Context(), objstore.Config{URL: "file://" + path})
	require.ErrorContains(t, err, "not a directory")
}

func TestFile_SaysThatAKeyIsAFolder(t *testing.T) {
	store := open(t, "file://"+t.TempDir())
	require.NoError(t, store.PutIfAbsent(t.Context(), "a/b", nil))
	require.ErrorIs(t, store.PutIfAbsent(t.Context(), "a", nil), objstore.ErrConflict)
	require.Error(t, store.PutIfAbsent(t.Context(), "a/b/c", nil))
}
