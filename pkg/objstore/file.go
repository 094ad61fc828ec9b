package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// File is a store in a folder: an object is a file, its key the path.
//
// A put writes a temporary file, fsyncs it, links it to its key, fsyncs the
// folder and only then removes the temporary name. Hence the rule that makes
// everything else simple:
//
//	an object with one name is durable; one with two may not be yet.
//
// Whoever meets an object with two names, in this process or another, fsyncs it
// before it tells anybody. Several processes may share a folder.
type File struct {
	fs      fileSystem
	latch   *latch
	folders *folders
	temp    temporary
}

// manyLinks stands in where the number of names cannot be told.
const manyLinks = math.MaxUint64

// NewFile opens the store in folder, creates it if need be, and clears what
// processes that died have left. onFatal, if not nil, is called once, when an
// fsync fails.
func NewFile(folder string, onFatal func(error)) (*File, error) {
	if onFatal == nil {
		onFatal = func(error) {}
	}
	if err := makeRoot(filepath.Clean(folder)); err != nil {
		return nil, fmt.Errorf("objstore: folder %s of storage.url: %w", folder, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("objstore: folder %s of storage.url: %w", folder, err)
	}
	return openFile(rootFS{root}, onFatal)
}

func openFile(system fileSystem, onFatal func(error)) (*File, error) {
	latch := &latch{notify: onFatal}
	f := &File{fs: system, latch: latch, folders: newFolders(system, latch)}
	if err := f.openTemporary(); err != nil {
		return nil, errors.Join(fmt.Errorf("objstore: folder %s of the store: %w", tempFolder, err), system.Close())
	}
	return f, nil
}

// makeRoot has the store's folder stand durably: it creates what is missing and
// fsyncs the folder above each one, also above the store's own if that was there,
// since whoever made it may not have come to it.
func makeRoot(folder string) error {
	parent := filepath.Dir(folder)
	info, err := os.Stat(folder)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "open", Path: folder, Err: syscall.ENOTDIR}
	case err == nil:
		if err := fsyncFolder(parent); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil // made by somebody with more rights, as part of the system
	case parent == folder || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := makeRoot(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsyncFolder(parent)
}

func fsyncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Close gives up the store's temporary folder.
func (f *File) Close() error {
	return errors.Join(f.temp.close(f.fs), f.fs.Close())
}

// PutIfAbsent implements [Store]. Once its file is being written it does not
// heed ctx: no call of the system can be called off.
func (f *File) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return opError(OpPut, key, f.put(ctx, key, body))
}

func (f *File) put(ctx context.Context, key string, body []byte) error {
	if err := f.ready(ctx, key); err != nil {
		return err
	}
	if err := f.exists(key); !isNotFound(err) {
		return err
	}
	temp, err := f.write(body)
	if err != nil {
		return err
	}
	err = f.link(temp, key)
	if err == nil {
		err = f.folders.sync(path.Dir(key))
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		// What cannot be removed now is when the store is next opened.
		_ = f.fs.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return f.lostTo(key)
	}
	return err
}

// lostTo answers a put that found key taken at the last moment.
func (f *File) lostTo(key string) error {
	err := f.exists(key)
	if isNotFound(err) {
		return fmt.Errorf("%w: it was deleted since, or keys stand below it", ErrConflict)
	}
	return err
}

// exists gives ErrExists once the object at key is durable, else ErrNotFound.
// Its bytes are fsynced too: they need not have come here through a put.
func (f *File) exists(key string) error {
	object, _, err := f.open(key)
	if err != nil {
		return err
	}
	defer object.Close()
	if err := f.latch.sync(object, key); err != nil {
		return err
	}
	if err := f.folders.settle(key); err != nil {
		return err
	}
	return ErrExists
}

// write gives the name of a durable temporary file that holds body.
func (f *File) write(body []byte) (string, error) {
	name := f.temp.next()
	out, err := f.fs.Create(name)
	if err != nil {
		return "", err
	}
	_, err = out.Write(body)
	if err == nil {
		err = f.latch.sync(out, name)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		_ = f.fs.Remove(name)
		return "", err
	}
	return name, nil
}

func (f *File) link(temp, key string) error {
	if err := f.folders.make(path.Dir(key)); err != nil {
		_ = f.fs.Remove(temp)
		return err
	}
	err := f.fs.Link(temp, key)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		_ = f.fs.Remove(temp)
	}
	return err
}

// Get implements [Store].
func (f *File) Get(ctx context.Context, key string, r Range) (Object, error) {
	object, err := f.get(ctx, key, r)
	return object, opError(OpGet, key, err)
}

func (f *File) get(ctx context.Context, key string, r Range) (Object, error) {
	in, info, err := f.look(ctx, key)
	if err != nil {
		return Object{}, err
	}
	defer in.Close()
	from, to := r.within(info.Size)
	body := make([]byte, to-from)
	if n, err := in.ReadAt(body, from); n < len(body) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Object{}, err
	}
	return Object{Info: info, Body: body}, nil
}

// Head implements [Store].
func (f *File) Head(ctx context.Context, key string) (Info, error) {
	in, info, err := f.look(ctx, key)
	if err != nil {
		return Info{}, opError(OpHead, key, err)
	}
	return info, opError(OpHead, key, in.Close())
}

// look opens an object for reading, durable.
func (f *File) look(ctx context.Context, key string) (file, Info, error) {
	if err := f.ready(ctx, key); err != nil {
		return nil, Info{}, err
	}
	in, info, err := f.open(key)
	if err != nil {
		return nil, Info{}, err
	}
	if err := f.settled(key, in, info); err != nil {
		return nil, Info{}, errors.Join(err, in.Close())
	}
	return in, Info{Key: key, Size: info.Size(), Modified: info.ModTime(), Date: time.Now()}, nil
}

// settled returns once the object is durable.
func (f *File) settled(key string, in file, info fs.FileInfo) error {
	if links(info) == 1 {
		return nil
	}
	if err := f.latch.sync(in, key); err != nil {
		return err
	}
	return f.folders.settle(key)
}

func (f *File) open(key string) (file, fs.FileInfo, error) {
	in, err := f.fs.Open(key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil, ErrNotFound
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotFound
	}
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	return in, info, nil
}

// Delete implements [Store]. Folders stay: whoever is about to put into one
// relies on it.
func (f *File) Delete(ctx context.Context, key string) error {
	return opError(OpDelete, key, f.delete(ctx, key))
}

func (f *File) delete(ctx context.Context, key string) error {
	if err := f.ready(ctx, key); err != nil {
		return err
	}
	err := f.fs.Remove(key)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = f.folders.sync(path.Dir(key))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}

// ready is what every call checks first.
func (f *File) ready(ctx context.Context, key string) error {
	if err := f.latch.err(); err != nil {
		return err
	}
	return ready(ctx, key)
}

// tempFolder holds a folder for each process that has the store open, locked by
// it. No key begins with a dot, so no key is in it.
const tempFolder = ".samsa-tmp"

// temporary names this store's temporary files.
type temporary struct {
	folder string
	lock   file // the folder itself
	count  *atomic.Uint64
}

func (t temporary) next() string { return t.folder + "/" + strconv.FormatUint(t.count.Add(1), 16) }

func (t temporary) close(system fileSystem) error {
	// Fails only when files are left in it; the next opening clears them.
	_ = system.Remove(t.folder)
	return t.lock.Close()
}
