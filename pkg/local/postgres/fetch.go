package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// fetchable are the versions to fetch for data of a major version; 0: new data.
//
//nolint:gochecknoglobals // a table
var fetchable = map[int]embeddedpostgres.PostgresVersion{
	0:  embeddedpostgres.V18,
	18: embeddedpostgres.V18,
	17: embeddedpostgres.V17,
	16: embeddedpostgres.V16,
	15: embeddedpostgres.V15,
	14: embeddedpostgres.V14,
	13: embeddedpostgres.V13,
}

func fetchedFolder(root string) string { return filepath.Join(root, "binaries", "bin") }

// fetch downloads the programs and unpacks them beside the data, where the user
// that runs them can reach them.
func fetch(ctx context.Context, o Options, h *home, major int) (binaries, error) {
	version, ok := fetchable[major]
	if !ok {
		return binaries{}, errors.New("there is none to fetch")
	}
	if err := reachable(ctx, o.Repository); err != nil {
		return binaries{}, err
	}
	o.Log.Info("fetching PostgreSQL: the machine has none", zap.String("version", string(version)), zap.String("from", o.Repository))
	unpacked := filepath.Join(h.root, "binaries.new")
	if err := download(ctx, o.Repository, version, unpacked); err != nil {
		return binaries{}, err
	}
	final := filepath.Dir(fetchedFolder(h.root))
	if err := errors.Join(os.RemoveAll(final), os.Rename(unpacked, final)); err != nil {
		return binaries{}, err
	}
	return inspect(fetchedFolder(h.root))
}

// reachable finds out in good time that there is no way to the repository: the
// download itself has no time limit.
func reachable(ctx context.Context, repository string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, repository+"/", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// download uses as much of embedded-postgres as is of use here. Its Start
// downloads, checks and unpacks the programs into dir, then would run a server
// in its own way, which cannot drop root's rights: a data folder that cannot be
// removed (its name ends in a dot) stops it there, whether or not the download
// went well. So what counts is what it left.
func download(ctx context.Context, repository string, version embeddedpostgres.PostgresVersion, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	port, err := ports.Free() // Start wants one
	if err != nil {
		return err
	}
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).BinaryRepositoryURL(repository).CachePath(archiveFolder()).
		Port(uint32(port)).RuntimePath(dir).BinariesPath(dir).DataPath(dir + "/none/.").Logger(io.Discard))
	done := make(chan error, 1) // the library cannot be interrupted
	go func() { done <- library.Start() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if _, missing := inspect(filepath.Join(dir, "bin")); missing != nil {
		return fmt.Errorf("%w (%w)", err, missing)
	}
	return nil
}

// archiveFolder keeps what was downloaded for other data folders.
func archiveFolder() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "samsa", "postgres")
}
