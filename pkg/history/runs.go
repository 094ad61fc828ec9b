package history

import (
	"container/list"
	"sort"
	"sync"
	"unsafe"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/stream"
)

// runs keeps consecutive chunks of streams, the least recently used ones are
// dropped. Of a stream there is one run: whoever reads on replaces it by the next.
type runs struct {
	maxBytes int64

	mu     sync.Mutex
	bytes  int64
	byID   map[stream.ID]*list.Element
	recent list.List // of run, the most recently used in front
}

type run struct {
	id     stream.ID
	chunks []chunkindex.Chunk // consecutive; never changed
}

func (r run) size() int64 {
	return 256 + int64(len(r.chunks))*int64(unsafe.Sizeof(chunkindex.Chunk{}))
}

func newRuns(maxBytes int64) *runs {
	return &runs{maxBytes: maxBytes, byID: map[stream.ID]*list.Element{}}
}

// from is the chunks of a run from the one on that holds a position; nil: none does.
func (r *runs) from(id stream.ID, at stream.SeqNum) []chunkindex.Chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.byID[id]
	if e == nil {
		return nil
	}
	chunks := e.Value.(run).chunks
	i := sort.Search(len(chunks), func(i int) bool { return chunks[i].Next() > at })
	if i == len(chunks) || chunks[i].First > at {
		return nil
	}
	r.recent.MoveToFront(e)
	return chunks[i:]
}

func (r *runs) put(id stream.ID, chunks []chunkindex.Chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(r.byID[id])
	kept := run{id, chunks}
	r.byID[id] = r.recent.PushFront(kept)
	r.bytes += kept.size()
	for r.bytes > r.maxBytes && r.recent.Len() > 0 {
		r.remove(r.recent.Back())
	}
}

func (r *runs) drop(id stream.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(r.byID[id])
}

func (r *runs) remove(e *list.Element) {
	if e == nil {
		return
	}
	gone := r.recent.Remove(e).(run)
	delete(r.byID, gone.id)
	r.bytes -= gone.size()
}
