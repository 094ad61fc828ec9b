package sim

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// laws watches the store: no object may come or go against the rules (I1, I2, I3,
// I7, I8).
type laws struct {
	w      *World
	store  *store
	index  *database
	logs   map[string]*logHistory
	chains map[stream.Shard][]segment.ChainEntry
}

// logHistory is every object that ever stood in a log.
type logHistory struct {
	data    map[stream.Slot]uint64 // segments' digests
	seals   map[stream.Slot]bool
	issued  map[stream.Slot]uint64 // the digests of what its writer puts
	durable stream.Slot            // checked up to here
}

func (l *laws) log(id string) *logHistory {
	h := l.logs[id]
	if h == nil {
		h = &logHistory{data: map[stream.Slot]uint64{}, seals: map[stream.Slot]bool{}, issued: map[stream.Slot]uint64{}}
		l.logs[id] = h
	}
	return h
}

// slotOf reads a key of a log; false: it is the gone mark.
func slotOf(key string) (log string, slot stream.Slot, ok bool) {
	parts := strings.Split(key, "/")
	n, err := strconv.ParseUint(parts[len(parts)-1], 10, 64)
	return parts[1], stream.Slot(n), err == nil
}

// end is where a log's lowest seal stands, if every slot below it was data.
func (h *logHistory) end() (stream.Slot, bool) {
	for slot := stream.Slot(0); ; slot++ {
		if h.seals[slot] {
			return slot, true
		}
		if _, ok := h.data[slot]; !ok {
			return 0, false
		}
	}
}

// issuing sees what a writer puts into its own log: a slot is put again only with
// the same content, and only while all up to the window below it is data.
func (l *laws) issuing(own []stream.Incarnation, key string, body []byte) {
	if !slices.ContainsFunc(own, func(id stream.Incarnation) bool { return strings.HasPrefix(key, segment.LogPrefix+id.String()) }) {
		return
	}
	log, slot, _ := slotOf(key)
	h, d := l.log(log), xxhash.Sum64(body)
	before, again := h.issued[slot]
	l.w.mustf(!again || before == d, "I1: %s is put again with other content", key)
	h.issued[slot] = d
	if slot >= simWindow {
		_, ok := h.data[slot-simWindow]
		l.w.mustf(ok, "I14: slot %d is put before slot %d of the log is data: more than the window is in flight", slot, slot-simWindow)
	}
}

func (l *laws) creating(key string, body []byte) {
	switch {
	case strings.HasPrefix(key, segment.LogPrefix):
		l.creatingSlot(key, body)
	case strings.HasPrefix(key, segment.ChainsPrefix):
		l.creatingEntry(key, body)
	case strings.HasPrefix(key, segment.ChunkPrefix):
		l.w.stats.ChunkObjects++
	}
}

func (l *laws) creatingSlot(key string, body []byte) {
	log, slot, ok := slotOf(key)
	if !ok {
		return
	}
	h := l.log(log)
	t, err := segment.DecodeTrailer(body[len(body)-segment.TrailerSize:])
	l.w.mustf(err == nil, "%s: %v", key, err)
	if t.Kind == segment.KindSeal {
		h.seals[slot] = true
		l.w.stats.Sealed++
		return
	}
	l.w.stats.Slots++
	before, again := h.data[slot]
	l.w.mustf(!again || before == xxhash.Sum64(body), "I1: %s comes back with other content", key)
	h.data[slot] = xxhash.Sum64(body)
}

// creatingEntry wants the part before to have ended: by a seal, or by a hand-over
// entry in its last slot.
func (l *laws) creatingEntry(key string, body []byte) {
	e, err := segment.DecodeChainEntry(body)
	l.w.mustf(err == nil, "%s: %v", key, err)
	chain := l.chains[e.Shard]
	l.w.mustf(int(e.Epoch) == len(chain), "%s: epochs are not contiguous", key)
	l.chains[e.Shard] = append(chain, e)
	l.w.stats.Takes++
	if e.Epoch == 0 {
		return
	}
	before := chain[e.Epoch-1]
	if end, sealed := l.log(before.Owner.String()).end(); sealed && (end == e.PredecessorEnd || end <= before.FirstSlot) {
		return
	}
	l.w.mustf(l.handedOver(before, e.PredecessorEnd), "I7: %s stands before the part of epoch %d has ended at slot %d", key, before.Epoch, e.PredecessorEnd)
	l.w.stats.HandOvers++
}

