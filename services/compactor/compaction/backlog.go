package compaction

import (
	"slices"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/stream"
)

// backlog is what was found to be compacted in the logs that are this compactor's, as
// of the last look at each.
type backlog struct {
	mu   sync.Mutex
	logs map[stream.Incarnation]window
}

// keep forgets all logs but these: others are done, or another compactor's.
func (b *backlog) keep(logs []chunkindex.Log) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for log := range b.logs {
		if !slices.ContainsFunc(logs, func(l chunkindex.Log) bool { return l.Log == log }) {
			delete(b.logs, log)
		}
	}
}

// note takes in a look at a log; one without slots to compact has no backlog.
func (b *backlog) note(w window) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.logs == nil {
		b.logs = map[stream.Incarnation]window{}
	}
	if w.slots() == 0 {
		delete(b.logs, w.log)
		return
	}
	b.logs[w.log] = w
}

// slots are those of the window, and up to the seal if there is one.
func (w *window) slots() stream.Slot {
	if w.sealed {
		return w.end - w.from
	}
	return w.to - w.from
}

// total sums the backlog up; age is that of its oldest slot. Bytes are counted as far
// as a job reaches.
func (b *backlog) total(now time.Time) (slots stream.Slot, bytes int64, age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.logs {
		slots += w.slots()
		bytes += w.bytes
		if !w.oldest.IsZero() {
			age = max(age, now.Sub(w.oldest))
		}
	}
	return slots, bytes, age
}

// showBacklog brings the metrics up to date.
func (c *Compactor) showBacklog() {
	slots, bytes, age := c.backlog.total(c.options.Now())
	c.metrics.backlogSlots.Set(float64(slots))
	c.metrics.backlogBytes.Set(float64(bytes))
	c.metrics.backlogAge.Set(age.Seconds())
}
