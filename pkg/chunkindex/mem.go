package chunkindex

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Mem is an index in memory, for tests and for the simulation. It behaves as DB
// does. It is safe for concurrent use.
type Mem struct {
	now func() time.Time

	mu     sync.Mutex
	status Status
	logs   map[stream.Incarnation]*memLog
	heads  map[stream.Shard]stream.Epoch
	// objects and chunks are what the tables hold; a stream's chunks are in order.
	objects map[segment.ChunkID]*memObject
	chunks  map[stream.ID][]Chunk
	limits  map[stream.ID]*memLimit
	buckets map[stream.ID]bool // tombstoned

	rounds   int  // entered
	excluded bool // by a rebuild
}

type memLog struct {
	Log
	drained   time.Time
	collected bool
}

type memObject struct {
	Object
	since time.Time
}

type memLimit struct {
	Limit
	bucket stream.ID
	dirty  bool
}

// NewMem gives an empty index whose clock is now.
func NewMem(now func() time.Time) *Mem {
	return &Mem{
		now: now, logs: map[stream.Incarnation]*memLog{}, heads: map[stream.Shard]stream.Epoch{},
		objects: map[segment.ChunkID]*memObject{}, chunks: map[stream.ID][]Chunk{},
		limits: map[stream.ID]*memLimit{}, buckets: map[stream.ID]bool{},
	}
}

// Backup is a copy of the index as it stands, as a dump of a database is.
func (m *Mem) Backup() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := NewMem(m.now)
	b.status, b.heads, b.buckets = m.status, maps.Clone(m.heads), maps.Clone(m.buckets)
	for k, v := range m.logs {
		b.logs[k] = new(*v)
	}
	for k, v := range m.objects {
		b.objects[k] = new(*v)
	}
	for k, v := range m.limits {
		b.limits[k] = new(*v)
	}
	for k, v := range m.chunks {
		b.chunks[k] = slices.Clone(v)
	}
	return b
}

// locked is what every call begins with.
func (m *Mem) locked(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

// Status is as DB's.
func (m *Mem) Status(ctx context.Context) (Status, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	return m.status, nil
}

// Halt is as DB's.
func (m *Mem) Halt(ctx context.Context, reason string) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m.status.Behind = cmp.Or(m.status.Behind, reason)
	return nil
}

func (m *Mem) logsWhere(ctx context.Context, ok func(*memLog) bool) ([]Log, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []Log
	for _, l := range m.logs {
		if !l.collected && ok(l) {
			out = append(out, l.Log)
		}
	}
	slices.SortFunc(out, func(a, b Log) int { return bytes.Compare(a.Log[:], b.Log[:]) })
	return out, nil
}

// Logs is as DB's.
func (m *Mem) Logs(ctx context.Context) ([]Log, error) {
	return m.logsWhere(ctx, func(*memLog) bool { return true })
}

// Drained is as DB's.
func (m *Mem) Drained(ctx context.Context, age time.Duration) ([]Log, error) {
	return m.logsWhere(ctx, func(l *memLog) bool { return l.Drained() && !l.drained.After(m.now().Add(-age)) })
}

// Heads is as DB's.
func (m *Mem) Heads(ctx context.Context) (map[stream.Shard]stream.Epoch, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return maps.Clone(m.heads), nil
}

// Discover is as DB's.
func (m *Mem) Discover(ctx context.Context, logs []stream.Incarnation, heads map[stream.Shard]stream.Epoch) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, log := range logs {
		if m.logs[log] == nil {
			m.logs[log] = &memLog{Log: Log{Log: log}}
		}
	}
	for shard, epoch := range heads {
		m.heads[shard] = max(m.heads[shard], epoch)
	}
	return nil
}

// Seal is as DB's.
func (m *Mem) Seal(ctx context.Context, log stream.Incarnation, end stream.Slot) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	l := m.logs[log]
	if l == nil || l.Sealed && l.End != end || l.Watermark > end {
		return &BehindError{Reason: fmt.Sprintf("log %s is sealed at slot %d, which contradicts its row", log, end)}
	}
	if !l.Sealed {
		l.Sealed, l.End, l.drained = true, end, m.now()
	}
	return nil
}

// MarkGone is as DB's.
func (m *Mem) MarkGone(ctx context.Context, log stream.Incarnation) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	l := m.logs[log]
	if l == nil || !l.Drained() {
		return fmt.Errorf("mark a log as gone: %w", ErrLost)
	}
	l.Gone = true
	return nil
}

