package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// collectLogs deletes the slots of logs that are in chunks for good.
func (c *Compactor) collectLogs(ctx context.Context) error {
	drained, err := c.index.Drained(ctx, c.options.Grace)
	if err != nil || len(drained) == 0 {
		return err
	}
	heads, err := c.index.Heads(ctx)
	if err != nil {
		return err
	}
	// No newest entry that is in use comes to name a log which none names now: the log
	// is sealed. An entry of its incarnation may still land, however late, but nothing
	// of the shard is in the log then, since the entry comes before what is written by
	// its right. Who takes the shard from there finds the first slots free, seals the
	// log once more at its start, and so takes the part for empty.
	owners, err := c.chains.owners(ctx, heads)
	if err != nil {
		return err
	}
	var failed []error
	for _, l := range drained {
		if owners[l.Log] || !c.options.Mine(logKey(l.Log)) {
			continue
		}
		err := c.collectLog(ctx, l)
		if err != nil && !errors.Is(err, chunkindex.ErrLost) {
			failed = append(failed, fmt.Errorf("collect log %s: %w", l.Log, err))
		}
		if isBehind(err) || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func (c *Compactor) collectLog(ctx context.Context, l chunkindex.Log) error {
	if !l.Gone {
		if err := c.checkCovered(ctx, l); err != nil {
			return err
		}
		if err := c.index.MarkGone(ctx, l.Log); err != nil {
			return err
		}
	}
	mark := segment.EncodeEnvelope(segment.KindGone, nil)
	if err := c.store.PutIfAbsent(ctx, segment.GoneKey(l.Log), mark); err != nil && !errors.Is(err, objstore.ErrExists) {
		return err
	}
	if err := c.deleteSlots(ctx, l); err != nil {
		return err
	}
	c.log.Info("collected a log", zap.Stringer("log", l.Log), zap.Uint64("slots", uint64(l.End)))
	return c.index.Collected(ctx, l.Log)
}

// deleteSlots deletes what stands below the seal, which stays.
func (c *Compactor) deleteSlots(ctx context.Context, l chunkindex.Log) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.options.Parallel)
	for slot := stream.Slot(0); slot < l.End && ctx.Err() == nil; slot++ {
		group.Go(func() error {
			err := c.store.Delete(ctx, segment.SlotKey(l.Log, slot))
			if err == nil {
				c.metrics.slots.Inc()
			}
			return err
		})
	}
	return group.Wait()
}

// checkCovered makes sure, slot by slot, that every record which has to be kept is
// in chunks whose objects stand. It trusts neither the watermark nor anything else
// that was concluded before.
func (c *Compactor) checkCovered(ctx context.Context, l chunkindex.Log) error {
	const spansAtOnce = 20_000
	check := coverage{compactor: c, log: l.Log, stand: map[segment.ChunkID]bool{}, spans: map[stream.ID][]chunkindex.Span{}}
	for from := stream.Slot(0); from < l.End; {
		n := min(stream.Slot(c.options.Parallel), l.End-from)
		footers := make([]*segment.Footer, n)
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(c.options.Parallel)
		for i := range footers {
			group.Go(func() (err error) {
				footers[i], err = c.footer(groupCtx, l.Log, from+stream.Slot(i))
				return err
			})
		}
		err := group.Wait()
		if isMissing(err) {
			return c.missingSlot(ctx, l)
		}
		if err != nil {
			return err
		}
		for _, f := range footers {
			check.add(f)
		}
		from += n
		if check.count >= spansAtOnce || from == l.End {
			if err := check.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// missingSlot tells what it means that a slot below a log's end is not there.
func (c *Compactor) missingSlot(ctx context.Context, l chunkindex.Log) error {
	logs, err := c.index.Logs(ctx)
	if err != nil {
		return err
	}
	for _, now := range logs {
		if now.Log == l.Log && !now.Gone {
			return behind("slots of log %s are missing below its end, but the index has not let them go", l.Log)
		}
	}
	return fmt.Errorf("%w: log %s is being collected", chunkindex.ErrLost, l.Log)
}

func isMissing(err error) bool { return errors.Is(err, objstore.ErrNotFound) }

// footer reads a segment's footer alone.
func (c *Compactor) footer(ctx context.Context, log stream.Incarnation, slot stream.Slot) (*segment.Footer, error) {
	key := segment.SlotKey(log, slot)
	return twice(func() (*segment.Footer, error) {
		for size := int64(segment.FooterProbe); ; {
			object, err := c.store.Get(ctx, key, objstore.Suffix(size))
			if err != nil {
				return nil, err
			}
			footer, err := segment.DecodeFooter(object.Body)
			var more *segment.NeedMore
			if errors.As(err, &more) && more.Bytes > size {
				size = more.Bytes
				continue
			}
			if err != nil {
				return nil, &DamageError{Key: key, Err: err}
			}
			if footer.Log != log || footer.Slot != slot {
				return nil, damaged(key, "it says that it is slot %d of log %s", footer.Slot, footer.Log)
			}
			return footer, nil
		}
	})
}

// coverage gathers where the records of slots stand in their streams.
type coverage struct {
	compactor *Compactor
	log       stream.Incarnation
	stand     map[segment.ChunkID]bool // objects seen to stand
	spans     map[stream.ID][]chunkindex.Span
	count     int
}

func (v *coverage) add(f *segment.Footer) {
	for _, section := range f.Sections {
		for i := range section.Streams {
			s := &section.Streams[i]
			spans := v.spans[s.Stream]
			if n := len(spans); n > 0 && spans[n-1].Next == s.First {
				spans[n-1].Next = s.Next()
				continue
			}
			v.spans[s.Stream] = append(spans, chunkindex.Span{Stream: s.Stream, First: s.First, Next: s.Next()})
			v.count++
		}
	}
}

// flush looks up what was gathered.
func (v *coverage) flush(ctx context.Context) error {
	var all []chunkindex.Span
	for _, spans := range v.spans {
		all = append(all, spans...)
	}
	slices.SortStableFunc(all, func(a, b chunkindex.Span) int { return compareIDs(a.Stream, b.Stream) })
	clear(v.spans)
	v.count = 0
	objects, missing, err := v.compactor.index.Cover(ctx, all)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return behind("records %d to %d of stream %s in log %s are in no chunk, though the log counts as compacted",
			missing[0].First, missing[0].Next-1, missing[0].Stream, v.log)
	}
	return v.compactor.checkStand(ctx, objects, v.stand)
}

// collectObjects deletes the chunk objects that no chunk is in any more, and what is
// left of those that were removed before.
func (c *Compactor) collectObjects(ctx context.Context) error {
	dead, err := c.index.Dead(ctx, c.options.Grace)
	if err != nil {
		return err
	}
	failed := each(ctx, c, c.mine(dead), c.remove)
	if isBehind(failed) {
		return failed
	}
	return errors.Join(failed, c.forgetRemoved(ctx))
}

func (c *Compactor) forgetRemoved(ctx context.Context) error {
	removed, err := c.index.Removed(ctx, c.options.Abandon)
	if err != nil {
		return err
	}
	return each(ctx, c, c.mine(removed), c.forget)
}

// forget deletes a removed object once more, since a put of it may have landed late,
// and lets go of its row.
func (c *Compactor) forget(ctx context.Context, o chunkindex.Object) error {
	if err := c.store.Delete(ctx, segment.ChunkKey(o.ID)); err != nil {
		return err
	}
	return c.index.Forget(ctx, o.ID)
}
