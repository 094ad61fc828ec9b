// Package registration keeps a writer's entry in discovery true: it says which log
// the writer writes.
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
}

// Incarnation tells an Entry of each new log.
type Incarnation struct {
	writer.Ignore
	log     *zap.Logger
	mu      sync.Mutex
	entry   Entry
	current string
}

// New makes an Incarnation that has no entry yet.
func New(log *zap.Logger) *Incarnation { return &Incarnation{log: log} }

// Attach gives it the entry to keep.
func (i *Incarnation) Attach(e Entry) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.entry = e
	i.tell()
}

// Began passes on which log is written from now on.
func (i *Incarnation) Began(log stream.Incarnation) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = log.String()
	i.tell()
}

func (i *Incarnation) tell() {
	if i.entry == nil || i.current == "" {
		return
	}
	if err := i.entry.SetIncarnation(i.current); err != nil {
		i.log.Warn("could not tell discovery of the new log", zap.Error(err))
	}
}
