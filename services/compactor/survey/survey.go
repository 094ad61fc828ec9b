package survey

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Survey reads one store.
type Survey struct {
	store    objstore.Store
	shards   uint32
	parallel int
	// Progress may be read while a survey is under way.
	Progress Progress
}

// New makes a Survey of a store with so many shards, which reads some objects at
// once.
func New(store objstore.Store, shards uint32, parallel int) *Survey {
	return &Survey{store: store, shards: shards, parallel: max(parallel, 1)}
}

// Progress counts what was read.
type Progress struct {
	phase          atomic.Pointer[string]
	objects, bytes atomic.Uint64
}

func (p *Progress) begin(phase string) { p.phase.Store(&phase) }

// Phase is what is being looked at.
func (p *Progress) Phase() string {
	if phase := p.phase.Load(); phase != nil {
		return *phase
	}
	return "begin"
}

// Objects is how many were read.
func (p *Progress) Objects() uint64 { return p.objects.Load() }

// Bytes is how much of them was read.
func (p *Progress) Bytes() uint64 { return p.bytes.Load() }

// Kind says how bad a finding is.
type Kind string

// The kinds. What is orphaned or dangling is not needed: it takes room, no more.
const (
	Damage Kind = "damage"
	Orphan Kind = "orphan"
)

// Finding is something that is not as it must be.
type Finding struct {
	Kind   Kind
	Key    string        // the object; empty: none
	Offset uint64        // in the object, where a block is at fault
	Stream stream.ID     // zero: none, or many
	First  stream.SeqNum // of the stream's records concerned
	Next   stream.SeqNum // exclusive
	Name   stream.Name   // of the stream, where it is known
	What   string        // is wrong
	Remedy string
}

func (f Finding) Error() string {
	var b strings.Builder
	if f.Key != "" {
		fmt.Fprintf(&b, "object %q: ", f.Key)
	}
	if f.Offset > 0 {
		fmt.Fprintf(&b, "at offset %d: ", f.Offset)
	}
	if !f.Stream.IsZero() {
		fmt.Fprintf(&b, "stream %s records %d to %d: ", f.Stream, f.First, f.Next)
	}
	return b.String() + f.What + "; " + f.Remedy
}

const (
	restoreObject = "restore the object from a copy or an older version"
	rebuildIndex  = "run samsa admin rebuild-index"
)

// strange is an object under a key that is nobody's.
func strange(key string) Finding {
	return Finding{Kind: Orphan, Key: key, What: "this is no key of Samsa's", Remedy: "delete the object if nobody else needs it"}
}

func damaged(key string, err error) Finding {
	return Finding{Kind: Damage, Key: key, What: err.Error(), Remedy: restoreObject}
}

// get reads a range of an object, counts it, and decodes it; once more if that
// fails, since a proxy or a cache in between may have been at fault.
func (s *Survey) get(ctx context.Context, key string, r objstore.Range, decode func(body []byte) error) error {
	for try := 0; ; try++ {
		object, err := s.store.Get(ctx, key, r)
		if err != nil {
			return err
		}
		s.Progress.bytes.Add(uint64(len(object.Body)))
		if err = decode(object.Body); err == nil || try > 0 || errors.As(err, new(*segment.NeedMore)) {
			s.Progress.objects.Add(1)
			return asDamage(err)
		}
	}
}

// contentError is what an object's bytes are at fault for, not the store.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }

func asDamage(err error) error {
	if err == nil {
		return nil
	}
	return contentError{err}
}

// isDamage tells an object that is not what it must be from a store that fails.
func isDamage(err error) bool {
	var c contentError
	return errors.As(err, &c)
}

func isMissing(err error) bool { return errors.Is(err, objstore.ErrNotFound) }

// suffix reads an object's end, as much of it as decode wants.
func (s *Survey) suffix(ctx context.Context, key string, decode func(body []byte) error) error {
	for size := int64(segment.FooterProbe); ; {
		err := s.get(ctx, key, objstore.Suffix(size), decode)
		var more *segment.NeedMore
		if !errors.As(err, &more) || more.Bytes <= size {
			return err
		}
		size = more.Bytes
	}
}

// each reads n objects, some at once, and returns of each whether it is damaged or
// missing. Any other error ends it.
func (s *Survey) each(ctx context.Context, n int, read func(ctx context.Context, i int) error) ([]error, error) {
	errs := make([]error, n)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(s.parallel)
	for i := range n {
		group.Go(func() error {
			errs[i] = read(groupCtx, i)
			if errs[i] != nil && !isDamage(errs[i]) && !isMissing(errs[i]) {
				return errs[i]
			}
			return nil
		})
	}
	return errs, group.Wait()
}

func number(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}
