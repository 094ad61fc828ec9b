package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/samsa-io/samsa/pkg/clock"
)

// ProbeError says that a store breaks a promise, so that nothing that this store
// holds would be safe. It stands apart from errors of a store that is merely
// unwell, which [Probe] returns as they are.
type ProbeError struct {
	Promise string // what was tested
	Found   string // what the store did instead
	Why     string // what it would cost
}

func (e *ProbeError) Error() string {
	return fmt.Sprintf("the object store in storage.url cannot be used: %s: %s. %s", e.Promise, e.Found, e.Why)
}

const (
	probePrefix = "probe/"
	probeRacers = 16
	probeRaces  = 4
)

// Probe tests a store's promises on fresh keys under probe/, which it removes.
func Probe(ctx context.Context, s Store) (err error) {
	p := probe{store: s, prefix: probePrefix + uuid.NewString() + "/"}
	defer func() { err = errors.Join(err, p.cleanUp(ctx)) }()
	for race := range probeRaces {
		if err := p.race(ctx, fmt.Sprintf("%srace-%d", p.prefix, race)); err != nil {
			return err
		}
	}
	for _, check := range []func(context.Context) error{p.absence, p.ranges, p.list, p.delete} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

type probe struct {
	store  Store
	prefix string
}

// race: of many who create a key at once exactly one succeeds, all others hear
// so, and the object is the winner's.
func (p *probe) race(ctx context.Context, key string) error {
	bodies := make([][]byte, probeRacers)
	answers := make([]error, probeRacers)
	var racers sync.WaitGroup
	for i := range probeRacers {
		bodies[i] = fmt.Appendf(nil, "racer %d of %s", i, key)
		racers.Go(func() { answers[i] = putDecided(ctx, p.store, key, bodies[i]) })
	}
	racers.Wait()
	winner, err := winnerOf(answers)
	if err != nil {
		return err
	}
	return p.holds(ctx, key, bodies[winner])
}

const whyRace = "Two writers could both believe that they own a slot of the log, and acknowledged records would be lost. " +
	"The store must honour If-None-Match: * on PUT"

func winnerOf(answers []error) (int, error) {
	winner, winners := 0, 0
	for i, err := range answers {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case !errors.Is(err, ErrExists):
			return 0, fmt.Errorf("probing the object store: %w", err)
		}
	}
	if winners != 1 {
		return 0, &ProbeError{"of all who create one key exactly one succeeds",
			fmt.Sprintf("%d of %d did", winners, len(answers)), whyRace}
	}
	return winner, nil
}

// putDecided asks again for as long as the store cannot decide.
func putDecided(ctx context.Context, s Store, key string, body []byte) error {
	for attempt := 0; ; attempt++ {
		err := s.PutIfAbsent(ctx, key, body)
		if !errors.Is(err, ErrConflict) || attempt == 10 {
			return err
		}
		if err := clock.Sleep(ctx, 10*time.Millisecond<<min(attempt, 5)); err != nil {
			return err
		}
	}
}

func (p *probe) holds(ctx context.Context, key string, want []byte) error {
	object, err := p.store.Get(ctx, key, Whole)
	if err != nil {
		return fmt.Errorf("probing the object store: %w", err)
	}
	if !bytes.Equal(object.Body, want) {
		return &ProbeError{"an object holds what its creator put", fmt.Sprintf("%q holds %q, not %q", key, object.Body, want), whyRace}
	}
	return nil
}

// absence: a key that was found absent is found as soon as it is created.
func (p *probe) absence(ctx context.Context) error {
	key := p.prefix + "absent"
	if _, err := p.store.Get(ctx, key, Whole); !isNotFound(err) {
		return unexpected("a key that was never created is absent", "get", err, whyCached)
	}
	if _, err := p.store.Head(ctx, key); !isNotFound(err) {
		return unexpected("a key that was never created is absent", "head", err, whyCached)
	}
	if err := putDecided(ctx, p.store, key, probeBody()); err != nil {
		return fmt.Errorf("probing the object store: %w", err)
	}
	if _, err := p.store.Head(ctx, key); err != nil {
		return unexpected("an object is seen once it is created", "head", err, whyCached)
	}
	if _, err := p.store.Get(ctx, key, Whole); err != nil {
		return unexpected("an object is seen once it is created", "get", err, whyCached)
	}
	return p.holds(ctx, key, probeBody())
}

const whyCached = "A writer that asks for a slot, a seal or a chain entry would get an answer from the past. " +
	"Take caches that keep 404s out of the way between Samsa and the store"

// unexpected sorts a broken promise from a store that is unwell.
func unexpected(promise, call string, err error, why string) error {
	switch {
	case err == nil:
		return &ProbeError{promise, call + " finds one", why}
	case isNotFound(err):
		return &ProbeError{promise, call + " does not find it", why}
	default:
		return fmt.Errorf("probing the object store: %w", err)
	}
}

func probeBody() []byte { return []byte("0123456789abcdef") }

// ranges: a part of an object is the part that was asked for.
func (p *probe) ranges(ctx context.Context) error {
	key, body := p.prefix+"absent", probeBody()
	for _, r := range []Range{Bytes(0, 4), Bytes(4, 8), From(10), Suffix(6), Suffix(100), Bytes(12, 100), From(100)} {
		object, err := p.store.Get(ctx, key, r)
		if err != nil {
			return fmt.Errorf("probing the object store: range %s: %w", r, err)
		}
		from, to := r.within(int64(len(body)))
		if !bytes.Equal(object.Body, body[from:to]) || object.Size != int64(len(body)) {
			return &ProbeError{"a range of an object is read as asked",
				fmt.Sprintf("range %s of %q gives %q and size %d", r, body, object.Body, object.Size),
				"Footers and blocks of segments are read by range, so records could not be read"}
		}
	}
	return nil
}

// list: a listing names what stands, in order.
func (p *probe) list(ctx context.Context) error {
	want := []string{p.prefix + "absent"}
	for race := range probeRaces {
		want = append(want, fmt.Sprintf("%srace-%d", p.prefix, race))
	}
	got, err := p.keys(ctx)
	if err != nil {
		return fmt.Errorf("probing the object store: %w", err)
	}
	if !slices.Equal(got, want) {
		return &ProbeError{"a listing names all objects in the order of their keys",
			fmt.Sprintf("it names [%s], not [%s]", strings.Join(got, " "), strings.Join(want, " ")),
			"Space could not be freed and the index could not be rebuilt"}
	}
	return nil
}

func (p *probe) keys(ctx context.Context) ([]string, error) {
	var keys []string
	for info, err := range p.store.List(ctx, p.prefix, "") {
		if err != nil {
			return nil, err
		}
		keys = append(keys, info.Key)
	}
	return keys, nil
}

// delete: what is deleted is gone, and deleting it again is no error.
func (p *probe) delete(ctx context.Context) error {
	key := p.prefix + "absent"
	for range 2 {
		if err := p.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("probing the object store: %w", err)
		}
	}
	if _, err := p.store.Head(ctx, key); !isNotFound(err) {
		return unexpected("what is deleted is gone", "head", err, "Deleted data would stay")
	}
	return nil
}

// cleanUp also runs when the caller's time is over.
func (p *probe) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	keys, err := p.keys(ctx)
	for _, key := range keys {
		err = errors.Join(err, p.store.Delete(ctx, key))
	}
	if err != nil {
		return fmt.Errorf("removing the probe's objects under %s: %w", p.prefix, err)
	}
	return nil
}
