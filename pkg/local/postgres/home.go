package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// home is where a server's files stand and whom they belong to.
type home struct {
	root     string // the folder that holds data
	data     string // free of links
	account  *account
	binaries binaries
	fast     bool
}

// openHome finds the data of a server on dir, or settles where it will stand.
func openHome(dir string) (*home, error) {
	data := filepath.Join(dir, "data")
	target, err := filepath.EvalSymlinks(data)
	switch {
	case err == nil:
		return existingHome(target)
	case errors.Is(err, fs.ErrNotExist):
		_ = os.Remove(data) // a link that leads nowhere
		return newHome(dir)
	default:
		return nil, err
	}
}

func existingHome(data string) (*home, error) {
	a, err := ownerOf(data)
	if err != nil {
		return nil, err
	}
	return &home{root: filepath.Dir(data), data: data, account: a}, nil
}

func newHome(dir string) (*home, error) {
	a, err := chooseAccount()
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if obstacle := a.obstacle(root); obstacle != "" {
		if root, err = elsewhere(root); err != nil {
			return nil, fmt.Errorf("user %s cannot pass %s (chmod o+x it, or choose another folder): %w", a.name, obstacle, err)
		}
		if err = os.Symlink(filepath.Join(root, "data"), filepath.Join(dir, "data")); err != nil {
			return nil, err
		}
	}
	return &home{root: root, data: filepath.Join(root, "data"), account: a}, nil
}

// elsewhere makes a folder that everybody can reach and that is as lasting as
// root.
func elsewhere(root string) (string, error) {
	base := "/var/lib/samsa"
	if temporary, err := filepath.EvalSymlinks(os.TempDir()); err == nil && strings.HasPrefix(root, temporary+"/") {
		base = temporary
	} else if err := os.MkdirAll(base, 0o711); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(base, "postgres-")
	if err != nil {
		return "", err
	}
	return made, os.Chmod(made, 0o711)
}

// initialize creates the database unless it stands. It is made under another
// name first: an interrupted initdb leaves a folder that looks like data.
func (h *home) initialize(ctx context.Context, password string) error {
	if _, err := os.Stat(filepath.Join(h.data, "PG_VERSION")); err == nil {
		return nil
	}
	making, secret := h.data+".new", filepath.Join(h.root, "initdb-password")
	if err := os.RemoveAll(making); err != nil {
		return err
	}
	if err := os.Mkdir(making, 0o700); err != nil {
		return err
	}
	defer os.Remove(secret)
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return err
	}
	if err := errors.Join(h.account.own(making), h.account.own(secret)); err != nil {
		return err
	}
	if err := h.initdb(ctx, making, secret); err != nil {
		return err
	}
	return os.Rename(making, h.data)
}

func (h *home) initdb(ctx context.Context, data, secret string) error {
	args := []string{
		"--pgdata=" + data, "--username=" + userName, "--pwfile=" + secret, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C",
	}
	if h.fast {
		args = append(args, "--no-sync")
	}
	p, err := h.run(zap.NewNop(), h.binaries.initdb(), args...)
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("initdb: %w", context.Cause(ctx))
	}
	if p.err != nil {
		return fmt.Errorf("initdb: %w", errors.Join(p.err, p.lastWords()))
	}
	return nil
}

func (h *home) start(port int, log *zap.Logger) (*process, error) {
	settings := []string{
		"listen_addresses=" + ports.Loopback, fmt.Sprintf("port=%d", port), "unix_socket_directories=",
		"logging_collector=off", "log_destination=stderr", "log_line_prefix=", "lc_messages=C",
		"max_connections=200", "jit=off",
	}
	if h.fast {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off",
			"wal_level=minimal", "max_wal_senders=0")
	}
	args := []string{"-D", h.data}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return h.run(log, h.binaries.postgres(), args...)
}

func (h *home) run(log *zap.Logger, program string, args ...string) (*process, error) {
	return startProcess(h.root, h.account, log, program, args...)
}

// loadPassword reads the password in dir, or makes one up.
func loadPassword(dir string) (string, error) {
	path := filepath.Join(dir, "password")
	text, err := os.ReadFile(path)
	if password := strings.TrimSpace(string(text)); err == nil && password != "" {
		return password, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if _, err = os.Lstat(filepath.Join(dir, "data")); err == nil {
		return "", fmt.Errorf("%s is missing, and without it nobody gets into the data beside it: restore it, or remove %s", path, dir)
	}
	password := rand.Text()
	return password, os.WriteFile(path, []byte(password+"\n"), 0o600)
}