// Collected is as DB's.
func (m *Mem) Collected(ctx context.Context, log stream.Incarnation) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if l := m.logs[log]; l != nil && l.Gone {
		l.collected = true
	}
	return nil
}

// Begin is as DB's.
func (m *Mem) Begin(ctx context.Context, job Job) (segment.ChunkID, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	m.status.Last++
	id := m.status.Last
	m.objects[id] = &memObject{Object: Object{ID: id, State: StatePending, Job: job}, since: m.now()}
	return id, nil
}

func (m *Mem) objectsWhere(ctx context.Context, age time.Duration, ok func(*memObject) bool) ([]Object, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []Object
	for _, o := range m.objects {
		if ok(o) && !o.since.After(m.now().Add(-age)) {
			out = append(out, o.Object)
		}
	}
	slices.SortFunc(out, func(a, b Object) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Abandoned is as DB's.
func (m *Mem) Abandoned(ctx context.Context, age time.Duration) ([]Object, error) {
	return m.objectsWhere(ctx, age, func(o *memObject) bool { return o.State == StatePending })
}

// Dead is as DB's.
func (m *Mem) Dead(ctx context.Context, age time.Duration) ([]Object, error) {
	return m.objectsWhere(ctx, age, (*memObject).dead)
}

func (o *memObject) dead() bool { return o.State == StateLive && o.LiveBytes == 0 }

// Sparse is as DB's.
func (m *Mem) Sparse(ctx context.Context, small int64, limit int) ([]Object, error) {
	out, err := m.objectsWhere(ctx, 0, func(o *memObject) bool {
		return o.State == StateLive && o.LiveBytes > 0 && (o.LiveBytes*2 < o.Bytes || o.Bytes < small)
	})
	return out[:min(limit, len(out))], err
}

// Removed is as DB's.
func (m *Mem) Removed(ctx context.Context, age time.Duration) ([]Object, error) {
	return m.objectsWhere(ctx, age, func(o *memObject) bool { return o.State == StateRemoved })
}

// Remove is as DB's.
func (m *Mem) Remove(ctx context.Context, id segment.ChunkID) (bool, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	o := m.objects[id]
	if o == nil || o.State != StatePending && !o.dead() || m.named(id) > 0 {
		return false, nil
	}
	o.State, o.since = StateRemoved, m.now()
	return true, nil
}

// named is how many bytes of an object rows of chunks name.
func (m *Mem) named(id segment.ChunkID) (bytes int64) {
	for _, list := range m.chunks {
		for i := range list {
			if list[i].Object == id {
				bytes += int64(list[i].Stored)
			}
		}
	}
	return bytes
}

// Miscounted is as DB's.
func (m *Mem) Miscounted(ctx context.Context, above, upTo segment.ChunkID) (out []Miscount, err error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	sums := map[segment.ChunkID]int64{}
	for id := range m.objects {
		sums[id] = 0
	}
	for _, list := range m.chunks {
		for i := range list {
			sums[list[i].Object] += int64(list[i].Stored)
		}
	}
	for id, named := range sums {
		miscount := Miscount{ID: id, Named: named}
		right := named == 0
		if o := m.objects[id]; o != nil {
			miscount.State, miscount.LiveBytes = o.State, o.LiveBytes
			right = named == 0 && o.State != StateLive || named == o.LiveBytes && o.State == StateLive
		}
		if !right && id > above && id <= upTo {
			out = append(out, miscount)
		}
	}
	slices.SortFunc(out, func(a, b Miscount) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Forget is as DB's.
func (m *Mem) Forget(ctx context.Context, id segment.ChunkID) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if o := m.objects[id]; o != nil && o.State == StateRemoved {
		delete(m.objects, id)
	}
	return nil
}

// Publish is as DB's.
func (m *Mem) Publish(ctx context.Context, p Publication) error {
	unlock, err := m.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.refuse(&p); err != nil {
		return err
	}
	if !p.Log.IsZero() {
		l := m.logs[p.Log]
		l.Watermark, l.drained = p.To, m.now()
	}
	m.note(&p.Facts)
	for i := range p.Replaced {
		m.delete(&p.Replaced[i])
	}
	for _, c := range p.Chunks {
		list := m.chunks[c.Stream]
		at := sort.Search(len(list), func(i int) bool { return list[i].First >= c.First })
		m.chunks[c.Stream] = slices.Insert(list, at, c)
		if l := m.limits[c.Stream]; l != nil && (l.Dead || l.Trim > 0) {
			l.dirty = true
		}
	}
	if o := m.objects[p.Object]; o != nil {
		o.State, o.Bytes, o.LiveBytes, o.since = StateLive, bytesOf(p.Chunks), bytesOf(p.Chunks), m.now()
	}
	return nil
}

// refuse tells why a publication cannot be.
func (m *Mem) refuse(p *Publication) error {
	if o := m.objects[p.Object]; p.Object != 0 && (o == nil || o.State != StatePending) {
		return lost("chunk object %d is not pending", p.Object)
	}
	if l := m.logs[p.Log]; !p.Log.IsZero() && (l == nil || l.Watermark != p.From || l.Sealed && l.End < p.To) {
		return lost("log %s is not compacted up to slot %d", p.Log, p.From)
	}
	replaced := map[Chunk]bool{}
	for _, c := range p.Replaced {
		if m.at(&c) < 0 {
			return lost("a chunk to replace is not there")
		}
		replaced[c] = true
	}
	for _, c := range p.Chunks {
		for _, have := range m.chunks[c.Stream] {
			if have.Overlaps(c.First, c.Next()) && !replaced[have] {
				return lost("other chunks overlap those of object %d", p.Object)
			}
		}
	}
	return nil
}

// at is the chunk's place in its stream's list; -1: it is not there.
func (m *Mem) at(c *Chunk) int { return slices.Index(m.chunks[c.Stream], *c) }

func (m *Mem) delete(c *Chunk) {
	at := m.at(c)
	m.chunks[c.Stream] = slices.Delete(m.chunks[c.Stream], at, at+1)
	o := m.objects[c.Object]
	if o.LiveBytes -= int64(c.Stored); o.LiveBytes == 0 {
		o.since = m.now()
	}
}

func (m *Mem) limit(id stream.ID) *memLimit {
	l := m.limits[id]
	if l == nil {
		l = &memLimit{}
		m.limits[id] = l
	}
	return l
}

func (m *Mem) note(f *Facts) {
	for _, id := range f.BucketTombstones {
		m.buckets[id] = true
	}
	for _, o := range f.Opened {
		l := m.limit(o.Stream)
		l.bucket = o.Bucket
		if m.buckets[o.Bucket] {
			l.Dead, l.dirty = true, true
		}
	}
	for id, trim := range f.Trims {
		l := m.limit(id)
		l.Trim, l.dirty = max(l.Trim, trim), true
	}
	for _, id := range f.Tombstones {
		l := m.limit(id)
		l.Dead, l.dirty = true, true
	}
	for _, l := range m.limits {
		if slices.Contains(f.BucketTombstones, l.bucket) && !l.Dead {
			l.Dead, l.dirty = true, true
		}
	}
}

// Drop is as DB's.
func (m *Mem) Drop(ctx context.Context, limit int) (looked int, err error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	for _, id := range sortedIDs(m.limits) {
		l := m.limits[id]
		if !l.dirty || looked == limit {
			continue
		}
		looked++
		l.dirty = false
		for _, c := range slices.Clone(m.chunks[id]) {
			if l.Dead || c.Next() <= l.Trim {
				m.delete(&c)
			}
		}
	}
	return looked, nil
}

func sortedIDs[V any](of map[stream.ID]V) []stream.ID {
	return slices.SortedFunc(maps.Keys(of), func(a, b stream.ID) int { return bytes.Compare(a[:], b[:]) })
}

// Objects is as DB's.
func (m *Mem) Objects(ctx context.Context, ids []segment.ChunkID) ([]Object, error) {
	return m.objectsWhere(ctx, 0, func(o *memObject) bool { return slices.Contains(ids, o.ID) })
}

// ChunksIn is as DB's.
func (m *Mem) ChunksIn(ctx context.Context, ids []segment.ChunkID) ([]Chunk, error) {
	unlock, err := m.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []Chunk
	for _, chunks := range m.chunks {
		for _, c := range chunks {
			if slices.Contains(ids, c.Object) {
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, compareChunks)
	return out, nil
}

// Page is as DB's.
func (m *Mem) Page(ctx context.Context, after segment.ChunkID, limit int) ([]Object, error) {
	out, err := m.objectsWhere(ctx, 0, func(o *memObject) bool { return o.ID > after })
	return out[:min(limit, len(out))], err
}
