//go:build linux

package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func openModel(t *testing.T, model *modelFS) *File {
	store, err := openFile(model, func(error) {})
	require.NoError(t, err)
	return store
}

func TestFile_AnswersAPutAfterBothFsyncs(t *testing.T) {
	model := newModelFS(1)
	store := openModel(t, model)
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/0", []byte("first")))
	temp := store.temp.folder

	model.calls = nil
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/1", []byte("second")))
	require.Equal(t, []string{
		"create " + temp + "/2", "write " + temp + "/2", "fsync " + temp + "/2", "link log/x/1", "fsync log/x", "remove " + temp + "/2",
	}, model.calls)
}

func TestFile_FsyncsEachFolderItMakes(t *testing.T) {
	model := newModelFS(1)
	store := openModel(t, model)
	model.calls = nil
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/0", nil))
	temp := store.temp.folder + "/1"
	require.Equal(t, []string{
		"create " + temp, "write " + temp, "fsync " + temp,
		"mkdir log", "fsync .", "mkdir log/x", "fsync log", "link log/x/0", "fsync log/x", "remove " + temp,
	}, model.calls)
}

func TestFile_FsyncsBeforeItAnswersExists(t *testing.T) {
	model := newModelFS(1)
	other := openModel(t, model)
	store := openModel(t, model)
	require.NoError(t, other.PutIfAbsent(t.Context(), "log/x/0", []byte("body")))
	model.calls = nil
	require.ErrorIs(t, store.PutIfAbsent(t.Context(), "log/x/0", []byte("late")), ErrExists)
	require.Equal(t, []string{
		"fsync log/x/0", "mkdir log", "fsync .", "mkdir log/x", "fsync log", "fsync log/x",
	}, model.calls, "it does not trust folders that another process made")
}

// A writer that died between link and fsync leaves an object that may yet vanish.
// Whoever reads it first makes sure that it does not.
func TestFile_ReadsMakeDurableWhatTheyShow(t *testing.T) {
	for name, read := range map[string]func(Store) error{
		"get": func(s Store) error {
			_, err := s.Get(context.Background(), "log/x/1", Whole)
			return err
		},
		"head": func(s Store) error {
			_, err := s.Head(context.Background(), "log/x/1")
			return err
		},
		"list": func(s Store) error {
			for _, err := range s.List(context.Background(), "log/", "log/x/0") {
				return err
			}
			return errors.New("nothing listed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(8) {
				model := newModelFS(seed)
				reader, writer := openModel(t, model), openModel(t, model)
				require.NoError(t, writer.PutIfAbsent(t.Context(), "log/x/0", nil))
				temp, err := writer.write([]byte("body"))
				require.NoError(t, err)
				require.NoError(t, writer.link(temp, "log/x/1")) // and dies

				require.NoError(t, read(reader))
				model.losePower()
				requireModelBody(t, openModel(t, model), "log/x/1", "body")
			}
		})
	}
}

// An opening that takes the second name away settles the object first.
func TestFile_ClearingKeepsWhatReadsMayShow(t *testing.T) {
	for seed := range uint64(8) {
		model := newModelFS(seed)
		writer := openModel(t, model)
		require.NoError(t, writer.PutIfAbsent(t.Context(), "log/x/0", nil))
		temp, err := writer.write([]byte("body"))
		require.NoError(t, err)
		require.NoError(t, writer.link(temp, "log/x/1"))
		model.restart()

		requireModelBody(t, openModel(t, model), "log/x/1", "body")
		model.losePower()
		requireModelBody(t, openModel(t, model), "log/x/1", "body")
	}
}

func TestFile_DeleteSurvivesALossOfPower(t *testing.T) {
	for seed := range uint64(8) {
		model := newModelFS(seed)
		store := openModel(t, model)
		require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/0", []byte("body")))
		require.NoError(t, store.Delete(t.Context(), "log/x/0"))
		model.losePower()
		_, err := openModel(t, model).Head(t.Context(), "log/x/0")
		require.ErrorIs(t, err, ErrNotFound)
	}
}

