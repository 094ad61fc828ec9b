package survey

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// missing is what the index to be replaced has of objects that do not stand, or are
// damaged. If it is from the past, they were replaced or let go. If nothing else holds
// what was in them they are lost, and the index has the only word of where they
// belong: without it, putting an object back would not help.
type missing struct {
	objects map[segment.ChunkID]chunkindex.Object
	chunks  []chunkindex.Chunk
	slots   map[stream.ID]spans // what slots that stand hold, of the streams concerned
}

const pageSize = 1000

// findMissing looks through the index as it is.
func (r *rebuild) findMissing(ctx context.Context, index Rebuildable) error {
	sound := map[segment.ChunkID]bool{}
	for _, o := range r.objects {
		sound[o.ID] = true
	}
	m := &r.missing
	m.objects, m.slots = map[segment.ChunkID]chunkindex.Object{}, map[stream.ID]spans{}
	var ids []segment.ChunkID
	for after := segment.ChunkID(0); ; {
		page, err := index.Page(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for _, o := range page {
			if after = o.ID; o.State == chunkindex.StateLive && o.LiveBytes > 0 && !sound[o.ID] {
				ids, m.objects[o.ID] = append(ids, o.ID), o
			}
		}
		if len(page) < pageSize {
			break
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var err error
	m.chunks, err = index.ChunksIn(ctx, ids)
	for i := range m.chunks {
		m.slots[m.chunks[i].Stream] = nil
	}
	return err
}

// stand takes note of records that are in a slot.
func (m *missing) stand(streams []segment.Summary) {
	for i := range streams {
		s := &streams[i]
		if have, concerned := m.slots[s.Stream]; concerned {
			m.slots[s.Stream] = have.add(s.First, s.Next())
		}
	}
}

// keepMissing leaves the chunks in the index that nothing else has, and reports them.
func (r *rebuild) keepMissing(made *chunkindex.Rebuilt) {
	have := map[stream.ID]spans{}
	for i := range made.Chunks {
		c := &made.Chunks[i]
		if _, concerned := r.missing.slots[c.Stream]; concerned {
			have[c.Stream] = have[c.Stream].add(c.First, c.Next())
		}
	}
	kept := map[segment.ChunkID]int64{}
	for _, c := range r.missing.chunks {
		alone := slices.Equal(have[c.Stream].gaps(c.First, c.Next()), spans{{c.First, c.Next()}})
		limit := r.limits[c.Stream]
		if !alone || limit.Dead || c.Next() <= limit.Trim || len(r.missing.slots[c.Stream].gaps(c.First, c.Next())) == 0 {
			continue
		}
		made.Chunks = append(made.Chunks, c)
		kept[c.Object] += int64(c.Stored)
	}
	for id, live := range kept {
		o := r.missing.objects[id]
		o.LiveBytes = live
		made.Objects = append(made.Objects, o)
		made.Last = max(made.Last, id)
		r.bad(Finding{Kind: Damage, Key: segment.ChunkKey(id), Remedy: restoreObject,
			What: fmt.Sprintf("it is missing or damaged, and nothing else holds %d bytes of what was in it", live)})
	}
	slices.SortFunc(made.Objects, func(a, b chunkindex.Object) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(made.Chunks, func(a, b chunkindex.Chunk) int {
		return cmp.Or(bytes.Compare(a.Stream[:], b.Stream[:]), cmp.Compare(a.First, b.First))
	})
}
