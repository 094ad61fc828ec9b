package objstore

import (
	"io"
	"io/fs"
	"os"
)

// fileSystem is what the file store asks of the system below it. Names are
// relative, with slashes; "." is the store's folder. Tests put themselves in
// between to watch the order of calls, to let fsync fail and to lose power.
type fileSystem interface {
	Create(name string) (file, error) // fails if name stands
	Open(name string) (file, error)
	Link(from, to string) error
	Remove(name string) error
	Mkdir(name string) error
	Close() error
}

// file is an open file or folder.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
	ReadDir(n int) ([]fs.DirEntry, error)
	Sync() error
	Lock() (bool, error) // exclusive, until Close or the end of the process; false: another holds it
}

// rootFS is the system's own. os.Root keeps every name, through symbolic links
// too, inside the store's folder.
type rootFS struct{ root *os.Root }

func (r rootFS) Create(name string) (file, error) {
	return wrapFile(r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644))
}

func (r rootFS) Open(name string) (file, error) { return wrapFile(r.root.Open(name)) }

func (r rootFS) Link(from, to string) error { return r.root.Link(from, to) }

func (r rootFS) Remove(name string) error { return r.root.Remove(name) }

func (r rootFS) Mkdir(name string) error { return r.root.Mkdir(name, 0o755) }

func (r rootFS) Close() error { return r.root.Close() }

type osFile struct{ *os.File }

func wrapFile(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
