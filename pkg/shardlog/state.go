package shardlog

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A stateWriter writes a shard's state anew once enough slots with its data have
// passed, so that a takeover never has much to replay. Segments name the newest
// state only after its put has returned.
type stateWriter struct {
	ref     *segment.StateRef // the newest of this epoch that stands; nil: none yet
	cost    int               // of replaying what came since ref, or since what is being put
	last    stream.Slot       // the last slot with data, plus one; 0: none
	putting bool
}

// streamsPerSlot is how many streams' summaries cost as much as a slot of their
// own.
const streamsPerSlot = 32

// passed takes note that a section of the shard has become durable.
func (t *stateWriter) passed(section *segment.Section, slot stream.Slot) {
	t.cost += 1 + len(section.Streams)/streamsPerSlot
	if len(section.Streams) > 0 {
		t.last = slot + 1
	}
}

// writeStates puts the state of the shards that are due, as of the durable slot.
func (w *Writer) writeStates() {
	if !w.landed {
		return
	}
	w.landed = false
	for _, id := range w.order {
		if s := w.shards[id]; s.status == owned && !s.state.putting && s.state.cost >= w.stateCost(id) {
			s.writeState()
		}
	}
}

// stateSlots spreads the shards' state puts, which would else come all at once
// when every shard sees every slot.
func (w *Writer) stateCost(id stream.Shard) int {
	spread := w.cfg.StateSlots / 2
	return w.cfg.StateSlots - spread + int(id)*spread/int(w.cfg.Shards)
}

func (s *shard) writeState() {
	ref := segment.StateRef{Shard: s.id, Epoch: s.entry.Epoch, Slot: s.w.log.durable}
	body := s.durable.snapshot(ref).Encode()
	s.state.cost, s.state.putting = 0, true
	s.w.put(segment.StateKey(ref.Shard, ref.Epoch, ref.Slot), func() []byte { return body }, func(r PutDone) {
		s.state.putting = false
		if r.Outcome == Created || r.Outcome == Exists { // only this owner writes this key
			s.state.ref = &ref
		}
	})
}

// stateRefs names the newest state of each shard, for the next segment.
func (w *Writer) stateRefs() []segment.StateRef {
	refs := make([]segment.StateRef, 0, len(w.shards))
	for _, id := range w.order {
		if s := w.shards[id]; s.state.ref != nil && (s.status == owned || s.status == handing) {
			refs = append(refs, *s.state.ref)
		}
	}
	return refs
}
