package shardlog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A replica is a shard's durable state. It changes only by apply, with the
// sections of durable slots in order, so an owner and whoever takes over from it
// can't come to different results.
type replica struct {
	streams map[stream.ID]*segment.StreamState
	names   map[stream.Name]*segment.StreamState
	// roll has every stream, and some that are gone, so that a survey can go
	// through them a page at a time. It is not part of the state.
	roll []*segment.StreamState
	// Streams and buckets that are gone for good. Kept until nothing can bring
	// them back.
	tombstones       map[stream.ID]struct{}
	bucketTombstones map[stream.ID]struct{}
}

func newReplica() *replica {
	return &replica{
		streams:          map[stream.ID]*segment.StreamState{},
		names:            map[stream.Name]*segment.StreamState{},
		tombstones:       map[stream.ID]struct{}{},
		bucketTombstones: map[stream.ID]struct{}{},
	}
}

// restore makes the replica that a state object describes.
func restore(s *segment.State) *replica {
	r := newReplica()
	for i := range s.Streams {
		st := s.Streams[i]
		r.add(&st)
	}
	for _, id := range s.Tombstones {
		r.tombstones[id] = struct{}{}
	}
	for _, id := range s.BucketTombstones {
		r.bucketTombstones[id] = struct{}{}
	}
	return r
}

// snapshot describes the replica; the parts below ref.Slot are in it.
func (r *replica) snapshot(ref segment.StateRef) *segment.State {
	s := &segment.State{Shard: ref.Shard, Epoch: ref.Epoch, Slot: ref.Slot}
	for _, id := range sortedIDs(r.streams) {
		s.Streams = append(s.Streams, *r.streams[id])
	}
	s.Tombstones = sortedIDs(r.tombstones)
	s.BucketTombstones = sortedIDs(r.bucketTombstones)
	return s
}

func sortedIDs[V any](m map[stream.ID]V) []stream.ID {
	return slices.SortedFunc(maps.Keys(m), func(a, b stream.ID) int { return slices.Compare(a[:], b[:]) })
}

func (r *replica) add(st *segment.StreamState) {
	r.streams[st.ID] = st
	r.names[st.Name] = st
	r.roll = append(r.roll, st)
}

// page calls f for up to limit streams from a place in the roll on, and returns the
// place to go on from; 0: that was all. It drops those that are gone, and puts the
// last one in their place, so no stream is skipped.
func (r *replica) page(from, limit int, f func(*segment.StreamState)) (next int) {
	for ; limit > 0 && from < len(r.roll); limit-- {
		st := r.roll[from]
		if r.streams[st.ID] == st {
			f(st)
			from++
			continue
		}
		last := len(r.roll) - 1
		r.roll[from], r.roll[last] = r.roll[last], nil
		r.roll = r.roll[:last]
	}
	if from >= len(r.roll) {
		return 0
	}
	return from
}

// buried tells whether the stream, or all of its bucket, is gone for good.
func (r *replica) buried(id, bucket stream.ID) bool {
	_, gone := r.tombstones[id]
	_, bucketGone := r.bucketTombstones[bucket]
	return gone || bucketGone
}

// apply brings the replica past one section: what became of its streams is told
// by the entries first, in order, then by the summaries.
func (r *replica) apply(s *segment.Section) error {
	for i := range s.Entries {
		r.applyEntry(&s.Entries[i])
	}
	for i := range s.Streams {
		if err := r.applySummary(&s.Streams[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *replica) applyEntry(e *segment.Entry) {
	switch e.Kind {
	case segment.EntryOpen:
		r.add(&segment.StreamState{
			ID: e.Stream, BucketID: e.BucketID, Name: e.Name, Config: e.Config, ConfigVersion: e.ConfigVersion,
		})
	case segment.EntryConfigure:
		if st := r.streams[e.Stream]; st != nil && st.ConfigVersion < e.ConfigVersion {
			st.Config, st.ConfigVersion = e.Config, e.ConfigVersion
		}
	case segment.EntryTrim:
		if st := r.streams[e.Stream]; st != nil {
			st.Trim = max(st.Trim, e.Trim)
		}
	case segment.EntryTombstone:
		r.bury(e.Stream)
	case segment.EntryTombstoneBucket:
		r.buryBucket(e.BucketID)
	case segment.EntryHandOver: // says where the part ends, nothing of its streams
	}
}

func (r *replica) bury(id stream.ID) {
	r.tombstones[id] = struct{}{}
	st := r.streams[id]
	if st == nil {
		return
	}
	delete(r.streams, id)
	if r.names[st.Name] == st {
		delete(r.names, st.Name)
	}
}

func (r *replica) buryBucket(bucket stream.ID) {
	r.bucketTombstones[bucket] = struct{}{}
	for id, st := range r.streams {
		if st.BucketID == bucket {
			r.bury(id)
		}
	}
}

func (r *replica) applySummary(sum *segment.Summary) error {
	st := r.streams[sum.Stream]
	if st == nil {
		// A stream's last batches can share their segment with its tombstone.
		if _, gone := r.tombstones[sum.Stream]; gone {
			return nil
		}
		return fmt.Errorf("%w: records of stream %s, which was never opened", ErrDamaged, sum.Stream)
	}
	if sum.First != st.Tail {
		return fmt.Errorf("%w: stream %s goes on at seq_num %d instead of %d", ErrDamaged, sum.Stream, sum.First, st.Tail)
	}
	st.Tail = sum.First + stream.SeqNum(sum.Count)
	st.LastTimestamp, st.LastIDMillis = sum.LastTimestamp, sum.IDMillis
	st.Trim = max(st.Trim, sum.Trim)
	if sum.Fence != nil {
		st.Fence = *sum.Fence
	}
	for _, b := range sum.Producers {
		remember(st, b)
	}
	return nil
}
