// Package registration keeps a writer's entry in discovery true: it says which log
// the writer writes, and whether it is drained.
package registration

import (
	"sync"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Entry is a writer's entry in discovery.
type Entry interface {
	SetIncarnation(string) error
	SetDrained(bool) error
}

// Registration tells an Entry of each new log.
type Registration struct {
	writer.Ignore
	log     *zap.Logger
	mu      sync.Mutex
	entry   Entry
	current string
	drained bool
}

// New makes a Registration that has no entry yet.
func New(log *zap.Logger) *Registration { return &Registration{log: log} }

// Attach gives it the entry to keep.
func (r *Registration) Attach(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entry = e
	r.tell()
	r.tellDrained()
}

// SetDrained passes on whether the writer is drained.
func (r *Registration) SetDrained(drained bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drained = drained
	r.tellDrained()
}

func (r *Registration) tellDrained() {
	if r.entry == nil {
		return
	}
	if err := r.entry.SetDrained(r.drained); err != nil {
		r.log.Warn("could not tell discovery whether this writer is drained", zap.Error(err))
	}
}

// Began passes on which log is written from now on.
func (r *Registration) Began(log stream.Incarnation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = log.String()
	r.tell()
}

func (r *Registration) tell() {
	if r.entry == nil || r.current == "" {
		return
	}
	if err := r.entry.SetIncarnation(r.current); err != nil {
		r.log.Warn("could not tell discovery of the new log", zap.Error(err))
	}
}
