package failpoint

import (
	"context"
	"strings"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
)

// Store puts points around what changes the object store. Without -tags failpoint
// it is the store itself.
func Store(s objstore.Store) objstore.Store {
	if !Enabled {
		return s
	}
	return store{s}
}

type store struct{ objstore.Store }

func (s store) Close() error { return objstore.Close(s.Store) }

func (s store) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	step, known := putStep(key, body)
	if !known {
		return s.Store.PutIfAbsent(ctx, key, body)
	}
	Before(step)
	err := s.Store.PutIfAbsent(ctx, key, body)
	After(step)
	return err
}

func (s store) Delete(ctx context.Context, key string) error {
	step, known := deleteStep(key)
	if !known {
		return s.Store.Delete(ctx, key)
	}
	Before(step)
	err := s.Store.Delete(ctx, key)
	After(step)
	return err
}

func putStep(key string, body []byte) (Step, bool) {
	switch {
	case strings.HasPrefix(key, segment.LogPrefix):
		return logStep(key, body)
	case strings.HasPrefix(key, segment.ChainsPrefix):
		return ChainPut, true
	case strings.HasPrefix(key, segment.StatesPrefix):
		return StatePut, true
	case strings.HasPrefix(key, segment.ChunkPrefix):
		return ChunkPut, true
	}
	return 0, false // the cluster object and probes
}

func logStep(key string, body []byte) (Step, bool) {
	if log, _, ok := segment.ParseLogKey(key); ok && key == segment.GoneKey(log) {
		return GonePut, true
	}
	t, err := segment.DecodeTrailer(body[max(0, len(body)-segment.TrailerSize):])
	if err != nil {
		return 0, false
	}
	if t.Kind == segment.KindSeal {
		return SealPut, true
	}
	return SegmentPut, true
}

func deleteStep(key string) (Step, bool) {
	switch {
	case strings.HasPrefix(key, segment.LogPrefix):
		return SlotDelete, true
	case strings.HasPrefix(key, segment.ChunkPrefix):
		return ChunkDelete, true
	}
	return 0, false
}
