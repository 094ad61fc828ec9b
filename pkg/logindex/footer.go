package logindex

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// footers reads the footers of log objects and keeps them in a compact form.
type footers struct {
	store    objstore.Store
	parallel int
	cache    *cache[slotKey, *footer]
	// guess is how many bytes to ask for at an object's end; it follows the
	// footers met.
	guess atomic.Int64
	// inflight is what all reads under way may hold, of inflightBytes.
	inflight      *semaphore.Weighted
	inflightBytes int64
}

type slotKey struct {
	log  stream.Incarnation
	slot stream.Slot
}

// footer is what a log object's footer says of blocks: for the i-th stream of
// ids, blocks[starts[i]:starts[i+1]].
type footer struct {
	seal     bool
	sections []footerSection // sorted by shard, epoch
	ids      []stream.ID     // sorted within a section
	starts   []uint32
	blocks   []block
}

type footerSection struct {
	shard    stream.Shard
	epoch    stream.Epoch
	from, to int // in ids
}

const (
	leastFooterGuess = 16 << 10
	mostFooterGuess  = 1 << 20
	// footerWeight is how many times its bytes a footer takes while it is decoded.
	footerWeight = 4
)

func newFooters(store objstore.Store, config LocatorConfig) *footers {
	most := max(config.InflightBytes, 1)
	f := &footers{
		store: store, parallel: max(config.Parallel, 1),
		cache:    newCache[slotKey](config.FooterCacheBytes, (*footer).size),
		inflight: semaphore.NewWeighted(most), inflightBytes: most,
	}
	f.guess.Store(leastFooterGuess)
	return f
}

func (f *footer) size() int64 {
	return int64(unsafe.Sizeof(*f)) + 64 +
		int64(len(f.sections))*int64(unsafe.Sizeof(footerSection{})) +
		int64(len(f.ids))*int64(unsafe.Sizeof(stream.ID{})) +
		int64(len(f.starts))*4 + int64(len(f.blocks))*blockBytes
}

// find returns the blocks of a stream in one epoch of its shard.
func (f *footer) find(shard stream.Shard, epoch stream.Epoch, id stream.ID) []block {
	for _, s := range f.sections {
		if s.shard != shard || s.epoch != epoch {
			continue
		}
		ids := f.ids[s.from:s.to]
		i := sort.Search(len(ids), func(i int) bool { return string(ids[i][:]) >= string(id[:]) })
		if i < len(ids) && ids[i] == id {
			i += s.from
			return f.blocks[f.starts[i]:f.starts[i+1]]
		}
	}
	return nil
}

// get reads the footer of a slot; objstore.ErrNotFound: the slot is free.
func (f *footers) get(ctx context.Context, log stream.Incarnation, slot stream.Slot) (*footer, error) {
	return f.cache.load(ctx, slotKey{log, slot}, func(ctx context.Context) (*footer, error) {
		return twice(func() (*footer, error) { return f.fetch(ctx, log, slot) })
	})
}

// window reads consecutive footers at once, as many as may be read in parallel
// but at most n. It ends early at the first slot that is free.
func (f *footers) window(ctx context.Context, log stream.Incarnation, from stream.Slot, n uint64) ([]*footer, error) {
	out := make([]*footer, min(n, uint64(f.parallel)))
	group, ctx := errgroup.WithContext(ctx)
	for i := range out {
		if cached, ok := f.cache.get(slotKey{log, from + stream.Slot(i)}); ok {
			out[i] = cached
			continue
		}
		group.Go(func() (err error) {
			out[i], err = f.get(ctx, log, from+stream.Slot(i))
			if errors.Is(err, objstore.ErrNotFound) {
				out[i], err = nil, nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i := range out {
		if out[i] == nil {
			return out[:i], nil
		}
	}
	return out, nil
}

func (f *footers) fetch(ctx context.Context, log stream.Incarnation, slot stream.Slot) (*footer, error) {
	key := segment.SlotKey(log, slot)
	decoded, seal, err := f.read(ctx, key)
	if err == nil && !seal && (decoded.Log != log || decoded.Slot != slot) {
		err = fmt.Errorf("it says that it is slot %d of log %s", decoded.Slot, decoded.Log)
	}
	switch {
	case err == nil && seal:
		return &footer{seal: true}, nil
	case err == nil:
		return compact(decoded), nil
	case isStoreError(err):
		return nil, err
	}
	return nil, &DamageError{Key: key, Err: err}
}

// read gets enough of an object's end to hold its footer, which is known only
// from that end itself.
func (f *footers) read(ctx context.Context, key string) (*segment.Footer, bool, error) {
	for size := f.guess.Load(); ; {
		decoded, seal, err := f.readEnd(ctx, key, size)
		var more *segment.NeedMore
		if !errors.As(err, &more) || more.Bytes <= size {
			return decoded, seal, err
		}
		size = more.Bytes
	}
}

// readEnd decodes the footer from the last size bytes of an object; *segment.NeedMore
// says that it begins before.
func (f *footers) readEnd(ctx context.Context, key string, size int64) (*segment.Footer, bool, error) {
	weight := min(footerWeight*size, f.inflightBytes)
	if err := f.inflight.Acquire(ctx, weight); err != nil {
		return nil, false, storeError{err}
	}
	defer f.inflight.Release(weight)
	object, err := f.store.Get(ctx, key, objstore.Suffix(size))
	if err != nil {
		return nil, false, storeError{err}
	}
	trailer, err := segment.DecodeTrailer(lastBytes(object.Body, segment.TrailerSize))
	if err != nil {
		return nil, false, err
	}
	if trailer.Kind == segment.KindSeal {
		return nil, true, nil
	}
	decoded, err := segment.DecodeFooter(object.Body)
	f.learn(int64(trailer.FooterSize) + segment.TrailerSize)
	return decoded, false, err
}

func (f *footers) learn(size int64) {
	f.guess.Store(min(max(size+size/4, leastFooterGuess), mostFooterGuess))
}

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// storeError marks what the store answered, or that it was not asked, as against
// what its bytes say.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

func isStoreError(err error) bool {
	var s storeError
	return errors.As(err, &s)
}

func compact(in *segment.Footer) *footer {
	out := &footer{}
	for _, section := range in.Sections {
		from := len(out.ids)
		for i := range section.Streams {
			s := &section.Streams[i]
			if len(s.Blocks) == 0 {
				continue
			}
			out.ids = append(out.ids, s.Stream)
			out.starts = append(out.starts, uint32(len(out.blocks)))
			for _, ref := range s.Blocks {
				out.blocks = append(out.blocks, pack(ref))
			}
		}
		out.sections = append(out.sections, footerSection{section.Shard, section.Epoch, from, len(out.ids)})
	}
	out.starts = append(out.starts, uint32(len(out.blocks)))
	return out
}
