// Package history finds records that a shard's owner no longer has in memory: in the
// chunk index, and where that does not know them in the footers of segments.
//
// Records move from segments into chunks, and from chunks into others, while they
// are read. Objects never change, so what was found once stays right until the
// object is deleted; a reader that meets a missing object calls Forget and looks
// again. Slots are deleted only after their records are in the index, so what
// footers cannot find any more the index can.
//
// An index that was lost, or put back to an older backup, does not know where the
// records of collected logs went until it is rebuilt: an *UnavailableError as well.
//
// Without Postgres the chunks that are cached and the footers that stand go on being
// found; what is in chunks alone is an *UnavailableError until Postgres is back.
//
// The stream-reader reads by it, the stream-writer finds by it what has expired.
package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Chunks is the chunk index; see chunkindex.DB.
type Chunks interface {
	Find(ctx context.Context, id stream.ID, from stream.SeqNum, limit int) ([]chunkindex.Chunk, error)
	FindTimestamp(ctx context.Context, id stream.ID, t uint64, limit int) ([]chunkindex.Chunk, error)
}

// Footers finds blocks in segments; see logindex.Locator.
type Footers interface {
	Find(ctx context.Context, target logindex.Target, from stream.SeqNum, maxBytes uint64) ([]logindex.Block, error)
	FindTimestamp(ctx context.Context, target logindex.Target, t uint64, maxBytes uint64) ([]logindex.Block, error)
}

// UnavailableError says that records may be in chunks, but the chunk index does not
// tell in which, for now.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the records are in chunks, and the chunk index does not tell in which: %v", e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

const (
	// rowsAtOnce is how many chunks a lookup brings: at 256 KiB each enough for
	// seconds of catching up.
	rowsAtOnce = 64
	// restAfterFailure is for how long an index that failed is not asked, so that
	// reads which footers can serve do not wait for it.
	restAfterFailure = time.Second
)

// Locator finds blocks. It is safe for concurrent use.
type Locator struct {
	chunks  Chunks
	footers Footers
	cache   *runs

	mu     sync.Mutex
	failed time.Time // when the index failed last
	err    error
}

// New makes a Locator that keeps up to cacheBytes of the index in memory. Without
// chunks (nil) it finds what footers do.
func New(chunks Chunks, footers Footers, cacheBytes int64) *Locator {
	return &Locator{chunks: chunks, footers: footers, cache: newRuns(cacheBytes)}
}

// Forget drops what is known of a stream's chunks: one of them is not there.
func (l *Locator) Forget(id stream.ID) { l.cache.drop(id) }

// Find returns consecutive blocks, the first of which holds record from, until their
// stored bytes reach maxBytes; none if no durable record from is known.
// Errors: *UnavailableError, *logindex.DamageError, those of the store, and ctx's.
func (l *Locator) Find(ctx context.Context, target logindex.Target, from stream.SeqNum, maxBytes uint64) ([]logindex.Block, error) {
	return l.find(ctx,
		func(ctx context.Context) ([]logindex.Block, error) {
			return l.inChunks(ctx, target.Stream, from, maxBytes)
		},
		func() ([]logindex.Block, error) { return l.footers.Find(ctx, target, from, maxBytes) },
		func() { l.Forget(target.Stream) })
}

// FindTimestamp is Find of the first record whose timestamp is at least t; it lies
// in the first block returned.
func (l *Locator) FindTimestamp(ctx context.Context, target logindex.Target, t uint64, maxBytes uint64) ([]logindex.Block, error) {
	var guess []logindex.Block // the first in chunks; others may be older
	blocks, err := l.find(ctx,
		func(ctx context.Context) (blocks []logindex.Block, err error) {
			blocks, guess, err = l.atTimestamp(ctx, target.Stream, t, maxBytes)
			return blocks, err
		},
		func() ([]logindex.Block, error) { return l.footers.FindTimestamp(ctx, target, t, maxBytes) },
		func() { l.Forget(target.Stream) })
	if len(guess) > 0 && (logindex.Missing(err) || err == nil && (len(blocks) == 0 || guess[0].First < blocks[0].First)) {
		return guess, nil
	}
	return blocks, err
}

