//go:build linux

package objstore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// modelFS is a file system in memory that can lose power: what was not fsynced
// may then be there, or not, or in part. It is the most forgetful file system
// that POSIX allows, for the calls that the file store makes.
type modelFS struct {
	mu       sync.Mutex
	rng      *rand.Rand
	root     *inode
	calls    []string                // since the last forgetCalls
	fuel     int                     // calls until the process dies; negative: it lives
	onSync   func(name string) error // called without the lock
	skipSync func(name string) bool  // a mutant: an fsync that does nothing
}

type inode struct {
	folder        bool
	live, durable map[string]*inode // of folders
	data, settled []byte            // of files
	locked        bool
}

var errDied = errors.New("the process died")

func newModelFS(seed uint64) *modelFS {
	return &modelFS{rng: rand.New(rand.NewPCG(seed, 1)), root: newFolder(), fuel: -1}
}

func newFolder() *inode {
	return &inode{folder: true, live: map[string]*inode{}, durable: map[string]*inode{}}
}

// step counts a call; the caller holds mu.
func (m *modelFS) step(call string) error {
	if m.fuel == 0 {
		return errDied
	}
	m.fuel--
	m.calls = append(m.calls, call)
	return nil
}

func (m *modelFS) find(name string) (*inode, error) {
	at := m.root
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !at.folder {
			return nil, syscall.ENOTDIR
		}
		next := at.live[part]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		at = next
	}
	return at, nil
}

func (m *modelFS) add(name string, n *inode) error {
	folder, err := m.find(path.Dir(name))
	if err != nil {
		return err
	}
	if folder.live[path.Base(name)] != nil {
		return fs.ErrExist
	}
	folder.live[path.Base(name)] = n
	return nil
}

func (m *modelFS) Create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &inode{}
	if err := errors.Join(m.step("create "+name), m.add(name, n)); err != nil {
		return nil, err
	}
	return &modelFile{fs: m, name: name, inode: n}, nil
}

func (m *modelFS) Open(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fuel == 0 {
		return nil, errDied
	}
	n, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return &modelFile{fs: m, name: name, inode: n}, nil
}

func (m *modelFS) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("mkdir " + name); err != nil {
		return err
	}
	return m.add(name, newFolder())
}

func (m *modelFS) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("link " + to); err != nil {
		return err
	}
	n, err := m.find(from)
	if err != nil {
		return err
	}
	return m.add(to, n)
}

func (m *modelFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("remove " + name); err != nil {
		return err
	}
	n, err := m.find(name)
	if err != nil {
		return err
	}
	if n.folder && len(n.live) > 0 {
		return syscall.ENOTEMPTY
	}
	folder, err := m.find(path.Dir(name))
	delete(folder.live, path.Base(name))
	return err
}

func (m *modelFS) Close() error { return nil }

// names counts the names of a file.
func (m *modelFS) names(n, below *inode) uint64 {
	var count uint64
	for _, child := range below.live {
		if child == n {
			count++
		}
		if child.folder {
			count += m.names(n, child)
		}
	}
	return count
}

// restart ends the process that used the file system; its locks go with it.
func (m *modelFS) restart() {
	m.fuel = -1
	m.calls = nil
	m.unlock(m.root)
}

func (m *modelFS) unlock(n *inode) {
	n.locked = false
	for _, child := range n.live {
		m.unlock(child)
	}
}

// losePower also forgets what was not fsynced, or some of it.
func (m *modelFS) losePower() {
	m.settleAtRandom(m.root)
	m.restart()
}

func (m *modelFS) settleAtRandom(n *inode) {
	if !n.folder {
		if !bytes.Equal(n.data, n.settled) {
			n.data = slices.Clone(n.data[:m.rng.IntN(len(n.data)+1)])
			n.settled = n.data
		}
		return
	}
	names := map[string]bool{}
	for name := range n.live {
		names[name] = true
	}
	for name := range n.durable {
		names[name] = true
	}
	for _, name := range slices.Sorted(keysOf(names)) {
		m.settleEntry(n, name)
	}
}

func (m *modelFS) settleEntry(n *inode, name string) {
	child := n.live[name]
	if child != n.durable[name] && m.rng.IntN(2) == 0 {
		child = n.durable[name]
	}
	delete(n.live, name)
	delete(n.durable, name)
	if child != nil {
		n.live[name], n.durable[name] = child, child
		m.settleAtRandom(child)
	}
}

func keysOf(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

type modelFile struct {
	fs    *modelFS
	name  string
	inode *inode
	holds bool
}

func (f *modelFile) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("write " + f.name); err != nil {
		return 0, err
	}
	f.inode.data = append(f.inode.data, b...)
	return len(b), nil
}

func (f *modelFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n := copy(b, f.inode.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *modelFile) Sync() error {
	if f.fs.onSync != nil {
		if err := f.fs.onSync(f.name); err != nil {
			return err
		}
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("fsync " + f.name); err != nil {
		return err
	}
	if f.fs.skipSync != nil && f.fs.skipSync(f.name) {
		return nil
	}
	f.inode.settled = slices.Clone(f.inode.data)
	if f.inode.folder {
		clear(f.inode.durable)
		for name, n := range f.inode.live {
			f.inode.durable[name] = n
		}
	}
	return nil
}

func (f *modelFile) Lock() (bool, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.inode.locked {
		return false, nil
	}
	f.inode.locked, f.holds = true, true
	return true, nil
}

func (f *modelFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.holds {
		f.inode.locked = false
	}
	return nil
}

func (f *modelFile) Stat() (fs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.stat(path.Base(f.name), f.inode), nil
}

func (m *modelFS) stat(name string, n *inode) modelInfo {
	return modelInfo{name: name, size: int64(len(n.data)), folder: n.folder, links: m.names(n, m.root)}
}

func (f *modelFile) ReadDir(int) ([]fs.DirEntry, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if !f.inode.folder {
		return nil, syscall.ENOTDIR
	}
	var entries []fs.DirEntry
	for name, n := range f.inode.live {
		entries = append(entries, fs.FileInfoToDirEntry(f.fs.stat(name, n)))
	}
	return entries, nil
}

type modelInfo struct {
	name   string
	size   int64
	folder bool
	links  uint64
}

func (i modelInfo) Name() string       { return i.name }
func (i modelInfo) Size() int64        { return i.size }
func (i modelInfo) ModTime() time.Time { return time.Time{} }
func (i modelInfo) IsDir() bool        { return i.folder }
func (i modelInfo) Sys() any           { return &syscall.Stat_t{Nlink: i.links} }

func (i modelInfo) Mode() fs.FileMode {
	if i.folder {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
