package objstore

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
)

// openTemporary clears the folders of processes that are gone, then makes and
// locks one for this store.
func (f *File) openTemporary() error {
	if err := f.folders.make(tempFolder); err != nil {
		return err
	}
	if err := f.clearTemporaries(); err != nil {
		return err
	}
	for {
		folder, lock, err := f.lockFresh()
		if err != nil {
			return err
		}
		if lock != nil {
			f.temp = temporary{folder: folder, lock: lock, count: &atomic.Uint64{}}
			return nil
		}
	}
}

// lockFresh gives no lock if another process took the folder for an abandoned
// one, between its creation and its lock.
func (f *File) lockFresh() (string, file, error) {
	folder := tempFolder + "/" + uuid.NewString()
	if err := f.fs.Mkdir(folder); err != nil {
		return "", nil, err
	}
	dir, err := f.fs.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	locked, err := dir.Lock()
	if err == nil && locked && f.isThere(folder) {
		return folder, dir, nil
	}
	return "", nil, errors.Join(err, dir.Close())
}

func (f *File) isThere(folder string) bool {
	dir, err := f.fs.Open(folder)
	return err == nil && dir.Close() == nil
}

func (f *File) clearTemporaries() error {
	entries, err := f.readDir(tempFolder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := f.clearTemporary(path.Join(tempFolder, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// clearTemporary removes what a dead process left in folder.
func (f *File) clearTemporary(folder string) error {
	dir, err := f.fs.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	locked, err := dir.Lock()
	if err != nil || !locked {
		return err
	}
	left, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	if err := f.settleLinked(left); err != nil {
		return err
	}
	for _, entry := range left {
		if err := ignoreAbsent(f.fs.Remove(path.Join(folder, entry.Name()))); err != nil {
			return err
		}
	}
	return ignoreAbsent(f.fs.Remove(folder))
}

// settleLinked keeps the rule of one name: a temporary that was linked to a key
// may lose its name only when that key's folder is durable. Which folder it was
// nobody knows any more, so all are fsynced; this happens after a crash alone.
func (f *File) settleLinked(left []fs.DirEntry) error {
	for _, entry := range left {
		info, err := entry.Info()
		if err == nil && links(info) == 1 {
			continue
		}
		if err := ignoreAbsent(err); err != nil {
			return err
		}
		return f.settleAll(".")
	}
	return nil
}

func (f *File) settleAll(folder string) error {
	entries, err := f.readDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if err := f.settleAll(path.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return f.folders.sync(folder)
}

func (f *File) readDir(folder string) ([]fs.DirEntry, error) {
	dir, err := f.fs.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadDir(-1)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
