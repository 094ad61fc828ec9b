package catalog

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Wanted is a stream that somebody asks for.
type Wanted struct {
	Name stream.Name
	// Cause has a missing stream created, if its bucket allows that; 0: it is only
	// looked up.
	Cause Cause
}

// Ensured is what became of a Wanted: the active stream, or ErrNotFound or
// ErrDeleting, of the bucket or of the stream.
type Ensured struct {
	Stream Stream
	Err    error
}

// EnsureStreams finds streams, and creates the missing ones that are to be, all in
// one or two transactions however many they are. What it returns is in the order of
// wanted. An error says that none was dealt with, or maybe all.
func (c *Catalog) EnsureStreams(ctx context.Context, wanted []Wanted) ([]Ensured, error) {
	e := &ensuring{wanted: wanted, found: make([]pair, len(wanted))}
	if err := c.read(ctx, "look up streams", func(ctx context.Context, db queryer) error { return e.look(ctx, db) }); err != nil {
		return nil, err
	}
	if len(e.missing()) > 0 {
		var made []Stream
		err := c.transact(ctx, "create streams", func(ctx context.Context, tx pgx.Tx) (err error) {
			made, err = e.create(ctx, tx)
			return err
		})
		if err != nil {
			return nil, err
		}
		for i := range made {
			c.streamChanged(ctx, made[i].Name)
		}
	}
	return e.results(), nil
}

// pair is a bucket and a stream in it; both may be missing.
type pair struct {
	stream Stream
	bucket Bucket
}

// ensuring is a number of streams that are looked up and created together.
type ensuring struct {
	wanted []Wanted
	found  []pair // of each
}

// look finds what there is.
func (e *ensuring) look(ctx context.Context, db queryer) error {
	// OFFSET 0 has each stream looked up in the index. Left to itself the planner
	// compares all with all as long as it has no statistics of a table that grows.
	const query = `SELECT w.n, ` + bucketColumns + `, ` + streamColumns + `
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(bucket, stream, n)
		JOIN buckets b ON b.name = w.bucket
		LEFT JOIN LATERAL (SELECT * FROM streams WHERE bucket_id = b.id AND name = w.stream OFFSET 0) s ON true`
	var buckets, streams []string
	for _, w := range e.wanted {
		buckets, streams = append(buckets, w.Name.Bucket), append(streams, w.Name.Stream)
	}
	clear(e.found)
	rows, err := db.Query(ctx, query, buckets, streams)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var n int64
		var p pair
		var b bucketRow
		var s streamRow
		err := row.Scan(append([]any{&n}, append(bucketTargets(&p.bucket, &b), s.targets()...)...)...)
		b.fill(&p.bucket)
		p.stream = s.stream(p.bucket.Name)
		if err == nil {
			e.found[n-1] = p
		}
		return struct{}{}, err
	})
	return err
}

// missing is the wanted streams that are to be created, by name.
func (e *ensuring) missing() []int {
	var out []int
	for i := range e.wanted {
		b := e.found[i].bucket
		if e.found[i].stream.ID.IsZero() && b.State == StateActive && e.wanted[i].Cause.allowedBy(b) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(i, j int) int {
		a, b := e.wanted[i].Name, e.wanted[j].Name
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Stream, b.Stream))
	})
	return slices.CompactFunc(out, func(i, j int) bool { return e.wanted[i].Name == e.wanted[j].Name })
}

// create makes the missing streams. Buckets are locked first, then streams appear in
// the order of their names, so that two who create the same ones don't wait for each
// other.
func (e *ensuring) create(ctx context.Context, tx pgx.Tx) ([]Stream, error) {
	if err := e.lockBuckets(ctx, tx); err != nil {
		return nil, err
	}
	if err := e.look(ctx, tx); err != nil { // as the buckets are now
		return nil, err
	}
	const insert = `INSERT INTO streams AS s (id, bucket_id, name,
			storage_class, timestamping_mode, allow_future_timestamps, retention_seconds, delete_on_empty_seconds)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::smallint[], $6::boolean[], $7::bigint[], $8::bigint[])
		ON CONFLICT (bucket_id, name) DO NOTHING
		RETURNING ` + streamColumns + `, (SELECT b.name FROM buckets b WHERE b.id = s.bucket_id)`
	rows, err := tx.Query(ctx, insert, e.columns(e.missing())...)
	if err != nil {
		return nil, err
	}
	made, err := pgx.CollectRows(rows, scanStream)
	if err != nil {
		return nil, err
	}
	return made, e.look(ctx, tx)
}

func (e *ensuring) lockBuckets(ctx context.Context, tx pgx.Tx) error {
	var names []string
	for _, i := range e.missing() {
		names = append(names, e.wanted[i].Name.Bucket)
	}
	_, err := tx.Exec(ctx, "SELECT FROM buckets WHERE name = ANY($1::text[]) ORDER BY name"+forCreating, slices.Compact(names))
	return err
}

// columns is the rows of new streams, column by column.
func (e *ensuring) columns(missing []int) []any {
	n := len(missing)
	ids, buckets, names := make([][16]byte, n), make([][16]byte, n), make([]string, n)
	classes, modes, future := make([]int16, n), make([]int16, n), make([]bool, n)
	retentions, empties := make([]int64, n), make([]int64, n)
	for to, i := range missing {
		b := e.found[i].bucket
		config := settings.Stream{}.Resolve(b.Settings.NewStreamConfig())
		ids[to], buckets[to], names[to] = stream.NewID(), b.ID, e.wanted[i].Name.Stream
		classes[to], modes[to], future[to] = int16(config.StorageClass), int16(config.TimestampingMode), config.AllowFutureTimestamps
		retentions[to], empties[to] = int64(config.RetentionSeconds), int64(config.DeleteOnEmptySeconds)
	}
	return []any{ids, buckets, names, classes, modes, future, retentions, empties}
}

func (e *ensuring) results() []Ensured {
	out := make([]Ensured, len(e.wanted))
	for i, w := range e.wanted {
		p := e.found[i]
		err := checkBucket(p.bucket, !p.bucket.ID.IsZero(), w.Name.Bucket)
		if err == nil {
			err = checkStream(p.stream, w.Name)
		}
		out[i] = Ensured{Stream: p.stream, Err: err}
	}
	return out
}
