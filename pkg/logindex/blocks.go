package logindex

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// BlocksConfig bounds the memory that Blocks uses.
type BlocksConfig struct {
	CacheBytes    int64 // of decoded blocks kept
	InflightBytes int64 // of blocks being fetched and decoded; larger runs go alone
	Parallel      int   // GETs at once for one call
}

// DefaultBlocksConfig suits a small machine.
func DefaultBlocksConfig() BlocksConfig {
	return BlocksConfig{CacheBytes: 256 << 20, InflightBytes: 128 << 20, Parallel: 16}
}

// Blocks fetches blocks from the object store, checks them and keeps the most
// recently used ones decoded. Callers that want the same block share one GET, and
// adjacent blocks of a segment come in one. It is safe for concurrent use.
type Blocks struct {
	store    objstore.Store
	config   BlocksConfig
	cache    *cache[blockKey, *segment.Block]
	inflight *semaphore.Weighted
	metrics  *blockMetrics
}

// blockKey is a place and what stands there: after Postgres was put back to an
// older backup a chunk object may get the id of one that was deleted.
type blockKey struct {
	log      stream.Incarnation
	slot     stream.Slot
	offset   uint64
	stream   stream.ID
	checksum uint32
}

func (b *Block) key(id stream.ID) blockKey {
	return blockKey{b.Log, b.Slot, b.Offset, id, b.Checksum}
}

type blockMetrics struct {
	hits, misses, gets, bytes, retries prometheus.Counter
}

// NewBlocks makes a Blocks over store. Metrics go to reg, which may be nil.
func NewBlocks(store objstore.Store, config BlocksConfig, reg prometheus.Registerer) *Blocks {
	b := &Blocks{
		store:    store,
		config:   config,
		cache:    newCache[blockKey](config.CacheBytes, blockSize),
		inflight: semaphore.NewWeighted(max(config.InflightBytes, 1)),
		metrics:  newBlockMetrics(),
	}
	b.metrics.register(reg, b.cache.heldBytes)
	return b
}

// blockSize adds what the block and its place in the cache cost.
func blockSize(b *segment.Block) int64 { return int64(b.Size()) + 384 }

// Get returns the decoded blocks of a stream in the order asked for.
// Errors: *DamageError, those of the store, and ctx's.
func (b *Blocks) Get(ctx context.Context, id stream.ID, blocks []Block) ([]*segment.Block, error) {
	out := make([]*segment.Block, len(blocks))
	if b.fromCache(id, blocks, out) {
		return out, nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(b.config.Parallel, 1))
	for from := 0; from < len(blocks); {
		to := from + runLength(blocks[from:])
		run, part := blocks[from:to], out[from:to]
		group.Go(func() error { return b.getRun(ctx, id, run, part) })
		from = to
	}
	return out, group.Wait()
}

// Decode checks and decodes a block whose stored bytes came along with its
// place, and keeps it.
func (b *Blocks) Decode(id stream.ID, at Block, stored []byte) (*segment.Block, error) {
	if block, ok := b.cache.get(at.key(id)); ok {
		return block, nil
	}
	block, err := segment.DecodeBlock(id, at.BlockRef, stored)
	if err != nil {
		return nil, err
	}
	b.cache.put(at.key(id), block)
	return block, nil
}

// Holds tells whether a block is in memory, which it keeps it in a while longer.
func (b *Blocks) Holds(id stream.ID, at Block) bool {
	_, ok := b.cache.get(at.key(id))
	return ok
}

func (b *Blocks) fromCache(id stream.ID, blocks []Block, out []*segment.Block) bool {
	all := true
	for i := range blocks {
		block, ok := b.cache.get(blocks[i].key(id))
		out[i], all = block, all && ok
		if ok {
			b.metrics.hits.Inc()
		}
	}
	return all
}

// runLength counts the leading blocks that stand side by side in one object.
func runLength(blocks []Block) int {
	const most = 4 << 20 // stored bytes in one GET
	n, total := 1, uint64(blocks[0].Stored)
	for n < len(blocks) && adjacent(blocks[n-1], blocks[n]) && total+uint64(blocks[n].Stored) <= most {
		total += uint64(blocks[n].Stored)
		n++
	}
	return n
}

func adjacent(a, b Block) bool {
	return a.Log == b.Log && a.Slot == b.Slot && a.Offset+uint64(a.Stored) == b.Offset
}

// claim is a block that this call has to load.
type claim struct {
	block Block
	f     *flight[*segment.Block]
	out   **segment.Block
}