// find looks in chunks, then in footers, and in chunks again if a slot is gone:
// its records have been compacted since.
func (l *Locator) find(
	ctx context.Context, inChunks func(context.Context) ([]logindex.Block, error), inFooters func() ([]logindex.Block, error), forget func(),
) ([]logindex.Block, error) {
	blocks, indexErr := inChunks(ctx)
	if len(blocks) > 0 || ctx.Err() != nil {
		return blocks, ctx.Err()
	}
	blocks, err := inFooters()
	if !logindex.Missing(err) && (len(blocks) > 0 || err != nil || indexErr == nil) {
		return blocks, err
	}
	if indexErr != nil {
		return nil, &UnavailableError{Err: indexErr}
	}
	forget()
	blocks, indexErr = inChunks(ctx)
	if len(blocks) > 0 {
		return blocks, nil
	}
	if indexErr != nil {
		return nil, &UnavailableError{Err: indexErr}
	}
	if collected(err) {
		// Its records were in the index before it went.
		return nil, &UnavailableError{Err: fmt.Errorf("it does not know what was in a slot that is compacted; it may be behind the object store: %w", err)}
	}
	return nil, err
}

func collected(err error) bool {
	var damage *logindex.DamageError
	return errors.As(err, &damage) && damage.Collected
}

func (l *Locator) inChunks(ctx context.Context, id stream.ID, from stream.SeqNum, maxBytes uint64) ([]logindex.Block, error) {
	if run := l.cache.from(id, from); run != nil {
		return asBlocks(run, maxBytes), nil
	}
	rows, err := l.ask(ctx, func(ctx context.Context) ([]chunkindex.Chunk, error) { return l.chunks.Find(ctx, id, from, rowsAtOnce) })
	if err != nil || len(rows) == 0 || rows[0].First > from {
		return nil, err
	}
	rows = consecutive(rows)
	l.cache.put(id, rows)
	return asBlocks(rows, maxBytes), nil
}

// atTimestamp also gives a guess: blocks that hold the first such record of all
// chunks, while older records that are in no chunk may come before it.
func (l *Locator) atTimestamp(ctx context.Context, id stream.ID, t, maxBytes uint64) (blocks, guess []logindex.Block, err error) {
	rows, err := l.ask(ctx, func(ctx context.Context) ([]chunkindex.Chunk, error) {
		return l.chunks.FindTimestamp(ctx, id, t, rowsAtOnce)
	})
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	rows = consecutive(rows)
	found := asBlocks(rows, maxBytes)
	exact := rows[0].First == 0 || rows[0].FirstTimestamp < t
	if !exact {
		// The chunk before it, if it ends there, is all older than t.
		before, err := l.ask(ctx, func(ctx context.Context) ([]chunkindex.Chunk, error) {
			return l.chunks.Find(ctx, id, rows[0].First-1, 1)
		})
		if err != nil {
			return nil, nil, err
		}
		exact = len(before) == 1 && before[0].Next() == rows[0].First
	}
	if !exact {
		return nil, found, nil
	}
	l.cache.put(id, rows)
	return found, nil, nil
}

// ask asks the index, unless it failed a moment ago.
func (l *Locator) ask(ctx context.Context, ask func(context.Context) ([]chunkindex.Chunk, error)) ([]chunkindex.Chunk, error) {
	if l.chunks == nil {
		return nil, nil
	}
	l.mu.Lock()
	err, failed := l.err, l.failed
	l.mu.Unlock()
	if err != nil && time.Since(failed) < restAfterFailure {
		return nil, err
	}
	rows, err := ask(ctx)
	if ctx.Err() == nil {
		l.mu.Lock()
		l.err, l.failed = err, time.Now()
		l.mu.Unlock()
	}
	return rows, err
}

// consecutive cuts chunks off at the first gap.
func consecutive(chunks []chunkindex.Chunk) []chunkindex.Chunk {
	n := 1
	for n < len(chunks) && chunks[n].First == chunks[n-1].Next() {
		n++
	}
	return chunks[:n]
}

func asBlocks(chunks []chunkindex.Chunk, maxBytes uint64) []logindex.Block {
	var out []logindex.Block
	var bytes uint64
	for i := range chunks {
		if i > 0 && bytes >= maxBytes {
			break
		}
		out = append(out, logindex.ChunkBlock(chunks[i].Object, chunks[i].BlockRef))
		bytes += uint64(chunks[i].Stored)
	}
	return out
}
