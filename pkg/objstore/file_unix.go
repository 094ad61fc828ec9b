//go:build unix

package objstore

import (
	"errors"
	"io/fs"
	"syscall"
)

// Lock takes the system's advisory lock. It goes with the process, so a lock
// that cannot be had means a process that lives.
func (f osFile) Lock() (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// links is the number of names that a file has.
func links(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // 16 or 32 bits elsewhere
	}
	return manyLinks
}
