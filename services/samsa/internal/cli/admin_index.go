package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/service"

	"github.com/samsa-io/samsa/services/compactor/survey"
)

// indexTimeout bounds a call on the index: replacing a large one takes its time.
const indexTimeout = 6 * time.Hour

// backend is the servers behind a cluster, which some admin commands go to
// themselves.
type backend struct {
	config   service.Config
	folder   string // of a samsa dev; empty: none
	parallel int

	store   objstore.Store
	cluster objstore.Cluster
	pool    *pgxpool.Pool
}

func newBackend(c *cobra.Command) *backend {
	b := &backend{config: service.Default(), parallel: 16}
	c.Flags().StringVar(&b.folder, "data-dir", "", "`folder` of a samsa dev, in place of storage.url and database.url")
	c.Flags().IntVar(&b.parallel, "parallel", b.parallel, "objects read at `once`")
	config.AddFlags(c.Flags(), b.sections())
	return b
}

func (b *backend) sections() []config.Section {
	var out []config.Section
	for _, s := range b.config.Sections() {
		if s.Name == "storage" || s.Name == "database" {
			out = append(out, s)
		}
	}
	return out
}

// foreign is the sections of a file that these commands do not look at.
func (b *backend) foreign() []string {
	out := service.Foreign()
	for _, s := range b.config.Sections() {
		if s.Name != "storage" && s.Name != "database" {
			out = append(out, s.Name)
		}
	}
	return out
}

// open reads the configuration and connects; without database it leaves that out.
func (b *backend) open(c *cobra.Command, database, readOnly bool) (err error) {
	if b.parallel < 1 {
		return usagef("--parallel %d: want 1 or more", b.parallel)
	}
	if _, err = loadConfig(c, b.sections(), b.foreign()); err != nil {
		return err
	}
	if b.folder != "" {
		if err = b.pointToDev(); err != nil {
			return err
		}
	}
	if b.store, b.cluster, err = service.OpenStore(c.Context(), b.config.Storage); err != nil || !database {
		return err
	}
	b.pool, err = service.OpenDatabase(c.Context(), b.config.Database, readOnly)
	return err
}

func (b *backend) pointToDev() error {
	folder, err := filepath.Abs(b.folder)
	if err != nil {
		return err
	}
	b.config.Storage.URL = "file://" + filepath.Join(folder, "store")
	b.config.Database.URL, err = postgres.URLOf(filepath.Join(folder, "postgres"))
	if err != nil {
		return fmt.Errorf("--data-dir %s: it is no samsa dev's: %w", b.folder, err)
	}
	return nil
}

func (b *backend) close() {
	if b.store != nil {
		_ = objstore.Close(b.store)
	}
	if b.pool != nil {
		b.pool.Close()
	}
}

func (b *backend) survey() *survey.Survey { return survey.New(b.store, b.cluster.Shards, b.parallel) }

// showSurvey shows how far one is, on a terminal.
func (a *app) showSurvey(s *survey.Survey) (stop func()) {
	return a.progress(false, func() string {
		return fmt.Sprintf("%s: %s objects, %s", s.Progress.Phase(), grouped(s.Progress.Objects()), mebibytes(s.Progress.Bytes()))
	})
}

// finding is a row of what verify and rebuild-index report.
type finding struct {
	Kind     string  `json:"kind"`
	Key      string  `json:"key,omitempty"`
	Offset   *uint64 `json:"offset,omitempty"`
	StreamID string  `json:"stream_id,omitempty"`
	Bucket   string  `json:"bucket,omitempty"`
	Stream   string  `json:"stream,omitempty"`
	First    *uint64 `json:"first_seq_num,omitempty"`
	Next     *uint64 `json:"next_seq_num,omitempty"`
	What     string  `json:"what"`
	Remedy   string  `json:"remedy"`
}

func newFinding(f survey.Finding) finding {
	out := finding{Kind: string(f.Kind), Key: f.Key, Bucket: f.Name.Bucket, Stream: f.Name.Stream, What: f.What, Remedy: f.Remedy}
	if f.Offset > 0 {
		out.Offset = &f.Offset
	}
	if !f.Stream.IsZero() {
		first, next := uint64(f.First), uint64(f.Next)
		out.StreamID, out.First, out.Next = f.Stream.String(), &first, &next
	}
	return out
}

func (f finding) cells() []string {
	where, records := orDash(f.Key), "-"
	if f.Offset != nil {
		where = fmt.Sprintf("%s at %d", f.Key, *f.Offset)
	}
	if f.First != nil {
		name := f.StreamID
		if f.Stream != "" {
			name = f.Bucket + "/" + f.Stream
		}
		records = fmt.Sprintf("%s %d to %d", name, *f.First, *f.Next-1)
	}
	return []string{f.Kind, where, records, f.What, f.Remedy}
}

func findingHead() []string { return []string{"KIND", "OBJECT", "RECORDS", "WHAT", "REMEDY"} }

