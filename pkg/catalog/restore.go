package catalog

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"
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
	// Replaced are rows that were made anew for names of streams that live: no log
	// knows of the new ones, and the rows are the old ones' again.
	Replaced int
	// Homeless are streams whose bucket the catalog does not have, or whose name it
	// has for another stream that a log knows.
	Homeless []stream.Name
}

// Changed tells whether there was something to do.
func (r Restored) Changed() bool {
	return r.Added+r.Reconfigured+r.Deleting+r.DeletingBuckets+r.Replaced > 0
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
	inLog := known.ids()
	for some := range slices.Chunk(known.Alive, restoreAtOnce) {
		var done Restored
		err := c.transact(ctx, "restore streams", func(ctx context.Context, tx pgx.Tx) error {
			done = out // it may run again
			taken, err := done.restore(ctx, tx, some)
			if err != nil {
				return err
			}
			return done.replace(ctx, tx, taken, inLog)
		})
		if err != nil {
			return out, err
		}
		out = done
	}
	return out, nil
}

// Behind tells whether RestoreStreams would have something to do: a catalog that was not
// put back knows of every stream before its shard does, and forgets none before it has
// ended. What is known may be older than the catalog.
func (c *Catalog) Behind(ctx context.Context, known Known) (bool, error) {
	for some := range slices.Chunk(known.Alive, lookAtOnce) {
		ids, buckets, versions := make([][16]byte, len(some)), make([][16]byte, len(some)), make([]int64, len(some))
		for i := range some {
			ids[i], buckets[i], versions[i] = some[i].ID, some[i].BucketID, int64(some[i].ConfigVersion)
		}
		if behind, err := c.exists(ctx, lost, ids, buckets, versions); err != nil || behind {
			return behind, err
		}
	}
	for some := range slices.Chunk(known.Dead, lookAtOnce) {
		if behind, err := c.exists(ctx, "SELECT FROM streams WHERE id = ANY($1::uuid[]) AND state = 'active'", uuids(some)); err != nil || behind {
			return behind, err
		}
	}
	return c.exists(ctx, "SELECT FROM buckets WHERE id = ANY($1::uuid[]) AND state = 'active'", uuids(known.DeadBuckets))
}

// lookAtOnce is how many streams are looked up by one statement.
const lookAtOnce = 10_000

// lost selects the streams that live, and that the catalog has not, or only older.
const lost = `SELECT FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS k(id, bucket_id, version)
	LEFT JOIN LATERAL (SELECT * FROM streams WHERE id = k.id OFFSET 0) s ON true
	WHERE s.config_version < k.version
		OR s.id IS NULL AND EXISTS (SELECT FROM buckets b WHERE b.id = k.bucket_id AND b.state = 'active')
			AND NOT EXISTS (SELECT FROM ended_streams e WHERE e.id = k.id)`

func (c *Catalog) exists(ctx context.Context, query string, args ...any) (found bool, err error) {
	err = c.read(ctx, "compare with the store", func(ctx context.Context, db queryer) error {
		return db.QueryRow(ctx, "SELECT EXISTS ("+query+")", args...).Scan(&found)
	})
	return found, err
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

// ids is all streams that the store knows.
func (k Known) ids() map[stream.ID]bool {
	ids := map[stream.ID]bool{}
	for i := range k.Alive {
		ids[k.Alive[i].ID] = true
	}
	for _, id := range k.Dead {
		ids[id] = true
	}
	return ids
}

// taking is a stream whose name the catalog has for another one.
type taking struct {
	Stream
	by stream.ID
}

// restore adds and reconfigures streams, and returns those whose names are taken.
func (r *Restored) restore(ctx context.Context, tx pgx.Tx, streams []Stream) (taken []taking, err error) {
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
			EXISTS (SELECT FROM streams WHERE id = $1) OR EXISTS (SELECT FROM ended_streams WHERE id = $1),
			(SELECT id FROM streams WHERE bucket_id = $2 AND name = $3)`
	batch := &pgx.Batch{}
	for i := range streams {
		s := &streams[i]
		batch.Queue(upsert, restoreArgs(s)...)
	}
	results := tx.SendBatch(ctx, batch)
	defer results.Close()
	for i := range streams {
		var added, changed, there bool
		var by zeronull.UUID
		if err := results.QueryRow().Scan(&added, &changed, &there, &by); err != nil {
			return nil, err
		}
		switch {
		case added:
			r.Added++
		case changed:
			r.Reconfigured++
		case there:
		case by != (zeronull.UUID{}):
			taken = append(taken, taking{streams[i], stream.ID(by)})
		default:
			r.Homeless = append(r.Homeless, streams[i].Name)
		}
	}
	return taken, nil
}

func restoreArgs(s *Stream) []any {
	return append([]any{[16]byte(s.ID), [16]byte(s.BucketID), s.Name.Stream, int64(max(s.ConfigVersion, 1))}, configArgs(s.Config)...)
}

// replace gives a name back to the stream that has it in its shard's log, if no log
// knows the one that was made of it in the catalog: that holds nothing. If that is
// being deleted the other one is from then on: it is what was meant.
func (r *Restored) replace(ctx context.Context, tx pgx.Tx, taken []taking, inLog map[stream.ID]bool) error {
	const replace = `UPDATE streams SET id = $1, config_version = $4, applied_version = $4,
			storage_class = $5, timestamping_mode = $6, allow_future_timestamps = $7, retention_seconds = $8, delete_on_empty_seconds = $9
		WHERE bucket_id = $2 AND name = $3 AND id = $10`
	for i := range taken {
		s := &taken[i]
		if inLog[s.by] {
			r.Homeless = append(r.Homeless, s.Name)
			continue
		}
		tag, err := tx.Exec(ctx, replace, append(restoreArgs(&s.Stream), [16]byte(s.by))...)
		if err != nil {
			return err
		}
		r.Replaced += int(tag.RowsAffected())
	}
	return nil
}
