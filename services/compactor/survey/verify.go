package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Readable is an index that is looked at; chunkindex.DB documents each call.
type Readable interface {
	Status(ctx context.Context) (chunkindex.Status, error)
	Objects(ctx context.Context, ids []segment.ChunkID) ([]chunkindex.Object, error)
	Page(ctx context.Context, after segment.ChunkID, limit int) ([]chunkindex.Object, error)
	Miscounted(ctx context.Context, above, upTo segment.ChunkID) ([]chunkindex.Miscount, error)
	Still(ctx context.Context, chunks []chunkindex.Chunk) ([]chunkindex.Chunk, error)
	Limits(ctx context.Context, ids []stream.ID) (map[stream.ID]chunkindex.Limit, error)
	Cover(ctx context.Context, spans []chunkindex.Span) ([]segment.ChunkID, []chunkindex.Span, error)
}

// Verified counts what a verification has looked at.
type Verified struct {
	Shards, Epochs, States, Logs, Slots, ChunkObjects, Chunks, Streams int
	Damaged, Orphans                                                   int
}

// Verify looks at everything and gives each finding to report, as it is found. index
// may be nil: then the store alone is looked at. Errors: those of the store and the
// index, which end it.
func (s *Survey) Verify(ctx context.Context, index Readable, report func(Finding)) (Verified, error) {
	v := &verification{
		Survey: s, index: index, out: report, streams: map[stream.ID]*streamView{}, covered: map[stream.ID]spans{},
		logs: map[stream.Incarnation]logEnd{}, chunkSet: map[segment.ChunkID]bool{},
	}
	for _, step := range []func(context.Context) error{v.readShards, v.readLogs, v.readChunks, v.readIndex, v.checkChains, v.checkStreams} {
		if err := step(ctx); err != nil {
			return v.Verified, err
		}
	}
	return v.Verified, nil
}

type verification struct {
	*Survey
	Verified
	index Readable
	out   func(Finding)

	chains  [][]*segment.ChainEntry // by shard
	streams map[stream.ID]*streamView
	covered map[stream.ID]spans // by objects that are sound
	logs    map[stream.Incarnation]logEnd
	// chunkSet is the chunk objects that stand.
	chunkSet map[segment.ChunkID]bool
}

// streamView is what a shard's newest state says of a stream.
type streamView struct {
	shard      stream.Shard
	name       stream.Name
	trim, tail stream.SeqNum
}

type logEnd struct {
	sealed, gone bool
	end          stream.Slot
}

func (v *verification) found(f Finding) {
	if f.Kind == Damage {
		v.Damaged++
	} else {
		v.Orphans++
	}
	if of := v.streams[f.Stream]; of != nil {
		f.Name = of.name
	}
	v.out(f)
}

// readShards reads all chains and states.
func (v *verification) readShards(ctx context.Context) error {
	v.Progress.begin("reading chains and states")
	for shard := range stream.Shard(v.shards) {
		entries, err := v.chain(ctx, shard, v.found)
		if err != nil {
			return err
		}
		v.chains = append(v.chains, entries)
		v.Epochs += len(entries)
		if len(entries) > 0 {
			v.Shards++
		}
		if err := v.readStates(ctx, shard, entries); err != nil {
			return err
		}
	}
	v.Streams = len(v.streams)
	return nil
}

// readStates reads all states of a shard; the newest sound one says which streams
// there are.
func (v *verification) readStates(ctx context.Context, shard stream.Shard, entries []*segment.ChainEntry) error {
	keys, err := v.keys(ctx, segment.StatePrefix(shard))
	if err != nil {
		return err
	}
	var newest *segment.State
	for _, key := range keys {
		state, err := v.state(ctx, key)
		switch {
		case isMissing(err):
			continue // replaced meanwhile
		case isDamage(err):
			v.found(damaged(key, err))
			continue
		case err != nil:
			return err
		}
		v.States++
		newest = state
	}
	if newest != nil {
		for i := range newest.Streams {
			x := &newest.Streams[i]
			v.streams[x.ID] = &streamView{shard: shard, name: x.Name, trim: x.Trim, tail: x.Tail}
		}
	}
	return v.checkHeadState(ctx, shard, entries, newest)
}

