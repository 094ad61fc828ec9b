package chunkindex_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/stream"
)

// race is transactions of which each begins when the ones before have ended, or wait
// for a lock.
type race struct {
	t     *testing.T
	pool  *pgxpool.Pool
	index *chunkindex.DB
	block pgx.Tx // what holds the first of them up
	begun int
	ended chan error
}

func newRace(t *testing.T) *race {
	pool := catalogtest.EmptyPool(t)
	require.NoError(t, chunkindex.Migrate(t.Context(), pool))
	r := &race{t: t, pool: pool, index: chunkindex.New(pool, 0), ended: make(chan error, 9)}
	require.NoError(t, r.index.Discover(t.Context(), []stream.Incarnation{logA, logB}, nil))
	return r
}

// hold has what comes to a lock wait until release.
func (r *race) hold(statement string, args ...any) {
	var err error
	r.block, err = r.pool.Begin(r.t.Context())
	require.NoError(r.t, err)
	_, err = r.block.Exec(r.t.Context(), statement, args...)
	require.NoError(r.t, err)
}

func (r *race) begin(do func(context.Context) error) {
	r.begun++
	go func() { r.ended <- do(r.t.Context()) }()
	require.Eventually(r.t, func() bool {
		var waiting int
		err := r.pool.QueryRow(r.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		return err == nil && waiting+len(r.ended) == r.begun
	}, 20*time.Second, time.Millisecond)
}

func (r *race) release() {
	require.NoError(r.t, r.block.Rollback(r.t.Context()))
	for range r.begun {
		require.NoError(r.t, <-r.ended)
	}
}

// publish makes an object with one chunk from the first slot of a log.
func (r *race) publish(ctx context.Context, log stream.Incarnation, id stream.ID, facts chunkindex.Facts) error {
	job := chunkindex.Job{Log: log, From: 0, To: 1}
	object, err := r.index.Begin(ctx, job)
	if err != nil {
		return err
	}
	return r.index.Publish(ctx, chunkindex.Publication{Object: object, Job: job, Chunks: []chunkindex.Chunk{chunk(id, object, 7)}, Facts: facts})
}

// requireNothingKept demands that after Drop there is no chunk of a stream.
func (r *race) requireNothingKept(id stream.ID) {
	_, err := r.index.Drop(r.t.Context(), 10)
	require.NoError(r.t, err)
	kept, err := r.index.Find(r.t.Context(), id, 0, 10)
	require.NoError(r.t, err)
	require.Empty(r.t, kept, "of a stream that was deleted")
}

var logB = stream.Incarnation{0xb}

func TestPublish_OfAStreamsBeginningAndOfItsBucketsEndAtOnceEndsTheStream(t *testing.T) {
	bucket := stream.ID{0xbb}
	begins := chunkindex.Facts{Opened: []chunkindex.Opening{{Stream: idA, Bucket: bucket}}}
	ends := chunkindex.Facts{BucketTombstones: []stream.ID{bucket}}
	for name, first := range map[string]chunkindex.Facts{"begins first": begins, "ends first": ends} {
		t.Run(name, func(t *testing.T) {
			r := newRace(t)
			r.hold("LOCK TABLE chunks")
			second := begins
			if len(first.Opened) > 0 {
				second = ends
			}
			r.begin(func(ctx context.Context) error { return r.publish(ctx, logA, idA, first) })
			r.begin(func(ctx context.Context) error {
				return r.index.Publish(ctx, chunkindex.Publication{Job: chunkindex.Job{Log: logB, From: 0, To: 1}, Facts: second})
			})
			r.release()
			r.requireNothingKept(idA)
		})
	}
}

// slowly is the index to which no limit can be seen before release: a statement has
// begun by then.
func (r *race) slowly() *chunkindex.DB {
	r.hold("SELECT pg_advisory_xact_lock(1)")
	_, err := r.pool.Exec(r.t.Context(), `CREATE SCHEMA slow;
		CREATE VIEW slow.stream_limits AS SELECT * FROM public.stream_limits WHERE pg_advisory_xact_lock_shared(1)::text IS NOT NULL`)
	require.NoError(r.t, err)
	config := r.pool.Config()
	config.ConnConfig.RuntimeParams["search_path"] = "slow, public"
	pool, err := pgxpool.NewWithConfig(r.t.Context(), config)
	require.NoError(r.t, err)
	r.t.Cleanup(pool.Close)
	return chunkindex.New(pool, 0)
}

func TestDrop_MissesNoChunksThatArePublishedMeanwhile(t *testing.T) {
	r := newRace(t)
	require.NoError(t, r.publish(t.Context(), logA, idB, chunkindex.Facts{Tombstones: []stream.ID{idA}}))
	slow := r.slowly()
	r.begin(func(ctx context.Context) error { _, err := slow.Drop(ctx, 10); return err })
	r.begin(func(ctx context.Context) error { return r.publish(ctx, logB, idA, chunkindex.Facts{}) })
	r.release()
	r.requireNothingKept(idA)
}

// A stream whose beginning was not compacted yet has no limit that Publish could lock.
func TestPublish_MakesDropLookAgainAtAStreamThatNobodyKnew(t *testing.T) {
	r := newRace(t)
	r.hold("LOCK TABLE chunks IN EXCLUSIVE MODE")
	r.begin(func(ctx context.Context) error { return r.publish(ctx, logA, idA, chunkindex.Facts{}) })
	r.begin(func(ctx context.Context) error {
		err := r.index.Publish(ctx, chunkindex.Publication{Job: chunkindex.Job{Log: logB, From: 0, To: 1}, Facts: chunkindex.Facts{Tombstones: []stream.ID{idA}}})
		if err == nil {
			_, err = r.index.Drop(ctx, 10)
		}
		return err
	})
	r.release()
	r.requireNothingKept(idA)
}
