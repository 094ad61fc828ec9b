package logindex

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// cache holds immutable values up to a number of bytes, the least recently used
// are dropped, and lets only one caller at a time load a missing one.
type cache[K comparable, V any] struct {
	maxBytes int64
	size     func(V) int64

	mu      sync.Mutex
	bytes   int64
	items   map[K]*list.Element
	recent  list.List // of item, the most recently used in front
	flights map[K]*flight[V]
}

type item[K comparable, V any] struct {
	key   K
	value V
}

// flight is a load under way. value and err are set before done is closed.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// abandoned tells that the loader gave up, not that the value can't be had.
func (f *flight[V]) abandoned() bool {
	return errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded)
}

func newCache[K comparable, V any](maxBytes int64, size func(V) int64) *cache[K, V] {
	return &cache[K, V]{maxBytes: maxBytes, size: size, items: map[K]*list.Element{}, flights: map[K]*flight[V]{}}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookup(key)
}

func (c *cache[K, V]) put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(key, value)
}

func (c *cache[K, V]) lookup(key K) (value V, ok bool) {
	e, ok := c.items[key]
	if !ok {
		return value, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(item[K, V]).value, true
}

func (c *cache[K, V]) insert(key K, value V) {
	if _, ok := c.items[key]; ok {
		return // immutable: what stands there is the same
	}
	c.items[key] = c.recent.PushFront(item[K, V]{key, value})
	c.bytes += c.size(value)
	for c.bytes > c.maxBytes && c.recent.Len() > 0 {
		oldest := c.recent.Remove(c.recent.Back()).(item[K, V])
		delete(c.items, oldest.key)
		c.bytes -= c.size(oldest.value)
	}
}

// join looks for a value. Without one it returns the flight to wait for, or, if
// mine, to load and then land.
func (c *cache[K, V]) join(key K) (value V, f *flight[V], mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, ok := c.lookup(key); ok {
		return value, nil, false
	}
	if f, ok := c.flights[key]; ok {
		return value, f, false
	}
	f = &flight[V]{done: make(chan struct{})}
	c.flights[key] = f
	return value, f, true
}

// land ends a flight that join gave to the caller.
func (c *cache[K, V]) land(key K, f *flight[V], value V, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.value, f.err = value, err
	delete(c.flights, key)
	if err == nil {
		c.insert(key, value)
	}
	close(f.done)
}

// wait waits for another caller's flight; again tells to join anew, because that
// caller gave up.
func (f *flight[V]) wait(ctx context.Context) (value V, again bool, err error) {
	select {
	case <-ctx.Done():
		return value, false, ctx.Err()
	case <-f.done:
		return f.value, f.abandoned(), f.err
	}
}

// load returns the value of key, loading it if need be. That it does not exist is
// believed only if the load began after the call: another caller's may have begun
// before the object was put.
func (c *cache[K, V]) load(ctx context.Context, key K, fetch func(context.Context) (V, error)) (V, error) {
	for late := true; ; {
		value, f, mine := c.join(key)
		switch {
		case f == nil:
			return value, nil
		case mine:
			value, err := fetch(ctx)
			c.land(key, f, value, err)
			return value, err
		}
		value, again, err := f.wait(ctx)
		if late && errors.Is(err, objstore.ErrNotFound) {
			late = false // the next flight, whose ever it is, begins from now on
			continue
		}
		if !again {
			return value, err
		}
	}
}

func (c *cache[K, V]) heldBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
