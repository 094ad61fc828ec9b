package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binary gives the path of versitygw, and builds it if need be.
func Binary(ctx context.Context) (string, error) {
	if path := os.Getenv("SAMSA_VERSITYGW"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("SAMSA_VERSITYGW = %q: %w: name the versitygw binary, or unset it to have one built", path, err)
		}
		return path, nil
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "versitygw")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, build(ctx, root)
}

// repositoryRoot is the nearest folder above the working directory with a go.work.
func repositoryRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.work")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", errors.New("no versitygw: set SAMSA_VERSITYGW to its path, or run inside Samsa's repository, where it is built")
		}
	}
}

// build puts the binary in place with one rename, since several tests may build
// it at once.
func build(ctx context.Context, root string) error {
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(bin, ".versitygw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(root, ".ci", "tools", "s3"), "-o", scratch+"/", "tool")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building versitygw from .ci/tools/s3: %w: %s", err, output)
	}
	return os.Rename(filepath.Join(scratch, "versitygw"), filepath.Join(bin, "versitygw"))
}
