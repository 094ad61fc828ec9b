package sim

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// database is the chunk index behind a connection that breaks. Only the world
// touches it.
type database struct {
	w       *World
	store   *store
	index   *chunkindex.Mem
	removed map[segment.ChunkID]bool // objects that an index let go
	backup  *chunkindex.Mem          // nil: none was made
}

// restore puts the index back to an earlier time, in which there may have been none.
func (d *database) restore() {
	d.w.stats.Restores++
	if d.backup == nil {
		d.index = chunkindex.NewMem(time.Now)
		return
	}
	d.index = d.backup.Backup()
}

func (d *database) objects(ids ...segment.ChunkID) []chunkindex.Object {
	objects, err := d.index.Objects(context.Background(), ids)
	d.w.mustf(err == nil, "%v", err)
	return objects
}

func (d *database) status() chunkindex.Status {
	status, err := d.index.Status(context.Background())
	d.w.mustf(err == nil, "%v", err)
	return status
}

// connection is the index as a process sees it.
type connection struct {
	d *database
	p *process
}

// query runs a transaction. It may never begin, and its commit's reply may get lost.
func query[T any](ctx context.Context, c connection, what string, do func(context.Context, *chunkindex.Mem) (T, error)) (T, error) {
	return ask(ctx, c.p, "queries "+what, func(reply func(T, error)) {
		w := c.d.w
		w.after(w.lag()/4, what, func() {
			w.stats.Queries++
			var v T
			if w.chance(2, &w.stats.LostRequests) {
				reply(v, chunkindex.ErrUnavailable)
				return
			}
			v, err := do(context.Background(), c.d.index)
			if w.chance(2, &w.stats.BrokenCommits) {
				var none T
				v, err = none, chunkindex.ErrUnavailable
			}
			w.after(w.lag()/4, what+" done", func() { reply(v, err) })
		})
	})
}

// change is query without a value.
func change(ctx context.Context, c connection, what string, do func(context.Context, *chunkindex.Mem) error) error {
	_, err := query(ctx, c, what, func(ctx context.Context, m *chunkindex.Mem) (struct{}, error) { return struct{}{}, do(ctx, m) })
	return err
}

type mem = *chunkindex.Mem

func (c connection) Status(ctx context.Context) (chunkindex.Status, error) {
	return query(ctx, c, "Status", func(ctx context.Context, m mem) (chunkindex.Status, error) { return m.Status(ctx) })
}

// Enter takes a lock that its process loses when it ends.
func (c connection) Enter(ctx context.Context) (leave func(), err error) {
	return c.lock(ctx, "Enter", mem.Enter)
}

// Exclude is as Enter.
func (c connection) Exclude(ctx context.Context) (release func(), err error) {
	return c.lock(ctx, "Exclude", mem.Exclude)
}

func (c connection) lock(ctx context.Context, what string, take func(mem, context.Context) (func(), error)) (func(), error) {
	return ask(ctx, c.p, "queries "+what, func(reply func(func(), error)) {
		w := c.d.w
		w.after(w.lag()/4, what, func() {
			w.stats.Queries++
			if c.p.dead {
				return
			}
			give, err := take(c.d.index, context.Background())
			if err == nil {
				give = sync.OnceFunc(give)
				c.p.locks = append(c.p.locks, give)
			}
			w.after(w.lag()/4, what+" done", func() { reply(give, err) })
		})
	})
}

func (c connection) Replace(ctx context.Context, r chunkindex.Rebuilt) error {
	return change(ctx, c, "Replace", func(ctx context.Context, m mem) error {
		c.d.w.stats.Rebuilds++
		return m.Replace(ctx, r)
	})
}

func (c connection) Halt(ctx context.Context, reason string) error {
	return change(ctx, c, "Halt "+reason, func(ctx context.Context, m mem) error { return m.Halt(ctx, reason) })
}

