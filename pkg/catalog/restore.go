package catalog

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Known is what the object store tells of streams and buckets.
type Known struct {
	Alive       []Stream
	Dead        []stream.ID // streams that have ended
	DeadBuckets []stream.ID
}

// Restored says what RestoreStreams has done.
type Restored struct {
	Added, Reconfigured, Deleting, DeletingBuckets int
	// Homeless are streams whose bucket the catalog does not have, or whose name it
	// has for another stream.
	Homeless []stream.Name
}

// restoreAtOnce is how many streams one transaction takes on.
const restoreAtOnce = 500

// RestoreStreams brings a catalog that was put back to an older backup up to what
// the owners of the shards know: streams that it lost are added to the buckets that
// it has, newer configurations are taken over, and the deletion of dead streams and
// buckets that it still has begins again. What is known may be older than the catalog:
// a stream that has ended since stays so. It may be called any number of times.
func (c *Catalog) RestoreStreams(ctx context.Context, known Known) (out Restored, err error) {
	for some := range slices.Chunk(known.DeadBuckets, restoreAtOnce) {
		begun, err := c.restoreEnds(ctx, "delete dead buckets", beginBuckets, some)
		if err != nil {
			return out, err
		}
		out.DeletingBuckets += begun
	}
	for some := range slices.Chunk(known.Dead, restoreAtOnce) {
		begun, err := c.restoreEnds(ctx, "delete dead streams", beginStreams, some)
		if err != nil {
			return out, err
		}
		out.Deleting += begun
	}
	for some := range slices.Chunk(known.Alive, restoreAtOnce) {
		var done Restored
		err := c.transact(ctx, "restore streams", func(ctx context.Context, tx pgx.Tx) error {
			done = out // it may run again
			return done.restore(ctx, tx, some)
		})
		if err != nil {
			return out, err
		}
		out = done
	}
	return out, nil
}

// Begin the deletion of what is known to be dead, and count it.
const (
	beginBuckets = `WITH begun AS (UPDATE buckets SET state = 'deleting', deleted_at = now(), retry_at = now()
			WHERE id = ANY($1::uuid[]) AND state = 'active' RETURNING id)
		SELECT count(*) FROM begun`
	beginStreams = `WITH begun AS (UPDATE streams SET state = 'deleting', deleted_at = now(), retry_at = now()
			WHERE id = ANY($1::uuid[]) AND state = 'active' RETURNING id),
		ended AS (INSERT INTO ended_streams SELECT DISTINCT unnest($1::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING)
		SELECT count(*) FROM begun`
)

func (c *Catalog) restoreEnds(ctx context.Context, operation, begin string, dead []stream.ID) (begun int, err error) {
	err = c.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, begin, uuids(dead)).Scan(&begun)
	})
	return begun, err
}

func uuids(ids []stream.ID) [][16]byte {
	out := make([][16]byte, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}

func (r *Restored) restore(ctx context.Context, tx pgx.Tx, streams []Stream) error {
	const upsert = `WITH home AS (SELECT id FROM buckets WHERE id = $2 AND state = 'active'),
		added AS (INSERT INTO streams (id, bucket_id, name, config_version, applied_version,
				storage_class, timestamping_mode, allow_future_timestamps, retention_seconds, delete_on_empty_seconds)
			SELECT $1, home.id, $3, $4, $4, $5, $6, $7, $8, $9 FROM home
			WHERE NOT EXISTS (SELECT FROM streams WHERE id = $1) AND NOT EXISTS (SELECT FROM ended_streams WHERE id = $1)
			ON CONFLICT (bucket_id, name) DO NOTHING RETURNING id),
		changed AS (UPDATE streams SET config_version = $4, applied_version = $4,
				storage_class = $5, timestamping_mode = $6, allow_future_timestamps = $7, retention_seconds = $8, delete_on_empty_seconds = $9
			WHERE id = $1 AND config_version < $4 RETURNING id)
		SELECT EXISTS (SELECT FROM added), EXISTS (SELECT FROM changed),
			EXISTS (SELECT FROM streams WHERE id = $1) OR EXISTS (SELECT FROM ended_streams WHERE id = $1)`
	batch := &pgx.Batch{}
	for i := range streams {
		s := &streams[i]
		args := append([]any{[16]byte(s.ID), [16]byte(s.BucketID), s.Name.Stream, int64(max(s.ConfigVersion, 1))}, configArgs(s.Config)...)
		batch.Queue(upsert, args...)
	}
	results := tx.SendBatch(ctx, batch)
	defer results.Close()
	for i := range streams {
		var added, changed, there bool
		if err := results.QueryRow().Scan(&added, &changed, &there); err != nil {
			return err
		}
		switch {
		case added:
			r.Added++
		case changed:
			r.Reconfigured++
		case !there:
			r.Homeless = append(r.Homeless, streams[i].Name)
		}
	}
	return nil
}