func TestFile_FailedFsyncIsForGood(t *testing.T) {
	for _, failing := range []string{"temporary file", "folder", "folder above", "existing object"} {
		t.Run(failing, func(t *testing.T) {
			model := newModelFS(1)
			var told []error
			store, err := openFile(model, func(err error) { told = append(told, err) })
			require.NoError(t, err)
			require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/0", []byte("body")))

			key := map[string]string{"folder above": "log/y/0", "existing object": "log/x/0"}[failing]
			if key == "" {
				key = "log/x/1"
			}
			failed := false
			model.onSync = func(name string) error {
				isIt := map[string]bool{
					"temporary file": strings.HasPrefix(name, tempFolder), "folder": name == "log/x",
					"folder above": name == "log", "existing object": name == "log/x/0",
				}[failing]
				if isIt && !failed {
					failed = true // the next fsync succeeds, as kernels have it
					return syscall.EIO
				}
				return nil
			}
			err = store.PutIfAbsent(t.Context(), key, []byte("body"))
			require.True(t, failed)
			require.ErrorIs(t, err, ErrFatal)
			require.ErrorIs(t, err, syscall.EIO)
			requireFatalFromNowOn(t, store)
			require.Len(t, told, 1, "the service is told once")
			require.ErrorIs(t, told[0], ErrFatal)
		})
	}
}

func requireFatalFromNowOn(t *testing.T, store Store) {
	require.ErrorIs(t, store.PutIfAbsent(t.Context(), "log/x/2", nil), ErrFatal)
	_, err := store.Get(t.Context(), "log/x/0", Whole)
	require.ErrorIs(t, err, ErrFatal)
	_, err = store.Head(t.Context(), "log/x/0")
	require.ErrorIs(t, err, ErrFatal)
	require.ErrorIs(t, store.Delete(t.Context(), "log/x/0"), ErrFatal)
	for _, err = range store.List(t.Context(), "", "") {
	}
	require.ErrorIs(t, err, ErrFatal)
}

// One fsync of a folder serves all who linked before it began.
func TestFile_GroupsFsyncsOfAFolder(t *testing.T) {
	model := newModelFS(1)
	store := openModel(t, model)
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/0", nil))

	const others = 7
	var puts sync.WaitGroup
	syncs := 0
	model.onSync = func(name string) error {
		if name != "log/x" {
			return nil
		}
		if syncs++; syncs > 1 {
			return nil
		}
		waiting := store.folders.group("log/x")
		before, _ := waiting.pending(0)
		for i := range others {
			puts.Go(func() {
				if err := store.PutIfAbsent(t.Context(), fmt.Sprintf("log/x/%d", 2+i), nil); err != nil {
					t.Errorf("put: %v", err)
				}
			})
		}
		for now := before; now < before+others; now, _ = waiting.pending(0) {
			runtime.Gosched() // until all have linked
		}
		return nil
	}
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/1", nil))
	puts.Wait()
	require.Equal(t, 2, syncs, "one for the first put, one for the seven that came meanwhile")
}

// The power fails before each call that a put makes, and after the last: what was
// answered is there, and what was not is there whole or not at all.
func TestFile_PowerCutAtEachStepOfAPutLeavesAllOrNothing(t *testing.T) {
	const body = "a body that can be torn"
	steps := 0
	for step, answered := 0, false; !answered; step++ {
		steps = step
		for seed := range uint64(40) {
			model := newModelFS(seed)
			store := openModel(t, model)
			require.NoError(t, store.PutIfAbsent(t.Context(), "log/x/0", []byte("before")))
			model.fuel = step
			err := store.PutIfAbsent(t.Context(), "log/y/0", []byte(body))
			answered = err == nil
			model.losePower()

			after := openModel(t, model)
			requireModelBody(t, after, "log/x/0", "before")
			object, readErr := after.Get(t.Context(), "log/y/0", Whole)
			if answered || readErr == nil {
				require.NoError(t, readErr, "step %d, seed %d", step, seed)
				require.Equal(t, body, string(object.Body), "step %d, seed %d", step, seed)
			} else {
				require.ErrorIs(t, readErr, ErrNotFound)
			}
			switch again := after.PutIfAbsent(t.Context(), "log/y/0", []byte(body)); readErr {
			case nil:
				require.ErrorIs(t, again, ErrExists)
			default:
				require.NoError(t, again, "the key is still free")
			}
		}
	}
	require.Equal(t, 7, steps, "create, write, fsync, mkdir, fsync, link, fsync: cut before each; the name that is removed then is not needed")
}

