package chunkindex

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sort"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Find is as DB's.
func (m *Mem) Find(ctx context.Context, id stream.ID, from stream.SeqNum, limit int) ([]Chunk, error) {
	return m.find(ctx, id, limit, func(c *Chunk) bool { return c.Next() > from })
}

// FindTimestamp is as DB's.
func (m *Mem) FindTimestamp(ctx context.Context, id stream.ID, t uint64, limit int) ([]Chunk, error) {
	return m.find(ctx, id, limit, func(c *Chunk) bool { return c.LastTimestamp >= t })
}

func (m *Mem) find(ctx context.Context, id stream.ID, limit int, ok func(*Chunk) bool) ([]Chunk, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	list := m.chunks[id]
	list = list[sort.Search(len(list), func(i int) bool { return ok(&list[i]) }):]
	return slices.Clone(list[:min(limit, len(list))]), nil
}

// Tails is as DB's.
func (m *Mem) Tails(ctx context.Context, spans []Span) ([]Chunk, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []Chunk
	for _, s := range spans {
		list := m.chunks[s.Stream]
		at := sort.Search(len(list), func(i int) bool { return list[i].Next() > s.First })
		end := at
		for end < len(list) && list[end].First < s.Next {
			end++
		}
		out = append(out, list[max(0, at-TailChunks):end]...)
	}
	slices.SortFunc(out, compareChunks)
	return out, nil
}

func compareChunks(a, b Chunk) int {
	if c := bytes.Compare(a.Stream[:], b.Stream[:]); c != 0 {
		return c
	}
	return cmp.Compare(a.First, b.First)
}

// Still is as DB's.
func (m *Mem) Still(ctx context.Context, chunks []Chunk) ([]Chunk, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []Chunk
	for i := range chunks {
		if m.at(&chunks[i]) >= 0 {
			out = append(out, chunks[i])
		}
	}
	slices.SortFunc(out, compareChunks)
	return out, nil
}

// Limits is as DB's.
func (m *Mem) Limits(ctx context.Context, ids []stream.ID) (map[stream.ID]Limit, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := map[stream.ID]Limit{}
	for _, id := range ids {
		if l := m.limits[id]; l != nil && l.Limit != (Limit{}) {
			out[id] = l.Limit
		}
	}
	return out, nil
}

// Cover is as DB's.
func (m *Mem) Cover(ctx context.Context, spans []Span) (objects []segment.ChunkID, missing []Span, err error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	for _, s := range spans {
		if l := m.limits[s.Stream]; l != nil {
			if s.First = max(s.First, l.Trim); l.Dead || s.First >= s.Next {
				continue
			}
		}
		var covered stream.SeqNum
		for _, c := range m.chunks[s.Stream] {
			if c.Overlaps(s.First, s.Next) {
				covered += min(c.Next(), s.Next) - max(c.First, s.First)
				objects = append(objects, c.Object)
			}
		}
		if covered < s.Next-s.First {
			missing = append(missing, s)
		}
	}
	slices.Sort(objects)
	return slices.Compact(objects), missing, nil
}