func (l *laws) handedOver(e segment.ChainEntry, end stream.Slot) bool {
	if end == 0 {
		return false
	}
	footer, err := segment.DecodeFooter(l.store.body(segment.SlotKey(e.Owner, end-1)))
	if err != nil {
		return false
	}
	for _, section := range footer.Sections {
		for _, entry := range section.Entries {
			if entry.Kind == segment.EntryHandOver && entry.Shard == e.Shard && entry.Epoch == e.Epoch {
				return true
			}
		}
	}
	return false
}

// durable sees a writer call a slot durable: all up to it must be its data.
func (l *laws) durable(id stream.Incarnation, slot stream.Slot) {
	h := l.log(id.String())
	for ; h.durable <= slot; h.durable++ {
		_, data := h.data[h.durable]
		l.w.mustf(data, "I2: slot %d of log %s counts as durable, slot %d is not its data", slot, id, h.durable)
		l.w.mustf(!h.seals[h.durable], "I3: slot %d of log %s counts as durable, slot %d is a seal", slot, id, h.durable)
	}
}

func (l *laws) removing(key string) {
	switch {
	case strings.HasPrefix(key, segment.LogPrefix):
		log, slot, ok := slotOf(key)
		l.w.mustf(ok, "I8: the gone mark %s is deleted", key)
		h := l.log(log)
		l.w.mustf(!h.seals[slot], "I8: the seal %s is deleted", key)
		end, sealed := h.end()
		l.w.mustf(sealed && slot < end, "I8: %s is deleted, of a log that is not sealed", key)
		l.w.mustf(l.store.stands(segment.LogPrefix+log+"/gone"), "I8: %s is deleted before the gone mark is put", key)
	case strings.HasPrefix(key, segment.ChunkPrefix):
		l.removingChunk(key)
	case strings.HasPrefix(key, segment.StatesPrefix):
		l.removingState(key)
	default:
		l.w.mustf(false, "I8: %s is deleted", key)
	}
}

// removingChunk wants the row to have gone first.
func (l *laws) removingChunk(key string) {
	id, ok := segment.ParseChunkKey(key)
	l.w.mustf(ok, "unknown object %s", key)
	l.w.mustf(l.index.removed[id], "I8: %s is deleted, which no index ever let go", key)
	for _, o := range l.index.objects(id) {
		l.w.mustf(o.State == chunkindex.StateRemoved, "I8: %s is deleted while its row is %s with %d live bytes", key, o.State, o.LiveBytes)
	}
}

// removingState wants the states to stay that a takeover can begin with: the one that
// the head names, the newest, and the ones that the last footers of its part name,
// wherever that may come to end.
func (l *laws) removingState(key string) {
	ref, ok := segment.ParseStateKey(key)
	l.w.mustf(ok, "unknown object %s", key)
	chain := l.chains[ref.Shard]
	head := chain[len(chain)-1]
	l.w.mustf(head.State == nil || ref != *head.State, "I8: %s is deleted, which the newest chain entry names", key)
	end := head.FirstSlot
	for h := l.log(head.Owner.String()); ; end++ {
		if _, data := h.data[end]; !data {
			break
		}
		if end > head.FirstSlot && l.handedOver(head, end) {
			l.mayBegin(key, ref, head, end)
		}
	}
	l.mayBegin(key, ref, head, end)
}

// mayBegin wants a state to stay that a takeover begins with if the part ends there.
func (l *laws) mayBegin(key string, ref segment.StateRef, head segment.ChainEntry, end stream.Slot) {
	if ref.Epoch != head.Epoch {
		return // of an earlier part: footers go on naming it until its owner has the shard back
	}
	l.w.mustf(ref.Slot != end, "I8: %s is deleted, which the next chain entry may name", key)
	if end <= head.FirstSlot {
		return
	}
	footer, err := segment.DecodeFooter(l.store.body(segment.SlotKey(head.Owner, end-1)))
	l.w.mustf(err == nil, "%s: %v", segment.SlotKey(head.Owner, end-1), err)
	l.w.mustf(!slices.Contains(footer.States, ref), "I8: %s is deleted, with which a takeover begins at slot %d", key, end)
}

// logID reads the log of a key.
func logID(key string) (stream.Incarnation, error) {
	id, err := uuid.Parse(strings.Split(key, "/")[1])
	return stream.Incarnation(id), err
}