// Processes die and power fails at any call; what was answered or shown stands.
func TestFile_KeepsWhatItAnsweredThroughCrashes(t *testing.T) {
	for seed := range uint64(300) {
		require.NoError(t, crashes(seed, nil), "seed %d", seed)
	}
}

// The same test finds out a store that leaves an fsync away.
func TestFile_CrashTestFindsMutants(t *testing.T) {
	for name, skip := range map[string]func(string) bool{
		"fsync of files":              func(name string) bool { return strings.HasPrefix(name, tempFolder+"/") },
		"fsync of objects' folders":   func(name string) bool { return strings.HasPrefix(name, "log/") },
		"fsync of the folders above":  func(name string) bool { return name == "log" },
		"fsync of the store's folder": func(name string) bool { return name == "." },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				if crashes(seed, skip) != nil {
					return
				}
			}
			t.Fatal("no seed noticed")
		})
	}
}

// crashes runs rounds of a workload, each of which ends in a crash, and gives an
// error if an object is lost or damaged.
func crashes(seed uint64, skipSync func(string) bool) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	model := newModelFS(seed)
	model.skipSync = skipSync
	known := &knownObjects{bodies: map[string]string{}, exist: map[string]bool{}}
	for round := range 4 {
		model.fuel = 1 + rng.IntN(80)
		if store, err := openFile(model, func(error) {}); err == nil {
			workload(store, known, round)
		}
		if rng.IntN(2) == 0 {
			model.losePower()
		} else {
			model.restart()
		}
	}
	model.losePower()
	return known.checkAgainst(model)
}

func workload(store *File, known *knownObjects, round int) {
	var workers sync.WaitGroup
	for worker := range 3 {
		workers.Go(func() {
			for i := range 8 {
				key := fmt.Sprintf("log/%d/%d", i%2, i)
				body := fmt.Sprintf("body of %d in round %d", worker, round)
				known.answer(key, body, store.PutIfAbsent(context.Background(), key, []byte(body)))
				object, err := store.Get(context.Background(), key, Whole)
				known.shown(key, string(object.Body), err)
			}
		})
	}
	workers.Wait()
}

type knownObjects struct {
	mu     sync.Mutex
	bodies map[string]string
	exist  map[string]bool // by an answer that told no body
	wrong  error
}

func (k *knownObjects) answer(key, body string, err error) {
	if err == nil {
		k.shown(key, body, nil)
	}
	if errors.Is(err, ErrExists) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.exist[key] = true
	}
}

func (k *knownObjects) shown(key, body string, err error) {
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if before, ok := k.bodies[key]; ok && before != body {
		k.wrong = fmt.Errorf("%s was %q, is %q", key, before, body)
	}
	k.bodies[key] = body
}

func (k *knownObjects) checkAgainst(model *modelFS) error {
	store, err := openFile(model, func(error) {})
	if err != nil {
		return err
	}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(k.bodies)), slices.Collect(maps.Keys(k.exist))) {
		object, err := store.Get(context.Background(), key, Whole)
		if err != nil {
			return err
		}
		k.shown(key, string(object.Body), nil)
	}
	for info, err := range store.List(context.Background(), "", "") {
		if err != nil {
			return err
		}
		if info.Size == 0 {
			return fmt.Errorf("%s is a piece of an object", info.Key)
		}
	}
	return errors.Join(k.wrong, noTemporaries(model, store))
}

func noTemporaries(model *modelFS, store *File) error {
	folder, err := model.find(tempFolder)
	if err != nil {
		return err
	}
	own := path.Base(store.temp.folder)
	if len(folder.live) != 1 || folder.live[own] == nil || len(folder.live[own].live) != 0 {
		return fmt.Errorf("leftovers in %s: %v", tempFolder, folder.live)
	}
	return nil
}

func requireModelBody(t *testing.T, store Store, key, want string) {
	t.Helper()
	object, err := store.Get(t.Context(), key, Whole)
	require.NoError(t, err)
	require.Equal(t, want, string(object.Body))
}

var _ fs.FileInfo = modelInfo{}
