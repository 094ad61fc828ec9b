package recent

import (
	"context"
	"sync"

	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Records knows where recent records stand and holds the newest of them. It is
// safe for concurrent use.
type Records struct {
	writer.Ignore // what is held stays true whoever owns the shard
	Index         *logindex.Index

	mu      sync.Mutex
	objects map[place][]byte
	order   []place // of objects, oldest first
	bytes   int64
	limit   int64
}

type place struct {
	log  stream.Incarnation
	slot stream.Slot
}

// New makes Records that hold at most objectBytes of segments and indexBytes of
// index.
func New(objectBytes, indexBytes int64) *Records {
	return &Records{
		Index:   logindex.NewIndex(indexBytes),
		objects: map[place][]byte{},
		limit:   objectBytes,
	}
}

// Durable takes in a segment that has become durable.
func (r *Records) Durable(_ context.Context, log stream.Incarnation, d shardlog.Durable) {
	for _, s := range d.Segment.Sections() {
		r.add(log, d.Slot, s)
	}
	r.keep(place{log, d.Slot}, d.Object)
}

// Owned takes in what a takeover has read.
func (r *Records) Owned(o shardlog.Owned) {
	for _, part := range o.Recovered {
		r.add(part.Log, part.Slot, part.Section)
	}
}

func (r *Records) add(log stream.Incarnation, slot stream.Slot, s segment.Section) {
	r.Index.AddSection(log, slot, s)
	for i := range s.Streams {
		if s.Streams[i].Trim > 0 {
			r.Index.Trim(s.Streams[i].Stream, s.Streams[i].Trim)
		}
	}
	for _, e := range s.Entries {
		switch e.Kind {
		case segment.EntryTombstone:
			r.Index.Forget(e.Stream)
		case segment.EntryTrim:
			r.Index.Trim(e.Stream, e.Trim)
		}
	}
}

func (r *Records) keep(at place, object []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects[at] = object
	r.order = append(r.order, at)
	r.bytes += int64(len(object))
	for r.bytes > r.limit && len(r.order) > 1 {
		r.bytes -= int64(len(r.objects[r.order[0]]))
		delete(r.objects, r.order[0])
		r.order = r.order[1:]
	}
}

// LookupTimestamp finds the blocks from the first record on that is not older than t.
func (r *Records) LookupTimestamp(id stream.ID, t uint64, maxBytes uint64) (logindex.Span, bool) {
	return r.Index.LookupTimestamp(id, t, maxBytes)
}

// Stored returns the stored bytes of a block if they are in memory.
func (r *Records) Stored(b logindex.Block) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	object, ok := r.objects[place{b.Log, b.Slot}]
	if !ok {
		return nil, false
	}
	return object[b.Offset : b.Offset+uint64(b.Stored)], true
}
