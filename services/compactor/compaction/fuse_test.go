package compaction

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

var errBlown = errors.New("the fuse has blown")

// blow is what happens at the call that a fuse is set to.
type blow int

const (
	failBefore  blow = iota // the call fails; the compactor goes on
	failAfter               // it takes effect, its answer is lost; the compactor goes on
	crashBefore             // the compactor never makes the call, nor another one
	crashAfter              // nor another one after it
	interrupt               // something else happens first
)

func (b blow) String() string {
	return [...]string{"fail before", "fail after", "crash before", "crash after", "interrupt"}[b]
}

// fuse counts the calls on the store and the index and blows at one of them.
type fuse struct {
	at, calls int
	blow      blow
	meanwhile func() // of interrupt
	after     func() // after every call on the index
	blown     bool
}

func (f *fuse) call(do func() error) error {
	f.calls++
	if f.calls == f.at {
		f.blown = true
		switch f.blow {
		case interrupt:
			f.meanwhile()
		case failAfter, crashAfter:
			_ = do()
			return errBlown
		default:
			return errBlown
		}
	}
	if f.blown && (f.blow == crashBefore || f.blow == crashAfter) {
		return errBlown
	}
	return do()
}

type fusedStore struct {
	objstore.Store
	*fuse
}

func (s fusedStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.call(func() error { return s.Store.PutIfAbsent(ctx, key, body) })
}

func (s fusedStore) Get(ctx context.Context, key string, r objstore.Range) (o objstore.Object, err error) {
	err = s.call(func() error { o, err = s.Store.Get(ctx, key, r); return err })
	return o, err
}

func (s fusedStore) Head(ctx context.Context, key string) (i objstore.Info, err error) {
	err = s.call(func() error { i, err = s.Store.Head(ctx, key); return err })
	return i, err
}

func (s fusedStore) Delete(ctx context.Context, key string) error {
	return s.call(func() error { return s.Store.Delete(ctx, key) })
}

func (s fusedStore) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		if err := s.call(func() error { return nil }); err != nil {
			yield(objstore.Info{}, err)
			return
		}
		s.Store.List(ctx, prefix, after)(yield)
	}
}

type fusedIndex struct {
	Index
	*fuse
}

func fused[T any](i fusedIndex, do func() (T, error)) (out T, err error) {
	err = i.call(func() error {
		out, err = do()
		if i.after != nil {
			i.after()
		}
		return err
	})
	return out, err
}

func nothing(do func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, do() }
}

func (i fusedIndex) Status(ctx context.Context) (chunkindex.Status, error) {
	return fused(i, func() (chunkindex.Status, error) { return i.Index.Status(ctx) })
}

func (i fusedIndex) Halt(ctx context.Context, reason string) error {
	_, err := fused(i, nothing(func() error { return i.Index.Halt(ctx, reason) }))
	return err
}

func (i fusedIndex) Logs(ctx context.Context) ([]chunkindex.Log, error) {
	return fused(i, func() ([]chunkindex.Log, error) { return i.Index.Logs(ctx) })
}

func (i fusedIndex) Drained(ctx context.Context, age time.Duration) ([]chunkindex.Log, error) {
	return fused(i, func() ([]chunkindex.Log, error) { return i.Index.Drained(ctx, age) })
}

func (i fusedIndex) Heads(ctx context.Context) (map[stream.Shard]stream.Epoch, error) {
	return fused(i, func() (map[stream.Shard]stream.Epoch, error) { return i.Index.Heads(ctx) })
}

func (i fusedIndex) Discover(ctx context.Context, logs []stream.Incarnation, heads map[stream.Shard]stream.Epoch) error {
	_, err := fused(i, nothing(func() error { return i.Index.Discover(ctx, logs, heads) }))
	return err
}

func (i fusedIndex) Seal(ctx context.Context, log stream.Incarnation, end stream.Slot) error {
	_, err := fused(i, nothing(func() error { return i.Index.Seal(ctx, log, end) }))
	return err
}

func (i fusedIndex) MarkGone(ctx context.Context, log stream.Incarnation) error {
	_, err := fused(i, nothing(func() error { return i.Index.MarkGone(ctx, log) }))
	return err
}

func (i fusedIndex) Collected(ctx context.Context, log stream.Incarnation) error {
	_, err := fused(i, nothing(func() error { return i.Index.Collected(ctx, log) }))
	return err
}

func (i fusedIndex) Begin(ctx context.Context, job chunkindex.Job) (segment.ChunkID, error) {
	return fused(i, func() (segment.ChunkID, error) { return i.Index.Begin(ctx, job) })
}

func (i fusedIndex) Publish(ctx context.Context, p chunkindex.Publication) error {
	_, err := fused(i, nothing(func() error { return i.Index.Publish(ctx, p) }))
	return err
}

func (i fusedIndex) Abandoned(ctx context.Context, age time.Duration) ([]chunkindex.Object, error) {
	return fused(i, func() ([]chunkindex.Object, error) { return i.Index.Abandoned(ctx, age) })
}

func (i fusedIndex) Dead(ctx context.Context, age time.Duration) ([]chunkindex.Object, error) {
	return fused(i, func() ([]chunkindex.Object, error) { return i.Index.Dead(ctx, age) })
}

func (i fusedIndex) Sparse(ctx context.Context, small int64, limit int) ([]chunkindex.Object, error) {
	return fused(i, func() ([]chunkindex.Object, error) { return i.Index.Sparse(ctx, small, limit) })
}

func (i fusedIndex) Removed(ctx context.Context, age time.Duration) ([]chunkindex.Object, error) {
	return fused(i, func() ([]chunkindex.Object, error) { return i.Index.Removed(ctx, age) })
}

func (i fusedIndex) Objects(ctx context.Context, ids []segment.ChunkID) ([]chunkindex.Object, error) {
	return fused(i, func() ([]chunkindex.Object, error) { return i.Index.Objects(ctx, ids) })
}

func (i fusedIndex) Remove(ctx context.Context, id segment.ChunkID) (bool, error) {
	return fused(i, func() (bool, error) { return i.Index.Remove(ctx, id) })
}

func (i fusedIndex) Forget(ctx context.Context, id segment.ChunkID) error {
	_, err := fused(i, nothing(func() error { return i.Index.Forget(ctx, id) }))
	return err
}

func (i fusedIndex) Tails(ctx context.Context, spans []chunkindex.Span) ([]chunkindex.Chunk, error) {
	return fused(i, func() ([]chunkindex.Chunk, error) { return i.Index.Tails(ctx, spans) })
}

func (i fusedIndex) Still(ctx context.Context, chunks []chunkindex.Chunk) ([]chunkindex.Chunk, error) {
	return fused(i, func() ([]chunkindex.Chunk, error) { return i.Index.Still(ctx, chunks) })
}

func (i fusedIndex) Limits(ctx context.Context, ids []stream.ID) (map[stream.ID]chunkindex.Limit, error) {
	return fused(i, func() (map[stream.ID]chunkindex.Limit, error) { return i.Index.Limits(ctx, ids) })
}

func (i fusedIndex) Cover(ctx context.Context, spans []chunkindex.Span) (ids []segment.ChunkID, missing []chunkindex.Span, err error) {
	_, err = fused(i, nothing(func() error { ids, missing, err = i.Index.Cover(ctx, spans); return err }))
	return ids, missing, err
}

func (i fusedIndex) Drop(ctx context.Context, limit int) (int, error) {
	return fused(i, func() (int, error) { return i.Index.Drop(ctx, limit) })
}
