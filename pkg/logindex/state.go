package logindex

import (
	"bytes"
	"context"
	"errors"
	"sort"
	"unsafe"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// states reads state objects and keeps what a search needs of them.
type states struct {
	store objstore.Store
	cache *cache[segment.StateRef, *state]
}

// state is where each stream of a shard stood, sorted by ID.
type state struct {
	streams []position
}

type position struct {
	id            stream.ID
	tail          stream.SeqNum
	lastTimestamp uint64
}

func newStates(store objstore.Store, cacheBytes int64) *states {
	return &states{store: store, cache: newCache[segment.StateRef](cacheBytes, func(s *state) int64 {
		return 64 + int64(len(s.streams))*int64(unsafe.Sizeof(position{}))
	})}
}

// find returns the zero position for a stream that did not exist.
func (s *state) find(id stream.ID) position {
	i := sort.Search(len(s.streams), func(i int) bool { return bytes.Compare(s.streams[i].id[:], id[:]) >= 0 })
	if i < len(s.streams) && s.streams[i].id == id {
		return s.streams[i]
	}
	return position{id: id}
}

// at tells where the stream stood when the epoch began. False: the state object
// has been replaced by a newer one and is gone.
func (s *states) at(ctx context.Context, entry segment.ChainEntry, id stream.ID) (position, bool, error) {
	if entry.State == nil {
		return position{id: id}, true, nil
	}
	state, err := s.cache.load(ctx, *entry.State, func(ctx context.Context) (*state, error) {
		return twice(func() (*state, error) { return s.fetch(ctx, *entry.State) })
	})
	if errors.Is(err, objstore.ErrNotFound) {
		return position{}, false, nil
	}
	if err != nil {
		return position{}, false, err
	}
	return state.find(id), true, nil
}

func (s *states) fetch(ctx context.Context, ref segment.StateRef) (*state, error) {
	key := segment.StateKey(ref.Shard, ref.Epoch, ref.Slot)
	object, err := s.store.Get(ctx, key, objstore.Whole)
	if err != nil {
		return nil, err
	}
	decoded, err := segment.DecodeState(object.Body)
	if err != nil {
		return nil, &DamageError{Key: key, Err: err}
	}
	out := &state{streams: make([]position, 0, len(decoded.Streams))}
	for i := range decoded.Streams {
		in := &decoded.Streams[i]
		out.streams = append(out.streams, position{in.ID, in.Tail, in.LastTimestamp})
	}
	sort.Slice(out.streams, func(i, j int) bool {
		return bytes.Compare(out.streams[i].id[:], out.streams[j].id[:]) < 0
	})
	return out, nil
}
