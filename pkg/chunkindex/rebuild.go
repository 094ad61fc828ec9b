package chunkindex

import (
	"cmp"
	"context"
	"slices"
	"sort"

	"github.com/jackc/pgx/v5"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Rebuilt is an index made from objects.
type Rebuilt struct {
	Last    segment.ChunkID // no object has a greater id
	Objects []Object        // all of them, live
	Chunks  []Chunk         // by stream and position
	// Watermarks are as high as objects that stand prove. A log's slots above one
	// may be in chunks nevertheless: whoever compacts them leaves out what is.
	Watermarks map[stream.Incarnation]stream.Slot
	// Gone is the logs whose gone mark stands, with their ends; of those in Collected
	// no slot is left. Facts is what states and slots below the watermarks say.
	// Rebuild leaves them empty: it sees no logs.
	Gone      map[stream.Incarnation]stream.Slot
	Collected map[stream.Incarnation]bool
	Facts     Facts

	// partial are chunks left out because newer ones overlap them.
	partial []Chunk
}

// Rebuild makes the index from nothing but objects that stand and were verified. The newest object that holds a
// record has it: merging takes whole chunks over, so an older block that overlaps is
// one that was taken over, or one whose job was given up. limits, which may be nil,
// says what need not be kept.
func Rebuild(objects []*segment.Chunks, limits map[stream.ID]Limit) Rebuilt {
	objects = slices.SortedFunc(slices.Values(objects), func(a, b *segment.Chunks) int { return cmp.Compare(b.ID, a.ID) })
	r := Rebuilt{Watermarks: map[stream.Incarnation]stream.Slot{}}
	have := map[stream.ID]*coverage{}
	for _, o := range objects {
		r.Last = max(r.Last, o.ID)
		r.add(o, have, limits)
	}
	slices.SortFunc(r.Objects, func(a, b Object) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(r.Chunks, compareChunks)
	r.raise(have)
	return r
}

func (r *Rebuilt) add(o *segment.Chunks, have map[stream.ID]*coverage, limits map[stream.ID]Limit) {
	row := Object{ID: o.ID, State: StateLive, Job: Job{Log: o.Log, From: o.From, To: o.To, Sources: o.Sources}}
	for _, c := range ChunksOf(o) {
		row.Bytes += int64(c.Stored)
		if limits[c.Stream].drops(&c) {
			continue
		}
		of := have[c.Stream]
		if of == nil {
			of = &coverage{}
			have[c.Stream] = of
		}
		if of.add(c) {
			r.Chunks = append(r.Chunks, c)
			row.LiveBytes += int64(c.Stored)
		} else {
			r.partial = append(r.partial, c)
		}
	}
	r.Objects = append(r.Objects, row)
}

// drops tells that a chunk need not be kept.
func (l Limit) drops(c *Chunk) bool { return l.Dead || c.Next() <= l.Trim }

// raise counts the slots of objects whose every record is in a chunk. A block that
// newer ones hold only a part of is of a job that was given up: its slots stand, and
// will be compacted again.
func (r *Rebuilt) raise(have map[stream.ID]*coverage) {
	givenUp := map[segment.ChunkID]bool{}
	for i := range r.partial {
		c := &r.partial[i]
		givenUp[c.Object] = givenUp[c.Object] || !have[c.Stream].covers(c.First, c.Next())
	}
	r.partial = nil
	for raised := true; raised; {
		raised = false
		for _, o := range r.Objects {
			mark := r.Watermarks[o.Log]
			if !o.Log.IsZero() && !givenUp[o.ID] && o.From <= mark && o.To > mark {
				r.Watermarks[o.Log], raised = o.To, true
			}
		}
	}
}

// coverage is the chunks of one stream, in order.
type coverage struct{ chunks []Chunk }

// add takes a chunk that overlaps none.
func (v *coverage) add(c Chunk) bool {
	at := sort.Search(len(v.chunks), func(i int) bool { return v.chunks[i].Next() > c.First })
	if at < len(v.chunks) && v.chunks[at].First < c.Next() {
		return false
	}
	v.chunks = slices.Insert(v.chunks, at, c)
	return true
}

// covers tells whether all positions of [first, next) are in chunks.
func (v *coverage) covers(first, next stream.SeqNum) bool {
	at := sort.Search(len(v.chunks), func(i int) bool { return v.chunks[i].Next() > first })
	for ; first < next; at++ {
		if at == len(v.chunks) || v.chunks[at].First > first {
			return false
		}
		first = v.chunks[at].Next()
	}
	return true
}

// Replace puts a rebuilt index in place of what there is, and lifts a halt. What is
// known of streams' limits stays and is added to; logs begin from the watermarks.
// Whoever calls it has excluded others.
func (d *DB) Replace(ctx context.Context, r Rebuilt) error {
	return d.transact(ctx, "replace the chunk index", func(ctx context.Context, tx pgx.Tx) error {
		t := publishing{ctx: ctx, tx: tx}
		for _, step := range []func(*Rebuilt) error{t.clear, t.restoreLogs, t.restoreObjects, t.restoreChunks, t.restoreLimits} {
			if err := step(&r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *publishing) all(statements ...string) error {
	for _, s := range statements {
		if _, err := t.exec(s); err != nil {
			return err
		}
	}
	return nil
}

func (t *publishing) clear(r *Rebuilt) error {
	err := t.all(
		"LOCK TABLE chunk_index, compacted_logs, chain_heads, chunk_objects, chunks, stream_limits, tombstoned_buckets",
		"TRUNCATE compacted_logs, chain_heads, chunk_objects, chunks",
		"UPDATE chunk_index SET behind = ''",
	)
	if err == nil {
		_, err = t.exec("SELECT setval('chunk_object_ids', GREATEST($1, (SELECT last_value FROM chunk_object_ids)))", int64(max(r.Last, 1)))
	}
	return err
}

func (t *publishing) restoreLogs(r *Rebuilt) error {
	var logs []stream.Incarnation
	var marks, ends []int64
	var collected []bool
	for log, mark := range r.Watermarks {
		if _, gone := r.Gone[log]; !gone {
			logs, marks, ends, collected = append(logs, log), append(marks, int64(mark)), append(ends, -1), append(collected, false)
		}
	}
	for log, end := range r.Gone {
		logs, marks, ends, collected = append(logs, log), append(marks, int64(end)), append(ends, int64(end)), append(collected, r.Collected[log])
	}
	_, err := t.exec(`INSERT INTO compacted_logs (incarnation, watermark, sealed_end, drained_at, gone_at, collected_at)
		SELECT l.log, l.watermark, NULLIF(l.sealed_end, -1), CASE WHEN l.sealed_end >= 0 THEN now() END,
			CASE WHEN l.sealed_end >= 0 THEN now() END, CASE WHEN l.collected THEN now() END
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::boolean[]) AS l(log, watermark, sealed_end, collected)`,
		uuids(logs), marks, ends, collected)
	return err
}

// rowsAtOnce bounds a statement's arguments.
const rowsAtOnce = 10_000

func (t *publishing) restoreObjects(r *Rebuilt) error {
	for objects := range slices.Chunk(r.Objects, rowsAtOnce) {
		batch := &pgx.Batch{}
		for _, o := range objects {
			batch.Queue(`INSERT INTO chunk_objects (id, state, log, from_slot, to_slot, sources, bytes, live_bytes)
				VALUES ($1, 'live', $2, $3, $4, $5, $6, $7)`, int64(o.ID), uuidOrNull(o.Log), int64(o.From), int64(o.To),
				numbers(o.Sources), o.Bytes, o.LiveBytes)
		}
		if err := t.tx.SendBatch(t.ctx, batch).Close(); err != nil {
			return err
		}
	}
	return nil
}

func (t *publishing) restoreChunks(r *Rebuilt) error {
	for chunks := range slices.Chunk(r.Chunks, rowsAtOnce) {
		if err := t.insert(&Publication{Chunks: chunks}); err != nil {
			return err
		}
	}
	return nil
}

// restoreLimits also has Drop look at all limits: there may be chunks again that it
// has deleted.
func (t *publishing) restoreLimits(r *Rebuilt) error {
	if err := t.note(&Publication{Facts: r.Facts}); err != nil {
		return err
	}
	return t.all("UPDATE stream_limits SET dirty = true WHERE tombstoned OR trim > 0")
}

// Replace is as DB's.
func (m *Mem) Replace(ctx context.Context, r Rebuilt) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m.status = Status{Last: max(m.status.Last, r.Last)}
	m.logs, m.heads = map[stream.Incarnation]*memLog{}, map[stream.Shard]stream.Epoch{}
	m.objects, m.chunks = map[segment.ChunkID]*memObject{}, map[stream.ID][]Chunk{}
	for log, mark := range r.Watermarks {
		m.logs[log] = &memLog{Log: Log{Log: log, Watermark: mark}}
	}
	for log, end := range r.Gone {
		row := Log{Log: log, Watermark: end, Sealed: true, End: end, Gone: true}
		m.logs[log] = &memLog{Log: row, drained: m.now(), collected: r.Collected[log]}
	}
	for _, o := range r.Objects {
		m.objects[o.ID] = &memObject{Object: o, since: m.now()}
	}
	for _, c := range r.Chunks {
		m.chunks[c.Stream] = append(m.chunks[c.Stream], c)
	}
	m.note(&r.Facts)
	for _, l := range m.limits {
		l.dirty = l.Dead || l.Trim > 0
	}
	return nil
}
