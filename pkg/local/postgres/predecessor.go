package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// endPredecessor sees to it that no server of a killed parent is left on the
// data, nor a file that says so of a process that is something else by now. We
// hold the folder's lock, so whatever runs there is an orphan.
func (h *home) endPredecessor(ctx context.Context, log *zap.Logger) error {
	pidFile := filepath.Join(h.data, "postmaster.pid")
	pid, err := readPID(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && runs(pid, h.data) {
		log.Info("waiting for the PostgreSQL of an earlier run to end", zap.Int("pid", pid))
		if err = h.outlive(ctx, pid); err != nil {
			return err
		}
	}
	if err = os.Remove(pidFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// outlive waits until an orphan is gone and helps it along.
func (h *home) outlive(ctx context.Context, pid int) error {
	signals := map[int]syscall.Signal{50: syscall.SIGQUIT, 500: syscall.SIGKILL} // after 1 s, 10 s
	for waits := 0; runs(pid, h.data); waits++ {
		if s, due := signals[waits]; due {
			_ = syscall.Kill(pid, s)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL of an earlier run, process %d, does not end: %w", pid, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func readPID(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(strings.TrimSpace(first))
}
