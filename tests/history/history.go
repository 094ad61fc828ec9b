package history

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// History is what happened to one stream. It is safe for concurrent use.
type History struct {
	Stream string

	begun time.Time

	mu         sync.Mutex
	ops        []*Op
	seen       map[uint64]Sighting
	violations []string
}

// Sighting is a record at its place. Whoever sees that place, at whatever time,
// sees the same.
type Sighting struct {
	ID        string
	Timestamp uint64
	Digest    Digest
}

// New begins a history.
func New(stream string) *History {
	return &History{Stream: stream, begun: time.Now(), seen: map[uint64]Sighting{}}
}

// Now is the history's clock.
func (h *History) Now() int64 { return int64(time.Since(h.begun)) }

// Add records an operation that has returned or was given up.
func (h *History) Add(o *Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// Ops are the operations so far.
func (h *History) Ops() []*Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*Op(nil), h.ops...)
}

// Violatef records something that no order of operations can explain.
func (h *History) Violatef(format string, a ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, fmt.Sprintf(format, a...))
}

// See compares a record with what was seen at its place before.
func (h *History) See(seq uint64, s Sighting) {
	h.mu.Lock()
	before, ok := h.seen[seq]
	if !ok {
		h.seen[seq] = s
	}
	h.mu.Unlock()
	if ok && before != s {
		h.Violatef("record %d was %+v, is %+v", seq, before, s)
	}
}

// file is how a history is kept.
type file struct {
	Stream     string
	Violations []string
	Ops        []*Op
}

// Save writes the history into folder, as JSON and, if it was checked, as
// porcupine's picture of it. It returns the path of the first.
func (h *History) Save(folder string, v *Verdict) (string, error) {
	h.mu.Lock()
	content, err := json.MarshalIndent(file{h.Stream, h.violations, h.ops}, "", " ")
	h.mu.Unlock()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, h.Stream+".json")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return "", err
	}
	if v == nil {
		return path, nil
	}
	return path, v.draw(filepath.Join(folder, h.Stream+".html"))
}

// Load reads a history that Save has written.
func Load(path string) (*History, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(content, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	h := New(f.Stream)
	h.ops, h.violations = f.Ops, f.Violations
	return h, nil
}
