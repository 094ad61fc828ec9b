package survey

import (
	"context"
	"fmt"
	"strings"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// newestState reads a shard's newest state; nil: it has none. States that are
// damaged are given to bad, and the one before is taken.
func (s *Survey) newestState(ctx context.Context, shard stream.Shard, bad func(Finding)) (*segment.State, error) {
	const looks = 5
	for range looks {
		keys, err := s.keys(ctx, segment.StatePrefix(shard))
		if err != nil {
			return nil, err
		}
		state, replaced, err := s.newestOf(ctx, keys, bad)
		if err != nil || !replaced {
			return state, err
		}
	}
	return nil, fmt.Errorf("the newest of the objects %q was gone before it could be read, %d times; try again", segment.StatePrefix(shard), looks)
}

// newestOf reads the newest state of those listed. replaced: it was deleted since,
// so there is a newer one.
func (s *Survey) newestOf(ctx context.Context, keys []string, bad func(Finding)) (state *segment.State, replaced bool, err error) {
	for i := len(keys) - 1; i >= 0; i-- {
		state, err := s.state(ctx, keys[i])
		switch {
		case err == nil:
			return state, false, nil
		case isDamage(err):
			bad(damaged(keys[i], err))
		case isMissing(err):
			return nil, true, nil
		default:
			return nil, false, err
		}
	}
	return nil, false, nil
}

func (s *Survey) state(ctx context.Context, key string) (state *segment.State, err error) {
	err = s.get(ctx, key, objstore.Whole, func(body []byte) (err error) {
		if state, err = segment.DecodeState(body); err == nil && state.Ref().Key() != key {
			err = fmt.Errorf("it says that it is %q", state.Ref().Key())
		}
		return err
	})
	return state, err
}

func (s *Survey) keys(ctx context.Context, prefix string) (keys []string, err error) {
	for info, err := range s.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		keys = append(keys, info.Key)
	}
	return keys, nil
}

// chain reads all entries of a shard, by epoch. Gaps and damage are given to bad,
// and leave an entry nil.
func (s *Survey) chain(ctx context.Context, shard stream.Shard, bad func(Finding)) ([]*segment.ChainEntry, error) {
	keys, err := s.keys(ctx, segment.ChainPrefix(shard))
	if err != nil {
		return nil, err
	}
	var entries []*segment.ChainEntry
	for _, key := range keys {
		n, ok := number(strings.TrimPrefix(key, segment.ChainPrefix(shard)))
		epoch := stream.Epoch(n)
		if !ok || segment.ChainKey(shard, epoch) != key {
			bad(strange(key))
			continue
		}
		for missing := stream.Epoch(len(entries)); missing < epoch; missing++ {
			bad(Finding{Kind: Damage, Key: segment.ChainKey(shard, missing), What: "the entry is missing below a newer one", Remedy: restoreObject})
			entries = append(entries, nil)
		}
		entry, err := s.chainEntry(ctx, shard, epoch)
		if isDamage(err) || isMissing(err) {
			bad(damaged(key, err))
		} else if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func (s *Survey) chainEntry(ctx context.Context, shard stream.Shard, epoch stream.Epoch) (entry *segment.ChainEntry, err error) {
	err = s.get(ctx, segment.ChainKey(shard, epoch), objstore.Whole, func(body []byte) error {
		e, err := segment.DecodeChainEntry(body)
		if err == nil && (e.Shard != shard || e.Epoch != epoch) {
			err = fmt.Errorf("it says that it is shard %d epoch %d", e.Shard, e.Epoch)
		}
		if err == nil {
			entry = &e
		}
		return err
	})
	return entry, err
}
