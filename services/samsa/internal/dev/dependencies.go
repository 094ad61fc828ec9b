package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
)

// dependencies are the servers that a cluster would have beside Samsa.
type dependencies struct {
	etcd     *etcd.Server
	nats     *nats.Server
	postgres *postgres.Server
}

// stopBudget bounds the end of each dependency.
const stopBudget = 10 * time.Second

// startDependencies starts all of them; on failure none is left.
func startDependencies(ctx context.Context, folder string, log *zap.Logger) (d *dependencies, err error) {
	d = &dependencies{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	if d.postgres, err = postgres.Start(ctx, postgres.Options{Dir: filepath.Join(folder, "postgres"), Log: log.Named("postgres")}); err != nil {
		return d, err
	}
	if d.etcd, err = etcd.Start(ctx, etcd.Options{Dir: filepath.Join(folder, "etcd"), Log: log.Named("etcd")}); err != nil {
		return d, fmt.Errorf("start etcd: %w", err)
	}
	if d.nats, err = nats.Start(ctx, nats.Options{Dir: filepath.Join(folder, "nats"), Log: log.Named("nats")}); err != nil {
		return d, fmt.Errorf("start NATS: %w", err)
	}
	return d, nil
}

// stop ends what was started, last first.
func (d *dependencies) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopBudget)
	defer cancel()
	var errs []error
	if d.nats != nil {
		errs = append(errs, d.nats.Stop(ctx))
	}
	if d.etcd != nil {
		errs = append(errs, d.etcd.Stop(ctx))
	}
	if d.postgres != nil {
		errs = append(errs, d.postgres.Stop(ctx))
	}
	return errors.Join(errs...)
}

// lock makes sure that the folder exists and that nobody else uses it.
func lock(folder string) (release func(), err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	path := filepath.Join(folder, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(path)
		_ = f.Close()
		return nil, fmt.Errorf("data folder %s is in use by another samsa dev (process %s): stop that one, or give another folder with --data-dir", folder, pid)
	}
	if err := writePID(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprint(f, os.Getpid())
	return err
}