// getRun fills in what is still missing of a run: it loads what nobody else
// loads, then waits for the others.
func (b *Blocks) getRun(ctx context.Context, id stream.ID, run []Block, out []*segment.Block) error {
	var claims []claim
	waits := map[int]*flight[*segment.Block]{}
	for i := range run {
		if out[i] != nil {
			continue
		}
		block, f, mine := b.cache.join(run[i].key(id))
		switch {
		case mine:
			claims = append(claims, claim{run[i], f, &out[i]})
		case f != nil:
			waits[i] = f
		default:
			out[i] = block
		}
	}
	if err := b.loadClaims(ctx, id, claims); err != nil {
		return err
	}
	return b.await(ctx, id, run, out, waits)
}

func (b *Blocks) await(ctx context.Context, id stream.ID, run []Block, out []*segment.Block, waits map[int]*flight[*segment.Block]) error {
	for i, f := range waits {
		block, again, err := f.wait(ctx)
		if again {
			if err := b.getRun(ctx, id, run[i:i+1], out[i:i+1]); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		out[i] = block
	}
	return nil
}

// loadClaims loads runs of claimed blocks. Every claim is landed, whatever
// happens: others wait for it.
func (b *Blocks) loadClaims(ctx context.Context, id stream.ID, claims []claim) error {
	var failed error
	for len(claims) > 0 {
		n := 1
		for n < len(claims) && adjacent(claims[n-1].block, claims[n].block) {
			n++
		}
		err := failed
		if err == nil {
			err = b.loadRun(ctx, id, claims[:n])
		}
		for _, c := range claims[:n] {
			b.cache.land(c.block.key(id), c.f, *c.out, err)
		}
		if failed == nil {
			failed = err
		}
		claims = claims[n:]
	}
	return failed
}

// loadRun fetches adjacent blocks with one GET, and once more if the first answer
// was wrong: a proxy or a cache between may have been.
func (b *Blocks) loadRun(ctx context.Context, id stream.ID, claims []claim) error {
	first, last := claims[0].block, claims[len(claims)-1].block
	length := last.Offset + uint64(last.Stored) - first.Offset
	weight := int64(length)
	for _, c := range claims {
		weight += int64(c.block.Raw)
	}
	weight = min(weight, max(b.config.InflightBytes, 1))
	if err := b.inflight.Acquire(ctx, weight); err != nil {
		return err
	}
	defer b.inflight.Release(weight)

	err := b.fetchRun(ctx, id, claims, int64(first.Offset), int64(length))
	var damage *DamageError
	if errors.As(err, &damage) {
		b.metrics.retries.Inc()
		err = b.fetchRun(ctx, id, claims, int64(first.Offset), int64(length))
	}
	return err
}

func (b *Blocks) fetchRun(ctx context.Context, id stream.ID, claims []claim, offset, length int64) error {
	key := claims[0].block.Key()
	b.metrics.gets.Inc()
	b.metrics.misses.Add(float64(len(claims)))
	object, err := b.store.Get(ctx, key, objstore.Bytes(offset, length))
	if errors.Is(err, objstore.ErrNotFound) {
		return &DamageError{Key: key, Offset: uint64(offset), Err: err}
	}
	if err != nil {
		return err
	}
	b.metrics.bytes.Add(float64(len(object.Body)))
	for _, c := range claims {
		if err := decodeFrom(id, c, object.Body, uint64(offset)); err != nil {
			return &DamageError{Key: key, Offset: c.block.Offset, Err: err}
		}
	}
	return nil
}

func decodeFrom(id stream.ID, c claim, body []byte, offset uint64) error {
	from := c.block.Offset - offset
	to := from + uint64(c.block.Stored)
	if to > uint64(len(body)) {
		return fmt.Errorf("the object ends after %d of %d bytes", len(body), to)
	}
	block, err := segment.DecodeBlock(id, c.block.BlockRef, body[from:to])
	if err != nil {
		return err
	}
	*c.out = block
	return nil
}

func newBlockMetrics() *blockMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "samsa_logindex_" + name, Help: help})
	}
	return &blockMetrics{
		hits:    counter("block_cache_hits_total", "Blocks served from memory."),
		misses:  counter("block_cache_misses_total", "Blocks fetched from the object store."),
		gets:    counter("block_gets_total", "Requests to the object store for blocks."),
		bytes:   counter("block_get_bytes_total", "Bytes of blocks fetched from the object store."),
		retries: counter("block_get_retries_total", "Requests repeated because the answer was missing or failed its checksum."),
	}
}

func (m *blockMetrics) register(reg prometheus.Registerer, held func() int64) {
	if reg == nil {
		return
	}
	reg.MustRegister(m.hits, m.misses, m.gets, m.bytes, m.retries, prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "samsa_logindex_block_cache_bytes", Help: "Bytes of decoded blocks held."},
		func() float64 { return float64(held()) }))
}