func (c connection) Logs(ctx context.Context) ([]chunkindex.Log, error) {
	return query(ctx, c, "Logs", func(ctx context.Context, m mem) ([]chunkindex.Log, error) { return m.Logs(ctx) })
}

func (c connection) Drained(ctx context.Context, age time.Duration) ([]chunkindex.Log, error) {
	return query(ctx, c, "Drained", func(ctx context.Context, m mem) ([]chunkindex.Log, error) { return m.Drained(ctx, age) })
}

func (c connection) Heads(ctx context.Context) (map[stream.Shard]stream.Epoch, error) {
	return query(ctx, c, "Heads", func(ctx context.Context, m mem) (map[stream.Shard]stream.Epoch, error) { return m.Heads(ctx) })
}

func (c connection) Discover(ctx context.Context, logs []stream.Incarnation, heads map[stream.Shard]stream.Epoch) error {
	return change(ctx, c, "Discover", func(ctx context.Context, m mem) error { return m.Discover(ctx, logs, heads) })
}

func (c connection) Seal(ctx context.Context, log stream.Incarnation, end stream.Slot) error {
	return change(ctx, c, fmt.Sprint("Seal ", log), func(ctx context.Context, m mem) error { return m.Seal(ctx, log, end) })
}

func (c connection) MarkGone(ctx context.Context, log stream.Incarnation) error {
	return change(ctx, c, "MarkGone", func(ctx context.Context, m mem) error { return m.MarkGone(ctx, log) })
}

func (c connection) Collected(ctx context.Context, log stream.Incarnation) error {
	c.d.w.post("collected", func() { c.d.w.stats.CollectedLogs++ })
	return change(ctx, c, "Collected", func(ctx context.Context, m mem) error { return m.Collected(ctx, log) })
}

func (c connection) Begin(ctx context.Context, job chunkindex.Job) (segment.ChunkID, error) {
	return query(ctx, c, fmt.Sprintf("Begin %s [%d, %d)", job.Log, job.From, job.To), func(ctx context.Context, m mem) (segment.ChunkID, error) { return m.Begin(ctx, job) })
}

func (c connection) Publish(ctx context.Context, p chunkindex.Publication) error {
	return change(ctx, c, fmt.Sprintf("Publish %d %s [%d, %d)", p.Object, p.Log, p.From, p.To), func(ctx context.Context, m mem) error { return c.d.publish(ctx, m, p) })
}

// publish wants the object to stand that is going to be in the index.
func (d *database) publish(ctx context.Context, m mem, p chunkindex.Publication) error {
	err := m.Publish(ctx, p)
	if err != nil {
		return err
	}
	d.w.stats.Published++
	if p.Object != 0 {
		key := segment.ChunkKey(p.Object)
		_, err := segment.VerifyChunks(d.store.body(key), nil)
		d.w.mustf(err == nil, "I8: the index names %s: %v", key, err)
	}
	return nil
}

func (c connection) Abandoned(ctx context.Context, age time.Duration) ([]chunkindex.Object, error) {
	return query(ctx, c, "Abandoned", func(ctx context.Context, m mem) ([]chunkindex.Object, error) { return m.Abandoned(ctx, age) })
}

func (c connection) Dead(ctx context.Context, age time.Duration) ([]chunkindex.Object, error) {
	return query(ctx, c, "Dead", func(ctx context.Context, m mem) ([]chunkindex.Object, error) { return m.Dead(ctx, age) })
}

func (c connection) Sparse(ctx context.Context, small int64, limit int) ([]chunkindex.Object, error) {
	return query(ctx, c, "Sparse", func(ctx context.Context, m mem) ([]chunkindex.Object, error) { return m.Sparse(ctx, small, limit) })
}

func (c connection) Removed(ctx context.Context, age time.Duration) ([]chunkindex.Object, error) {
	return query(ctx, c, "Removed", func(ctx context.Context, m mem) ([]chunkindex.Object, error) { return m.Removed(ctx, age) })
}

