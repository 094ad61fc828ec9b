package objstore

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem is a store in memory, for tests and for the simulation. Its zero value is
// not ready; see [NewMem].
type Mem struct {
	mu      sync.RWMutex
	objects map[string]memObject
}

type memObject struct {
	body     []byte // never changed
	modified time.Time
}

// NewMem gives an empty store.
func NewMem() *Mem { return &Mem{objects: map[string]memObject{}} }

// PutIfAbsent implements [Store].
func (m *Mem) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if err := ready(ctx, key); err != nil {
		return opError(OpPut, key, err)
	}
	object := memObject{body: slices.Clone(body), modified: time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		return opError(OpPut, key, ErrExists)
	}
	m.objects[key] = object
	return nil
}

// Get implements [Store].
func (m *Mem) Get(ctx context.Context, key string, r Range) (Object, error) {
	object, err := m.lookUp(ctx, key)
	if err != nil {
		return Object{}, opError(OpGet, key, err)
	}
	from, to := r.within(int64(len(object.body)))
	return Object{Info: object.info(key), Body: slices.Clone(object.body[from:to])}, nil
}

// Head implements [Store].
func (m *Mem) Head(ctx context.Context, key string) (Info, error) {
	object, err := m.lookUp(ctx, key)
	if err != nil {
		return Info{}, opError(OpHead, key, err)
	}
	return object.info(key), nil
}

// Delete implements [Store].
func (m *Mem) Delete(ctx context.Context, key string) error {
	if err := ready(ctx, key); err != nil {
		return opError(OpDelete, key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

// List implements [Store]. It yields what stood when it began, less what was
// deleted since.
func (m *Mem) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for _, key := range m.keys(prefix, startAfter) {
			object, err := m.lookUp(ctx, key)
			if isNotFound(err) {
				continue
			}
			if err != nil {
				yield(Info{}, opError(OpList, prefix, err))
				return
			}
			if !yield(object.info(key), nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Info{}, opError(OpList, prefix, err))
		}
	}
}

func (m *Mem) keys(prefix, startAfter string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(func(yield func(string) bool) {
		for key := range maps.Keys(m.objects) {
			if strings.HasPrefix(key, prefix) && key > startAfter && !yield(key) {
				return
			}
		}
	})
}

func (m *Mem) lookUp(ctx context.Context, key string) (memObject, error) {
	if err := ready(ctx, key); err != nil {
		return memObject{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	object, ok := m.objects[key]
	if !ok {
		return memObject{}, ErrNotFound
	}
	return object, nil
}

func (o memObject) info(key string) Info {
	return Info{Key: key, Size: int64(len(o.body)), Modified: o.modified, Date: time.Now()}
}

// ready is what every call on a key checks first.
func ready(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckKey(key)
}
