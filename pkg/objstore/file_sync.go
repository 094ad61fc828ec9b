package objstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
)

// folders makes the entries of folders durable. One fsync of a folder serves
// every caller whose change was made before it began.
type folders struct {
	fs    fileSystem
	latch *latch

	mu     sync.Mutex
	known  map[string]*folderSync // by folder; grows with the folders this process wrote to
	stands map[string]bool        // folders whose own entries, up to the root, are durable
}

func newFolders(fs fileSystem, latch *latch) *folders {
	return &folders{
		fs: fs, latch: latch,
		known:  map[string]*folderSync{},
		stands: map[string]bool{".": true},
	}
}

// folderSync groups the fsyncs of one folder. A caller takes a ticket, then the
// lock: whoever finds its ticket not yet covered covers all tickets there are.
//
// Lock order: running, then mu.
type folderSync struct {
	running sync.Mutex // held during an fsync

	mu      sync.Mutex
	tickets uint64
	covered uint64 // every ticket up to it has had an fsync that began after it
}

// sync returns once everything that the caller did in folder is durable.
func (f *folders) sync(folder string) error {
	s := f.group(folder)
	ticket := s.take()
	s.running.Lock()
	defer s.running.Unlock()
	upTo, covered := s.pending(ticket)
	if covered {
		return nil
	}
	if err := f.fsync(folder); err != nil {
		return err
	}
	s.cover(upTo)
	return nil
}

func (f *folders) group(folder string) *folderSync {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.known[folder]
	if s == nil {
		s = &folderSync{}
		f.known[folder] = s
	}
	return s
}

func (s *folderSync) take() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets++
	return s.tickets
}

func (s *folderSync) pending(ticket uint64) (upTo uint64, covered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tickets, s.covered >= ticket
}

func (s *folderSync) cover(upTo uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered = upTo
}

func (f *folders) fsync(folder string) error {
	dir, err := f.fs.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f.latch.sync(dir, folder)
}

// make has folder stand, durably, with all folders above it. It does not trust
// a folder that it finds: whoever made it may not have come to its fsync.
func (f *folders) make(folder string) error {
	if f.standing(folder) {
		return nil
	}
	parent := path.Dir(folder)
	if err := f.make(parent); err != nil {
		return err
	}
	if err := f.fs.Mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := f.sync(parent); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stands[folder] = true
	return nil
}

func (f *folders) standing(folder string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stands[folder]
}

// settle makes the entry of an object durable that this process did not put,
// with all folders above it.
func (f *folders) settle(key string) error {
	folder := path.Dir(key)
	if err := f.make(folder); err != nil {
		return err
	}
	return f.sync(folder)
}

// latch remembers the first failed fsync. After one the kernel may have dropped
// what was to be written and answer the next fsync with success, so nothing that
// the process believes about this store holds any more.
type latch struct {
	mu      sync.Mutex
	failure error
	notify  func(error)
}

func (l *latch) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// sync is the only way to fsync.
func (l *latch) sync(f file, name string) error {
	if err := l.err(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return l.fail(fmt.Errorf("%w: fsync of %s: %w", ErrFatal, name, err))
	}
	return nil
}

func (l *latch) fail(failure error) error {
	l.mu.Lock()
	first := l.failure == nil
	if first {
		l.failure = failure
	}
	failure = l.failure
	l.mu.Unlock()
	if first {
		l.notify(failure)
	}
	return failure
}