func (c connection) Objects(ctx context.Context, ids []segment.ChunkID) ([]chunkindex.Object, error) {
	return query(ctx, c, fmt.Sprint("Objects ", ids), func(ctx context.Context, m mem) ([]chunkindex.Object, error) { return m.Objects(ctx, ids) })
}

func (c connection) Page(ctx context.Context, after segment.ChunkID, limit int) ([]chunkindex.Object, error) {
	return query(ctx, c, fmt.Sprint("Page after ", after), func(ctx context.Context, m mem) ([]chunkindex.Object, error) { return m.Page(ctx, after, limit) })
}

func (c connection) ChunksIn(ctx context.Context, ids []segment.ChunkID) ([]chunkindex.Chunk, error) {
	return query(ctx, c, fmt.Sprint("ChunksIn ", ids), func(ctx context.Context, m mem) ([]chunkindex.Chunk, error) { return m.ChunksIn(ctx, ids) })
}

func (c connection) Remove(ctx context.Context, id segment.ChunkID) (bool, error) {
	return query(ctx, c, fmt.Sprint("Remove ", id), func(ctx context.Context, m mem) (bool, error) {
		ok, err := m.Remove(ctx, id)
		if ok {
			c.d.removed[id] = true
		}
		return ok, err
	})
}

func (c connection) Forget(ctx context.Context, id segment.ChunkID) error {
	return change(ctx, c, fmt.Sprint("Forget ", id), func(ctx context.Context, m mem) error { return m.Forget(ctx, id) })
}

func (c connection) Tails(ctx context.Context, spans []chunkindex.Span) ([]chunkindex.Chunk, error) {
	return query(ctx, c, fmt.Sprint("Tails ", spans), func(ctx context.Context, m mem) ([]chunkindex.Chunk, error) { return m.Tails(ctx, spans) })
}

func (c connection) Still(ctx context.Context, chunks []chunkindex.Chunk) ([]chunkindex.Chunk, error) {
	return query(ctx, c, fmt.Sprint("Still ", chunks), func(ctx context.Context, m mem) ([]chunkindex.Chunk, error) { return m.Still(ctx, chunks) })
}

func (c connection) Limits(ctx context.Context, ids []stream.ID) (map[stream.ID]chunkindex.Limit, error) {
	return query(ctx, c, fmt.Sprint("Limits ", ids), func(ctx context.Context, m mem) (map[stream.ID]chunkindex.Limit, error) { return m.Limits(ctx, ids) })
}

type covering struct {
	objects []segment.ChunkID
	missing []chunkindex.Span
}

func (c connection) Cover(ctx context.Context, spans []chunkindex.Span) ([]segment.ChunkID, []chunkindex.Span, error) {
	found, err := query(ctx, c, fmt.Sprint("Cover ", spans), func(ctx context.Context, m mem) (found covering, err error) {
		found.objects, found.missing, err = m.Cover(ctx, spans)
		return found, err
	})
	return found.objects, found.missing, err
}

func (c connection) Drop(ctx context.Context, limit int) (int, error) {
	return query(ctx, c, "Drop", func(ctx context.Context, m mem) (int, error) { return m.Drop(ctx, limit) })
}

func (c connection) Find(ctx context.Context, id stream.ID, from stream.SeqNum, limit int) ([]chunkindex.Chunk, error) {
	return query(ctx, c, fmt.Sprintf("Find %s from %d", id, from), func(ctx context.Context, m mem) ([]chunkindex.Chunk, error) { return m.Find(ctx, id, from, limit) })
}

func (c connection) FindTimestamp(ctx context.Context, id stream.ID, t uint64, limit int) ([]chunkindex.Chunk, error) {
	return query(ctx, c, fmt.Sprintf("FindTimestamp %s from %d", id, t), func(ctx context.Context, m mem) ([]chunkindex.Chunk, error) {
		return m.FindTimestamp(ctx, id, t, limit)
	})
}
