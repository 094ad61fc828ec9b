package compaction

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Index is the chunk index; chunkindex.DB documents each call.
type Index interface {
	Enter(ctx context.Context) (leave func(), err error)
	Status(ctx context.Context) (chunkindex.Status, error)
	Halt(ctx context.Context, reason string) error

	Logs(ctx context.Context) ([]chunkindex.Log, error)
	Drained(ctx context.Context, age time.Duration) ([]chunkindex.Log, error)
	Heads(ctx context.Context) (map[stream.Shard]stream.Epoch, error)
	Discover(ctx context.Context, logs []stream.Incarnation, heads map[stream.Shard]stream.Epoch) error
	Seal(ctx context.Context, log stream.Incarnation, end stream.Slot) error
	MarkGone(ctx context.Context, log stream.Incarnation) error
	Collected(ctx context.Context, log stream.Incarnation) error

	Begin(ctx context.Context, job chunkindex.Job) (segment.ChunkID, error)
	Publish(ctx context.Context, p chunkindex.Publication) error
	Abandoned(ctx context.Context, age time.Duration) ([]chunkindex.Object, error)
	Dead(ctx context.Context, age time.Duration) ([]chunkindex.Object, error)
	Sparse(ctx context.Context, small int64, limit int) ([]chunkindex.Object, error)
	Removed(ctx context.Context, age time.Duration) ([]chunkindex.Object, error)
	Objects(ctx context.Context, ids []segment.ChunkID) ([]chunkindex.Object, error)
	Remove(ctx context.Context, id segment.ChunkID) (bool, error)
	Forget(ctx context.Context, id segment.ChunkID) error

	Tails(ctx context.Context, spans []chunkindex.Span) ([]chunkindex.Chunk, error)
	Still(ctx context.Context, chunks []chunkindex.Chunk) ([]chunkindex.Chunk, error)
	Limits(ctx context.Context, ids []stream.ID) (map[stream.ID]chunkindex.Limit, error)
	Cover(ctx context.Context, spans []chunkindex.Span) ([]segment.ChunkID, []chunkindex.Span, error)
	Drop(ctx context.Context, limit int) (int, error)
}

// Options are what a compactor goes by.
type Options struct {
	Shards     uint32
	JobBytes   int64 // of a job's records, about
	JobSlots   int   // of a job, at most
	ChunkBytes int   // at which chunks are cut, uncompressed
	// A log that is not sealed is left alone until there are LiveBytes to compact, or
	// its oldest slot is LiveAge old: small objects cost more than they are worth.
	LiveBytes int64
	LiveAge   time.Duration
	Grace     time.Duration // between the moment that something is not needed and its deletion
	Abandon   time.Duration // after which a pending object is taken for given up; longer than any job
	// A log that nobody owns or is Registered with is sealed when its newest slot is
	// SealAge old. 0: never.
	SealAge    time.Duration
	Registered func(log stream.Incarnation) bool
	Parallel   int // logs at once, and requests of the collector at once
	Now        func() time.Time
	// Mine tells which logs and objects this compactor works on, by any number that
	// is the same for everybody. Two that take the same one do no harm.
	Mine func(key uint32) bool
}

// Compactor compacts and collects. Compact and Collect may run at the same time.
type Compactor struct {
	store   objstore.Store
	index   Index
	options Options
	log     *zap.Logger
	metrics *Metrics
	chains  *chains
	walks   walks
	orphans orphanWatch
	backlog backlog
	listed  atomic.Bool // logs were listed
	missed  sync.Map    // ids of objects that were found to be missing
}

// New makes a Compactor.
func New(store objstore.Store, index Index, options Options, log *zap.Logger, metrics *Metrics) *Compactor {
	options.Parallel = max(options.Parallel, 1)
	return &Compactor{
		store: store, index: index, options: options, log: log, metrics: metrics,
		chains: newChains(store, options.Shards), walks: walks{all: map[stream.Incarnation]*walk{}},
	}
}

// Compact does what is there to be compacted: abandoned jobs, logs, sparse objects,
// chunks that need not be kept. One failed job does not keep others from being done.
// Errors: *chunkindex.BehindError, chunkindex.ErrRebuilding, *DamageError, those of
// the store and the index.
func (c *Compactor) Compact(ctx context.Context) error {
	return c.round(ctx, c.recover, c.discover, c.compactLogs, c.rewrite, c.drop)
}

// Collect deletes what has not been needed for a while. Errors as Compact's.
func (c *Compactor) Collect(ctx context.Context) error {
	return c.round(ctx, c.listLogs, c.collectLogs, c.collectObjects, c.collectStates, c.watchOrphans)
}

// round takes steps. Behind an index that is not to be trusted none is taken any
// more, by any compactor.
func (c *Compactor) round(ctx context.Context, steps ...func(context.Context) error) error {
	leave, err := c.index.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.audit(ctx); err != nil {
		return c.halted(ctx, err)
	}
	var failed []error
	for _, step := range steps {
		err := step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err = c.halted(ctx, err); isBehind(err) {
			return err
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// audit refuses an index that does not know of every chunk object. The list is only
// a quick way to find out: what is deleted is checked by itself.
func (c *Compactor) audit(ctx context.Context) error {
	status, err := c.index.Status(ctx)
	if err != nil {
		return err
	}
	if status.Behind != "" {
		return &chunkindex.BehindError{Reason: status.Behind}
	}
	for info, err := range c.store.List(ctx, segment.ChunkPrefix, segment.ChunkKey(status.Last)) {
		if err != nil {
			return err
		}
		id, ok := segment.ParseChunkKey(info.Key)
		if !ok || id <= status.Last {
			continue
		}
		// Others go on: the id may have been given out after the look.
		if status, err = c.index.Status(ctx); err != nil {
			return err
		}
		if id > status.Last {
			return behind("%s stands in the store, but the last object that the index knows is %d", info.Key, status.Last)
		}
	}
	return nil
}

// halted keeps everybody from working on an index that is behind.
func (c *Compactor) halted(ctx context.Context, err error) error {
	var b *chunkindex.BehindError
	if errors.As(err, &b) {
		return errors.Join(err, c.index.Halt(ctx, b.Reason))
	}
	return err
}

// each does something for every item that is this compactor's, some at once. It
// goes on after errors, but not behind an index that is not to be trusted.
func each[T any](ctx context.Context, c *Compactor, items []T, f func(context.Context, T) error) error {
	failed := make([]error, len(items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.options.Parallel)
	for i, item := range items {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			failed[i] = f(ctx, item)
			if isBehind(failed[i]) {
				return failed[i]
			}
			return nil
		})
	}
	err := group.Wait()
	return errors.Join(errors.Join(failed...), err)
}

// drop deletes the chunks that need not be kept.
func (c *Compactor) drop(ctx context.Context) error {
	const streamsAtOnce = 256
	for {
		looked, err := c.index.Drop(ctx, streamsAtOnce)
		if err != nil || looked < streamsAtOnce {
			return err
		}
	}
}
