package logindex

import (
	"context"
	"errors"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// LocatorConfig bounds the memory and the requests that a Locator uses.
type LocatorConfig struct {
	FooterCacheBytes int64
	StateCacheBytes  int64
	InflightBytes    int64 // of footers being read and decoded, for all calls; larger ones go alone
	Parallel         int   // footers read at once for one call
}

// DefaultLocatorConfig suits a small machine.
func DefaultLocatorConfig() LocatorConfig {
	return LocatorConfig{FooterCacheBytes: 64 << 20, StateCacheBytes: 32 << 20, InflightBytes: 32 << 20, Parallel: 32}
}

// Locator finds blocks from the object store alone: the chain of a shard says
// which logs hold its parts, states say which part holds a record, footers say
// where in it. It is safe for concurrent use.
type Locator struct {
	config  LocatorConfig
	store   objstore.Store
	chains  *chains
	footers *footers
	states  *states
}

// NewLocator makes a Locator over store.
func NewLocator(store objstore.Store, config LocatorConfig) *Locator {
	return &Locator{
		config:  config,
		store:   store,
		chains:  newChains(store),
		footers: newFooters(store, config),
		states:  newStates(store, config.StateCacheBytes),
	}
}

// Target is the stream to look in.
type Target struct {
	Shard  stream.Shard
	Stream stream.ID
	// Known is what the caller knows of the newest part; zero: nothing. Then only
	// slots that prove themselves durable are looked at.
	Known Durable
}

// Durable says that every slot of a log below End is durable.
type Durable struct {
	Epoch stream.Epoch // the newest epoch that the caller has heard of
	Log   stream.Incarnation
	End   stream.Slot
}

// Find returns consecutive blocks, the first of which holds record from, until
// their stored bytes reach maxBytes; none if no durable record from is known. It
// may return fewer than there are.
// Errors: *DamageError, those of the store, and ctx's.
func (l *Locator) Find(ctx context.Context, target Target, from stream.SeqNum, maxBytes uint64) ([]Block, error) {
	return l.find(ctx, target, seqGoal(from), maxBytes)
}

// FindTimestamp is Find of the first record whose timestamp is at least t; it
// lies in the first block returned.
func (l *Locator) FindTimestamp(ctx context.Context, target Target, t uint64, maxBytes uint64) ([]Block, error) {
	return l.find(ctx, target, timeGoal(t), maxBytes)
}

// goal is what a search looks for. Both are monotone along a stream.
type goal interface {
	// reached: the block holds a record at or behind the goal.
	reached(*block) bool
	// exact: no record before the block can be the one looked for.
	exact(*block) bool
	// behind: a stream that stands there holds the record already.
	behind(position) bool
}

type seqGoal stream.SeqNum

func (g seqGoal) reached(b *block) bool  { return b.end() > uint64(g) }
func (g seqGoal) exact(b *block) bool    { return b.first <= uint64(g) }
func (g seqGoal) behind(p position) bool { return p.tail > stream.SeqNum(g) }

type timeGoal uint64

func (g timeGoal) reached(b *block) bool  { return b.lastTimestamp >= uint64(g) }
func (g timeGoal) exact(b *block) bool    { return b.first == 0 || b.firstTimestamp < uint64(g) }
func (g timeGoal) behind(p position) bool { return p.tail > 0 && p.lastTimestamp >= uint64(g) }

// find follows the chain when it has moved: what was missing may then have been
// moved too. What is missing although the chain stands still is damage.
func (l *Locator) find(ctx context.Context, target Target, g goal, maxBytes uint64) ([]Block, error) {
	head, ok, err := l.head(ctx, target)
	if err != nil || !ok {
		return nil, err
	}
	for {
		blocks, err := l.findBelow(ctx, target, head, g, maxBytes)
		if !Missing(err) {
			return blocks, err
		}
		moved, _, headErr := l.chains.head(ctx, target.Shard)
		if headErr != nil {
			return nil, headErr
		}
		if moved == head {
			return nil, l.explain(ctx, err)
		}
		head = moved
	}
}

// explain tells a slot that was collected from one that is lost.
func (l *Locator) explain(ctx context.Context, missing error) error {
	var damage *DamageError
	if !errors.As(missing, &damage) {
		return missing
	}
	log, _, ok := segment.ParseLogKey(damage.Key)
	if !ok {
		return missing
	}
	if _, err := l.store.Head(ctx, segment.GoneKey(log)); err == nil {
		return &DamageError{Key: damage.Key, Offset: damage.Offset, Collected: true, Err: damage.Err}
	}
	return missing
}

func (l *Locator) head(ctx context.Context, target Target) (stream.Epoch, bool, error) {
	if hint := l.chains.hint(target.Shard); hint > 0 && !target.Known.Log.IsZero() && hint >= target.Known.Epoch {
		return hint, true, nil
	}
	return l.chains.head(ctx, target.Shard)
}

// findBelow searches epoch after epoch, the newest first: the state at the start
// of an epoch says whether the record is older. Where that state is gone the
// epoch's footers are searched. Where these are gone too the log has been collected,
// and all its records are elsewhere; but what is older may still stand here, in a
// log that nobody has sealed.
func (l *Locator) findBelow(ctx context.Context, target Target, head stream.Epoch, g goal, maxBytes uint64) ([]Block, error) {
	var best place // the oldest one reached so far
	var missing error
	for epoch := head; ; epoch-- {
		entry, err := l.entry(ctx, target.Shard, epoch)
		if err != nil {
			return nil, err
		}
		start, known, err := l.states.at(ctx, entry, target.Stream)
		if err != nil {
			return nil, err
		}
		if !known || !g.behind(start) {
			found, ok, err := l.seekEpoch(ctx, target, head, entry, g)
			switch {
			case Missing(err) && !known:
				missing = err
			case err != nil:
				return nil, err
			case ok:
				best = found
			}
			if known || ok && g.exact(&found.blocks[0]) {
				break
			}
		}
		if epoch == 0 {
			break
		}
	}
	if missing != nil && (best.blocks == nil || !g.exact(&best.blocks[0])) {
		return nil, missing
	}
	if best.blocks == nil {
		return nil, nil
	}
	return l.collect(ctx, target, head, best, g, maxBytes), nil
}

func (l *Locator) seekEpoch(ctx context.Context, target Target, head stream.Epoch, entry segment.ChainEntry, g goal) (place, bool, error) {
	part, err := l.part(ctx, target, head, entry)
	if err != nil {
		return place{}, false, err
	}
	return l.seek(ctx, target, part, g)
}

// entry is an entry below the head: it must exist.
func (l *Locator) entry(ctx context.Context, shard stream.Shard, epoch stream.Epoch) (segment.ChainEntry, error) {
	entry, err := l.chains.entry(ctx, shard, epoch)
	if errors.Is(err, objstore.ErrNotFound) {
		err = &DamageError{Key: segment.ChainKey(shard, epoch), Err: err}
	}
	return entry, err
}

// part is the slots [from, end) of a log that hold a shard's records of an epoch.
type part struct {
	epoch     stream.Epoch
	log       stream.Incarnation
	from, end stream.Slot
}

func (l *Locator) part(ctx context.Context, target Target, head stream.Epoch, entry segment.ChainEntry) (part, error) {
	p := part{epoch: entry.Epoch, log: entry.Owner, from: entry.FirstSlot}
	switch {
	case entry.Epoch < head:
		next, err := l.entry(ctx, target.Shard, entry.Epoch+1)
		p.end = next.PredecessorEnd
		return p, err
	case target.Known.Log == entry.Owner:
		p.end = target.Known.End
		return p, nil
	}
	end, err := l.durableEnd(ctx, entry)
	p.end = end
	return p, err
}

// place is a slot of a part that has blocks of the stream.
type place struct {
	part   part
	slot   stream.Slot
	blocks []block
}

// seek finds the first slot of a part with a block that is reached. It halves
// the part, going from the middle up to the next slot that has the stream.
func (l *Locator) seek(ctx context.Context, target Target, p part, g goal) (best place, ok bool, err error) {
	for low, high := p.from, p.end; low < high; {
		middle := low + (high-low)/2
		at, found, err := l.next(ctx, target, p, middle, high)
		if err != nil {
			return place{}, false, err
		}
		switch {
		case !found:
			high = middle
		case g.reached(&at.blocks[len(at.blocks)-1]):
			best, ok, high = at, true, middle
		default:
			low = at.slot + 1
		}
	}
	return best, ok, nil
}

// mostAhead is how many footers a search for a rare stream asks for at once.
const mostAhead = 1 << 20

// next finds the first slot in [from, to) that has blocks of the stream.
func (l *Locator) next(ctx context.Context, target Target, p part, from, to stream.Slot) (place, bool, error) {
	for ahead := uint64(1); from < to; ahead = min(2*ahead, mostAhead) {
		window, err := l.window(ctx, p, from, min(ahead, uint64(to-from)))
		if err != nil {
			return place{}, false, err
		}
		for i, f := range window {
			if blocks := f.find(target.Shard, p.epoch, target.Stream); blocks != nil {
				return place{p, from + stream.Slot(i), blocks}, true, nil
			}
		}
		from += stream.Slot(len(window))
	}
	return place{}, false, nil
}

// window reads footers below the end of a part: all of them must be data.
func (l *Locator) window(ctx context.Context, p part, from stream.Slot, n uint64) ([]*footer, error) {
	window, err := l.footers.window(ctx, p.log, from, n)
	if err != nil {
		return nil, err
	}
	for i, f := range window {
		if f.seal {
			return nil, &DamageError{Key: segment.SlotKey(p.log, from+stream.Slot(i)), Err: errSealedBelowEnd}
		}
	}
	if len(window) == 0 {
		return nil, &DamageError{Key: segment.SlotKey(p.log, from), Err: objstore.ErrNotFound}
	}
	return window, nil
}

var errSealedBelowEnd = errors.New("a seal stands below the end that the chain names")

// collect follows the stream from a place on, into newer parts too. Once it has
// found something an error only ends it: the next search meets that first.
func (l *Locator) collect(ctx context.Context, target Target, head stream.Epoch, at place, g goal, maxBytes uint64) []Block {
	c := collection{maxBytes: maxBytes, patience: 4 * l.config.Parallel}
	c.add(at, g)
	err := l.collectPart(ctx, target, at, g, &c)
	for epoch := at.part.epoch + 1; err == nil && epoch <= head && !c.full(); epoch++ {
		var p part
		if p, err = l.partOf(ctx, target, head, epoch); err == nil {
			// The slot before a part's first one; it wraps around for slot 0.
			err = l.collectPart(ctx, target, place{part: p, slot: p.from - 1}, g, &c)
		}
	}
	return c.blocks
}

// collectPart goes on with the slot after at's.
func (l *Locator) collectPart(ctx context.Context, target Target, at place, g goal, c *collection) error {
	for from := at.slot + 1; from < at.part.end && !c.full(); {
		window, err := l.window(ctx, at.part, from, uint64(at.part.end-from))
		if err != nil {
			return err
		}
		for i, f := range window {
			c.add(place{at.part, from + stream.Slot(i), f.find(target.Shard, at.part.epoch, target.Stream)}, g)
		}
		from += stream.Slot(len(window))
	}
	return nil
}

func (l *Locator) partOf(ctx context.Context, target Target, head, epoch stream.Epoch) (part, error) {
	entry, err := l.entry(ctx, target.Shard, epoch)
	if err != nil {
		return part{}, err
	}
	return l.part(ctx, target, head, entry)
}

// collection gathers consecutive blocks up to a number of stored bytes, and does
// not look on for ever for the next one.
type collection struct {
	maxBytes uint64
	patience int // slots without a block that may still be looked at
	blocks   []Block
	bytes    uint64
	broken   bool
}

func (c *collection) full() bool {
	return c.broken || c.patience <= 0 || c.bytes >= c.maxBytes
}

func (c *collection) add(at place, g goal) {
	if len(at.blocks) == 0 {
		c.patience--
	}
	for i := range at.blocks {
		b := &at.blocks[i]
		n := len(c.blocks)
		switch {
		case n > 0 && c.bytes >= c.maxBytes:
			return
		case n == 0 && !g.reached(b):
			continue
		case n > 0 && uint64(c.blocks[n-1].Next()) != b.first:
			c.broken = true
			return
		}
		c.blocks = append(c.blocks, Block{Log: at.part.log, Slot: at.slot, BlockRef: b.unpack()})
		c.bytes += uint64(b.stored)
	}
}

// durableEnd finds how far the newest part can be trusted without asking its
// owner. A slot p exists only when every slot up to p-2W is data, so a run of data
// slots is durable if the 2W slots below its last one are all there.
func (l *Locator) durableEnd(ctx context.Context, entry segment.ChainEntry) (stream.Slot, error) {
	top, ok, err := l.gallop(ctx, entry.Owner, entry.FirstSlot)
	if err != nil || !ok {
		return entry.FirstSlot, err
	}
	from := stream.Slot(0)
	if back := stream.Slot(2*entry.Window) - 1; entry.Window > 0 && top > back {
		from = top - back
	}
	for {
		window, err := l.footers.window(ctx, entry.Owner, from, uint64(l.footers.parallel))
		if err != nil {
			return entry.FirstSlot, err
		}
		for i, f := range window {
			if f.seal {
				return max(entry.FirstSlot, from+stream.Slot(i)), nil
			}
		}
		from += stream.Slot(len(window))
		if len(window) < l.footers.parallel {
			return max(entry.FirstSlot, from), nil
		}
	}
}

// gallop finds a slot at or above from that exists, far up.
func (l *Locator) gallop(ctx context.Context, log stream.Incarnation, from stream.Slot) (top stream.Slot, ok bool, err error) {
	for at, step := from, stream.Slot(1); ; at, step = at+step, step*2 {
		_, err := l.store.Head(ctx, segment.SlotKey(log, at))
		if errors.Is(err, objstore.ErrNotFound) {
			return top, ok, nil
		}
		if err != nil {
			return 0, false, err
		}
		top, ok = at, true
	}
}
