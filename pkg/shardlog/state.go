package shardlog

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A stateWriter writes a shard's state anew once enough slots have passed, so that
// a takeover never has much to replay. Segments name the newest state only after
// its put has returned.
type stateWriter struct {
	ref     *segment.StateRef // the newest of this epoch that stands; nil: none yet
	since   stream.Slot       // where ref, or what is being put, ends; at first the part's start
	cost    int               // of replaying what came since then
	putting bool
	tries   tries
}

// streamsPerSlot is how many streams' summaries cost as much as a slot of their
// own.
const streamsPerSlot = 32

// idleFactor is how many more slots may pass without anything of the shard: a
// takeover reads their footers too, but these are small, and shared by the
// takeovers of other shards.
const idleFactor = 8

// passed takes note that a section of the shard has become durable.
func (t *stateWriter) passed(section *segment.Section) {
	t.cost += 1 + len(section.Streams)/streamsPerSlot
}

// writeStates puts the state of the shards that are due, as of the durable slot.
func (w *Writer) writeStates() {
	if !w.landed {
		return
	}
	w.landed = false
	for _, id := range w.order {
		if s := w.shards[id]; s.status == owned && !s.state.putting && s.stateDue() {
			s.writeState()
		}
	}
}

func (s *shard) stateDue() bool {
	cost := s.w.stateCost(s.id)
	return s.state.cost >= cost || s.w.log.durable >= s.state.since+stream.Slot(idleFactor*cost)
}

// stateCost spreads the shards' state puts, which would else come all at once
// when every shard sees every slot.
func (w *Writer) stateCost(id stream.Shard) int {
	spread := w.cfg.StateSlots / 2
	return w.cfg.StateSlots - spread + int(id)*spread/int(w.cfg.Shards)
}

func (s *shard) writeState() {
	ref := segment.StateRef{Shard: s.id, Epoch: s.entry.Epoch, Slot: s.w.log.durable}
	body := s.durable.snapshot(ref).Encode()
	s.state.since, s.state.cost, s.state.putting = ref.Slot, 0, true
	s.w.put(segment.StateKey(ref.Shard, ref.Epoch, ref.Slot), func() []byte { return body }, &s.state.tries, func(r PutDone) {
		if s.entry.Epoch != ref.Epoch {
			return // handed over and taken back meanwhile
		}
		s.state.putting = false
		if r.Outcome == Created || r.Outcome == Exists { // only this owner writes this key
			s.state.ref = &ref
		}
	})
}

// stateRefs names the newest state of each shard, for the next segment. A shard
// that was handed over may come to be taken from the end of the whole log.
func (w *Writer) stateRefs() []segment.StateRef {
	refs := make([]segment.StateRef, 0, len(w.shards))
	for _, id := range w.order {
		if s := w.shards[id]; s.state.ref != nil {
			refs = append(refs, *s.state.ref)
		}
	}
	return refs
}