// checkHeadState makes sure that a takeover finds what it begins with.
func (v *verification) checkHeadState(ctx context.Context, shard stream.Shard, entries []*segment.ChainEntry, newest *segment.State) error {
	if len(entries) == 0 || entries[len(entries)-1] == nil {
		return nil
	}
	want := entries[len(entries)-1].State
	if want == nil || newest != nil && !newest.Ref().Before(*want) {
		return nil
	}
	if _, ok, err := v.entryAfter(ctx, shard, len(entries)); ok || err != nil {
		return err // taken over meanwhile
	}
	v.found(Finding{Kind: Damage, Key: want.Key(), What: fmt.Sprintf("the newest chain entry of shard %d names it, and neither it nor a newer state is sound", shard), Remedy: restoreObject})
	return nil
}

func (v *verification) entryAfter(ctx context.Context, shard stream.Shard, epochs int) (*segment.ChainEntry, bool, error) {
	entry, err := v.chainEntry(ctx, shard, stream.Epoch(epochs))
	if isMissing(err) || isDamage(err) {
		return nil, false, nil
	}
	return entry, err == nil, err
}

// readLogs reads every object of every log.
func (v *verification) readLogs(ctx context.Context) error {
	v.Progress.begin("reading logs")
	for l, err := range v.Survey.logs(ctx, func(key string) { v.found(strange(key)) }) {
		if err != nil {
			return err
		}
		if err := v.readLog(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) readLog(ctx context.Context, l *logView) error {
	v.Logs++
	v.logs[l.id] = logEnd{sealed: l.sealed, gone: l.gone, end: l.end}
	if l.gone {
		if err := v.checkMark(ctx, l); err != nil {
			return err
		}
	}
	w := &slotWalk{log: l}
	for window := range slices.Chunk(l.slots, v.parallel) {
		looks, err := v.readSlots(ctx, l.id, window)
		if err != nil {
			return err
		}
		for i := range looks {
			if err := v.slot(ctx, w, window[i], &looks[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verification) checkMark(ctx context.Context, l *logView) error {
	err := v.get(ctx, segment.GoneKey(l.id), objstore.Whole, func(body []byte) error {
		_, err := segment.DecodeEnvelope(segment.KindGone, body)
		return err
	})
	if isDamage(err) {
		v.found(damaged(segment.GoneKey(l.id), err))
		return nil
	}
	return err
}

// slotLook is what stands in a slot.
type slotLook struct {
	footer *segment.Footer // nil: a seal, or nothing sound
	seal   bool
	err    error // damage, or that it is missing
}

func (v *verification) readSlots(ctx context.Context, log stream.Incarnation, slots []stream.Slot) ([]slotLook, error) {
	out := make([]slotLook, len(slots))
	errs, err := v.each(ctx, len(slots), func(ctx context.Context, i int) error {
		return v.get(ctx, segment.SlotKey(log, slots[i]), objstore.Whole, func(body []byte) error { return out[i].decode(body, log, slots[i]) })
	})
	for i := range out {
		out[i].err = errs[i]
	}
	return out, err
}

func (l *slotLook) decode(body []byte, log stream.Incarnation, slot stream.Slot) error {
	trailer, err := segment.DecodeTrailer(body[max(0, len(body)-segment.TrailerSize):])
	if err == nil && (trailer.Log != log || trailer.Slot != slot) {
		err = fmt.Errorf("it says that it is slot %d of log %s", trailer.Slot, trailer.Log)
	}
	if err != nil {
		return err
	}
	if trailer.Kind == segment.KindSeal {
		l.seal = true
		_, _, err = segment.DecodeSeal(body)
		return err
	}
	l.footer, err = segment.Verify(body)
	return err
}

// slotWalk goes up a log.
type slotWalk struct {
	log  *logView
	next stream.Slot // that should come
	past bool        // the first seal, or a hole that may be
}

// slot takes the next slot that stands, and finds out about those between.
func (v *verification) slot(ctx context.Context, w *slotWalk, slot stream.Slot, look *slotLook) error {
	v.Slots++
	key := segment.SlotKey(w.log.id, slot)
	if isMissing(look.err) {
		return v.missingSlot(ctx, w, slot)
	}
	counts := !w.past && (!w.log.sealed || slot < w.log.end)
	if isDamage(look.err) {
		v.found(damaged(key, look.err))
		w.next = slot + 1
		return nil
	}
	if look.seal {
		w.past, w.next = true, slot+1
		return nil
	}
	for ; counts && w.next < slot && !w.log.gone; w.next++ {
		window := stream.Slot(look.footer.Window)
		if w.log.sealed || w.next+window <= slot {
			if err := v.missingSlot(ctx, w, w.next); err != nil {
				return err
			}
			continue
		}
		w.past, counts = true, false // not resolved yet, nor is what is above it
	}
	w.next = slot + 1
	if counts || !w.past {
		v.cover(look.footer)
	}
	return nil
}

// missingSlot reports a slot that must be there, unless it was collected since.
func (v *verification) missingSlot(ctx context.Context, w *slotWalk, slot stream.Slot) error {
	if w.log.gone || w.log.sealed && slot >= w.log.end {
		return nil
	}
	if _, err := v.store.Head(ctx, segment.GoneKey(w.log.id)); !isMissing(err) {
		return err
	}
	v.found(Finding{Kind: Damage, Key: segment.SlotKey(w.log.id, slot), What: "the slot is missing below others that were written after it", Remedy: restoreObject})
	return nil
}

func (v *verification) cover(f *segment.Footer) {
	for _, section := range f.Sections {
		for i := range section.Streams {
			x := &section.Streams[i]
			v.covered[x.Stream] = v.covered[x.Stream].add(x.First, x.Next())
		}
	}
}

// checkChains makes sure that each entry goes on where the one before ends.
func (v *verification) checkChains(ctx context.Context) error {
	v.Progress.begin("checking chains")
	for _, entries := range v.chains {
		for i := 1; i < len(entries); i++ {
			if before, e := entries[i-1], entries[i]; before != nil && e != nil {
				v.checkLink(before, e)
			}
		}
	}
	return ctx.Err()
}

func (v *verification) checkLink(before, e *segment.ChainEntry) {
	key := segment.ChainKey(e.Shard, e.Epoch)
	log, known := v.logs[before.Owner]
	problem := func(format string, args ...any) {
		v.found(Finding{Kind: Damage, Key: key, What: fmt.Sprintf(format, args...), Remedy: restoreObject})
	}
	switch {
	case e.State == nil:
		problem("it names no state, though there are epochs before it")
	case e.PredecessorEnd > before.FirstSlot && !known:
		problem("its predecessor's log %s is not in the store", before.Owner)
	// A collected log may have been sealed once more at its start, by whoever took a
	// shard whose chain entry landed late.
	case known && log.sealed && !log.gone && e.PredecessorEnd > max(log.end, before.FirstSlot):
		problem("its predecessor's part ends at slot %d, behind the seal of log %s at slot %d", e.PredecessorEnd, before.Owner, log.end)
	}
}

// checkStreams makes sure that every record which is kept stands somewhere.
func (v *verification) checkStreams(ctx context.Context) error {
	v.Progress.begin("checking streams")
	var gaps []Finding
	for id, x := range v.streams {
		// What was written after the state ends where the objects end.
		tail := x.tail
		if have := v.covered[id]; len(have) > 0 {
			tail = max(tail, have[len(have)-1].next)
		}
		for _, gap := range v.covered[id].gaps(x.trim, tail) {
			gaps = append(gaps, Finding{Kind: Damage, Stream: id, First: gap.first, Next: gap.next,
				What: "the records stand in no sound object", Remedy: "restore what is missing or damaged"})
		}
	}
	if len(gaps) == 0 {
		return nil
	}
	// Trimmed or deleted since the states were read, perhaps.
	now := map[stream.Shard]map[stream.ID]stream.SeqNum{}
	for _, f := range gaps {
		shard := v.streams[f.Stream].shard
		if now[shard] == nil {
			state, err := v.newestState(ctx, shard, func(Finding) {})
			if err != nil {
				return err
			}
			now[shard] = trims(state)
		}
		trim, alive := now[shard][f.Stream]
		if f.First = max(f.First, trim); !alive || f.First >= f.Next {
			continue
		}
		dropped, err := v.dropped(ctx, f.Stream, f.Next)
		if err != nil {
			return err
		}
		if !dropped {
			v.found(f)
		}
	}
	return nil
}

func trims(state *segment.State) map[stream.ID]stream.SeqNum {
	out := map[stream.ID]stream.SeqNum{}
	for i := range state.Streams {
		out[state.Streams[i].ID] = state.Streams[i].Trim
	}
	return out
}

// dropped tells that the index knows of a trim or an end that no state has yet.
func (v *verification) dropped(ctx context.Context, id stream.ID, next stream.SeqNum) (bool, error) {
	if v.index == nil {
		return false, nil
	}
	limits, err := v.index.Limits(ctx, []stream.ID{id})
	return limits[id].Dead || next <= limits[id].Trim, err
}

// ErrDamaged ends a verification that has found damage.
var ErrDamaged = errors.New("there is damage")
