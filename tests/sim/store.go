package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
)

// store is the object store. Only the world touches it.
type store struct {
	w    *World
	mem  *objstore.Mem
	laws *laws
}

// errStore is a request that got no answer of use: a time-out, a 503.
var errStore = errors.New("sim: the store did not answer")

// errTimeout is a request that was given up.
var errTimeout = fmt.Errorf("%w: %w", errStore, context.DeadlineExceeded)

// create is put-if-absent at the moment when it takes effect.
func (s *store) create(key string, body []byte) error {
	s.w.stats.Puts++
	if !s.stands(key) {
		s.laws.creating(key, body)
	}
	return s.mem.PutIfAbsent(context.Background(), key, body)
}

func (s *store) stands(key string) bool {
	_, err := s.mem.Head(context.Background(), key)
	return err == nil
}

func (s *store) remove(key string) {
	s.w.stats.Deletes++
	if s.stands(key) {
		s.laws.removing(key)
		_ = s.mem.Delete(context.Background(), key)
	}
}

// body is an object, or nil.
func (s *store) body(key string) []byte {
	o, _ := s.mem.Get(context.Background(), key, objstore.Whole)
	return o.Body
}

// put lands once, twice, late or never, and its reply may get lost.
func (s *store) put(key string, body []byte, reply func(error)) {
	w := s.w
	answer := func(d time.Duration, err error) { w.after(d, "put replied "+key, func() { reply(err) }) }
	land := func(d time.Duration, what string) { w.after(d, what+" "+key, func() { _ = s.create(key, body) }) }
	switch {
	case w.chance(3, &w.stats.Conflicts):
		answer(w.lag(), objstore.ErrConflict)
	case w.chance(3, &w.stats.LostRequests):
		answer(50*time.Millisecond, errTimeout)
	case w.chance(4, &w.stats.LatePuts): // lands after the caller has given it up
		answer(50*time.Millisecond, errTimeout)
		land(50*time.Millisecond+w.lag(), "late put")
	default:
		if w.chance(2, &w.stats.Doubled) {
			land(w.lag(), "doubled put")
		}
		lost := w.chance(4*rarely(key), &w.stats.LostReplies)
		w.after(w.lag(), "put "+key, func() {
			err := s.create(key, body)
			if lost {
				err = errStore
			}
			answer(w.lag(), err)
		})
	}
}

// rarely is how much more often requests for an object fail of which there are few.
func rarely(key string) int {
	if strings.HasPrefix(key, segment.ChunkPrefix) {
		return 4
	}
	return 1
}

// get reads part of an object, or garbles or truncates it.
func (s *store) get(key string, r objstore.Range, reply func(objstore.Object, error)) {
	w := s.w
	w.after(w.lag(), "get "+key, func() {
		w.stats.Gets++
		o, err := s.mem.Get(context.Background(), key, r)
		if w.chance(4, &w.stats.LostReplies) {
			o, err = objstore.Object{}, errStore
		}
		if len(o.Body) > 0 && w.chance(2*rarely(key), &w.stats.Garbled) {
			o.Body[w.rng.IntN(len(o.Body))] ^= 1 << w.rng.IntN(8)
		}
		if len(o.Body) > 0 && w.chance(2, &w.stats.Truncated) {
			o.Body = o.Body[:w.rng.IntN(len(o.Body))]
		}
		w.after(w.lag(), "got "+key, func() { reply(o, err) })
	})
}

func (s *store) head(key string, reply func(objstore.Info, error)) {
	w := s.w
	w.after(w.lag(), "head "+key, func() {
		w.stats.Gets++
		info, err := s.mem.Head(context.Background(), key)
		if w.chance(4, &w.stats.LostReplies) {
			err = errStore
		}
		w.after(w.lag(), "headed "+key, func() { reply(info, err) })
	})
}

func (s *store) delete(key string, reply func(error)) {
	w := s.w
	answer := func(d time.Duration, err error) { w.after(d, "delete replied "+key, func() { reply(err) }) }
	switch {
	case w.chance(3, &w.stats.LostRequests):
		answer(50*time.Millisecond, errStore)
	case w.chance(3, &w.stats.LatePuts):
		answer(50*time.Millisecond, errStore)
		w.after(50*time.Millisecond+w.lag(), "late delete "+key, func() { s.remove(key) })
	default:
		lost := w.chance(3, &w.stats.LostReplies)
		w.after(w.lag(), "delete "+key, func() {
			s.remove(key)
			if lost {
				answer(w.lag(), errStore)
				return
			}
			answer(w.lag(), nil)
		})
	}
}

// list is the objects with a prefix, with keys greater than after, in order.
func (s *store) list(prefix, after string) (out []objstore.Info) {
	for info := range s.mem.List(context.Background(), prefix, after) {
		out = append(out, info)
	}
	return out
}

// client is the store as a process sees it.
type client struct {
	s *store
	p *process
}

type answered[T any] struct {
	value T
	err   error
}

func ask[T any](ctx context.Context, p *process, what string, serve func(reply func(T, error))) (T, error) {
	a, err := request(ctx, p, what, func(reply func(answered[T])) {
		serve(func(v T, err error) { reply(answered[T]{v, err}) })
	})
	if err != nil {
		return a.value, err
	}
	return a.value, a.err
}

func (c client) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	body = bytes.Clone(body)
	_, err := ask(ctx, c.p, "asks put "+key, func(reply func(struct{}, error)) {
		c.s.put(key, body, func(err error) { reply(struct{}{}, err) })
	})
	return err
}

func (c client) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	return ask(ctx, c.p, "asks get "+key, func(reply func(objstore.Object, error)) { c.s.get(key, r, reply) })
}

func (c client) Head(ctx context.Context, key string) (objstore.Info, error) {
	return ask(ctx, c.p, "asks head "+key, func(reply func(objstore.Info, error)) { c.s.head(key, reply) })
}

func (c client) Delete(ctx context.Context, key string) error {
	_, err := ask(ctx, c.p, "asks delete "+key, func(reply func(struct{}, error)) {
		c.s.delete(key, func(err error) { reply(struct{}{}, err) })
	})
	return err
}

// List shows what stands at one moment, and may break off in the middle.
func (c client) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		found, err := ask(ctx, c.p, "asks list "+prefix, func(reply func([]objstore.Info, error)) {
			w := c.s.w
			w.after(w.lag(), "list "+prefix, func() {
				out := c.s.list(prefix, after)
				var err error
				if w.chance(4, &w.stats.LostReplies) {
					out, err = out[:w.rng.IntN(len(out)+1)], errStore
				}
				reply(out, err)
			})
		})
		for _, info := range found {
			if !yield(info, nil) {
				return
			}
		}
		if err != nil {
			yield(objstore.Info{}, err)
		}
	}
}