func (a *app) adminVerify() *cobra.Command {
	var b *backend
	var f *format
	storeOnly := false
	c := command("verify", "Check every byte of the object store, and the chunk index against it",
		"  samsa admin verify --config deploy/config/production.toml\n  samsa admin verify --data-dir .samsa --format json", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error { return a.verify(c, b, f, storeOnly) })
	c.Long = "Reads all objects, checks every checksum, that the chains are whole, that no record is missing between\n" +
		"a stream's trim point and its tail, and that the chunk index says what the objects say. It goes to the\n" +
		"store and to Postgres itself, with the services' configuration, while they work or not. It changes nothing\n" +
		"and needs no right to.\n\n" +
		"Exit code 1 if there is damage. Orphans, which take room and do no harm, are told alone."
	c.Flags().BoolVar(&storeOnly, "store-only", false, "leave the chunk index out, as when Postgres is lost")
	f = tableFormat(c.Flags())
	b = newBackend(c)
	return c
}

func (a *app) verify(c *cobra.Command, b *backend, f *format, storeOnly bool) error {
	defer b.close()
	if err := b.open(c, !storeOnly, true); err != nil {
		return err
	}
	s := b.survey()
	var index survey.Readable
	if !storeOnly {
		index = chunkindex.New(b.pool, 0)
	}
	p := newPrinter(a.Out, f, findingHead())
	var printErr error
	stop := a.showSurvey(s)
	seen, err := s.Verify(c.Context(), index, func(found survey.Finding) {
		printErr = errors.Join(printErr, p.print(newFinding(found)))
	})
	stop()
	if seen.Damaged+seen.Orphans > 0 {
		printErr = errors.Join(printErr, p.flush())
	}
	if err = errors.Join(err, printErr); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.Err, "Looked at %s objects (%s): %s epochs of %d shards, %s states, %s slots of %s logs, %s chunks in %s objects, %s streams.\n",
		grouped(s.Progress.Objects()), mebibytes(s.Progress.Bytes()), count(seen.Epochs), seen.Shards, count(seen.States),
		count(seen.Slots), count(seen.Logs), count(seen.Chunks), count(seen.ChunkObjects), count(seen.Streams))
	if seen.Damaged > 0 {
		return fmt.Errorf("%w: %d findings, and %d orphans", survey.ErrDamaged, seen.Damaged, seen.Orphans)
	}
	_, _ = fmt.Fprintf(a.Err, "No damage, %d orphans.\n", seen.Orphans)
	return nil
}

func count(n int) string { return grouped(uint64(n)) }

func (a *app) adminRebuildIndex() *cobra.Command {
	var b *backend
	var f *format
	c := command("rebuild-index", "Make the chunk index again from the object store",
		"  samsa admin rebuild-index --config deploy/config/production.toml\n  samsa admin rebuild-index --data-dir .samsa", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error { return a.rebuildIndex(c, b, f) })
	c.Long = "Replaces the chunk index in Postgres by what the object store says, as after Postgres was lost or put\n" +
		"back to an older backup. Compactors stop what they do first, and go on afterwards; appends and reads go on\n" +
		"all the time. It may be interrupted and started again: the index is replaced at once, at the end.\n" +
		"Compactors that find the index behind the store do the same by themselves.\n\n" +
		"Streams that the catalog lost come back into buckets that it has; buckets and access tokens come from a\n" +
		"backup of Postgres. Exit code 1 if objects are damaged or missing, which is told; what nothing else holds of them stays in the index, for when they are put back."
	f = tableFormat(c.Flags())
	b = newBackend(c)
	return c
}

func (a *app) rebuildIndex(c *cobra.Command, b *backend, f *format) error {
	defer b.close()
	if err := b.open(c, true, false); err != nil {
		return err
	}
	if err := errors.Join(catalog.Migrate(c.Context(), b.pool), chunkindex.Migrate(c.Context(), b.pool)); err != nil {
		return err
	}
	names := catalog.New(b.pool, catalog.Options{Timeout: indexTimeout})
	if err := names.CheckCluster(c.Context(), b.cluster.ID.String()); err != nil {
		return err
	}
	s := b.survey()
	stop := a.showSurvey(s)
	report, err := s.Rebuild(c.Context(), chunkindex.New(b.pool, indexTimeout), names, "samsa admin rebuild-index is at work")
	stop()
	if err != nil {
		return a.explainRebuild(c.Context(), err)
	}
	if len(report.Damage) > 0 {
		if err := list(a.Out, f, findingHead(), all(report.Damage, newFinding)); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(a.Err, "The chunk index has %s chunks in %s objects, of %s streams, from %s logs; %s logs are gone for good.\n",
		count(report.Chunks), count(report.Objects), count(len(report.Known.Alive)), count(report.Logs), count(report.Collected))
	restored := report.Catalog
	_, _ = fmt.Fprintf(a.Err, "The catalog got %d streams back, newer settings of %d, and the end of %d and of %d buckets.\n",
		restored.Added+restored.Replaced, restored.Reconfigured, restored.Deleting, restored.DeletingBuckets)
	for _, name := range restored.Homeless {
		_, _ = fmt.Fprintf(a.Err, "Stream %s/%s stands in the store, but the catalog has no such bucket, or another stream of that name: restore the catalog from a newer backup.\n", name.Bucket, name.Stream)
	}
	if len(report.Damage) > 0 {
		return fmt.Errorf("%w: %d objects are damaged or missing", survey.ErrDamaged, len(report.Damage))
	}
	return nil
}

func (a *app) explainRebuild(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, chunkindex.ErrRebuilding):
		return fmt.Errorf("%w already, by a compactor or by another samsa admin rebuild-index: wait for it", chunkindex.ErrRebuilding)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted, nothing was replaced: run it again, or leave it to the compactors (%w)", err)
	}
	return err
}
