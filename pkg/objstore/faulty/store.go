package faulty

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// Store is a store with faults. It is safe for concurrent use.
type Store struct {
	inner objstore.Store

	mu    sync.Mutex
	rng   *rand.Rand
	rates Rates
	rules []*Rule
	held  []heldPut
	calls map[string]int
}

// Rule gives Fault to some of the calls that match Op and Prefix.
type Rule struct {
	Op     string // one of objstore.OpPut …; "": every one
	Prefix string // of the key; "": every one
	Nth    int    // the first matching call that is hit, counted from 1 and from the rule's addition; 0 is 1
	Times  int    // how many are hit; 0 is 1, negative is all
	Fault  Fault

	seen, hit int
}

// Rates are the chances, from 0 to 1, that a call of a seeded run meets a fault.
// What does not apply to a call does nothing to it.
type Rates struct {
	Unavailable, ReplyLost, Late, Conflict, Slow, Truncate, FlipBit float64

	SlowFor time.Duration
}

type heldPut struct {
	key  string
	body []byte
}

// New gives a store without faults yet.
func New(inner objstore.Store) *Store { return Seeded(inner, 0, Rates{}) }

// Seeded gives a store whose faults follow from the seed and the order of calls.
func Seeded(inner objstore.Store, seed uint64, rates Rates) *Store {
	return &Store{inner: inner, rng: rand.New(rand.NewPCG(seed, 0)), rates: rates, calls: map[string]int{}}
}

// Add adds a rule to the script. Of several rules that hit, the oldest does.
func (s *Store) Add(rule Rule) {
	rule.Nth, rule.Times = max(rule.Nth, 1), cmp.Or(rule.Times, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, &rule)
}

// SetRates changes the rates of a seeded run; Rates{} heals the store.
func (s *Store) SetRates(rates Rates) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rates = rates
}

// Calls tells how many calls of op there were.
func (s *Store) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Held tells how many late puts have not landed.
func (s *Store) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Land lets every late put land now, and gives what the store said to each.
func (s *Store) Land(ctx context.Context) []error {
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	return s.land(ctx, held)
}

func (s *Store) land(ctx context.Context, held []heldPut) []error {
	answers := make([]error, len(held))
	for i, put := range held {
		answers[i] = s.inner.PutIfAbsent(ctx, put.key, put.body)
	}
	return answers
}

// Close closes the store below.
func (s *Store) Close() error { return objstore.Close(s.inner) }

// PutIfAbsent implements [objstore.Store].
func (s *Store) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.meet(ctx, objstore.OpPut, key, &call{
		do:   func() error { return s.inner.PutIfAbsent(ctx, key, body) },
		hold: func() { s.hold(key, body) },
	})
}

// Get implements [objstore.Store].
func (s *Store) Get(ctx context.Context, key string, r objstore.Range) (object objstore.Object, err error) {
	err = s.meet(ctx, objstore.OpGet, key, &call{
		do: func() error {
			object, err = s.inner.Get(ctx, key, r)
			return err
		},
		body: &object.Body,
	})
	if err != nil {
		return objstore.Object{}, err
	}
	return object, nil
}

// Head implements [objstore.Store].
func (s *Store) Head(ctx context.Context, key string) (info objstore.Info, err error) {
	err = s.meet(ctx, objstore.OpHead, key, &call{do: func() error {
		info, err = s.inner.Head(ctx, key)
		return err
	}})
	if err != nil {
		return objstore.Info{}, err
	}
	return info, nil
}

// Delete implements [objstore.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.meet(ctx, objstore.OpDelete, key, &call{do: func() error { return s.inner.Delete(ctx, key) }})
}

// List implements [objstore.Store].
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		begun := false
		err := s.meet(ctx, objstore.OpList, prefix, &call{do: func() error {
			begun = true
			return nil
		}})
		if err != nil && !begun {
			yield(objstore.Info{}, err)
			return
		}
		for info, failure := range s.inner.List(ctx, prefix, startAfter) {
			if !yield(info, failure) {
				return
			}
			if err != nil && failure == nil {
				yield(objstore.Info{}, err)
				return
			}
		}
		if err != nil {
			yield(objstore.Info{}, err)
		}
	}
}

// meet carries a call out under the fault that it meets.
func (s *Store) meet(ctx context.Context, op, key string, c *call) error {
	fault, landing := s.next(op, key)
	s.land(ctx, landing)
	if fault == nil {
		return c.do()
	}
	if c.hold == nil {
		c.hold = func() {}
	}
	c.flip = s.intN
	err := fault.apply(ctx, c)
	if err == nil || asStoreError(err) {
		return err
	}
	return &objstore.Error{Op: op, Key: key, Err: err}
}

func asStoreError(err error) bool {
	_, ok := err.(*objstore.Error) //nolint:errorlint // only whether it has the wrapping already
	return ok
}

// next counts the call and chooses its fault, and the held puts that land
// before it.
func (s *Store) next(op, key string) (*Fault, []heldPut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	landing := s.releaseSome()
	for _, rule := range s.rules {
		if rule.hits(op, key) {
			return &rule.Fault, landing
		}
	}
	return s.rates.draw(s.rng, op), landing
}

func (r *Rule) hits(op, key string) bool {
	if (r.Op != "" && r.Op != op) || !strings.HasPrefix(key, r.Prefix) {
		return false
	}
	r.seen++
	if r.seen < r.Nth || (r.Times >= 0 && r.hit >= r.Times) {
		return false
	}
	r.hit++
	return true
}

// releaseSome lets each held put of a seeded run through with an even chance.
func (s *Store) releaseSome() []heldPut {
	if s.rates.Late == 0 {
		return nil
	}
	var landing []heldPut
	s.held = slices.DeleteFunc(s.held, func(put heldPut) bool {
		if s.rng.IntN(2) == 0 {
			return false
		}
		landing = append(landing, put)
		return true
	})
	return landing
}

// draw takes at most one fault.
func (r Rates) draw(rng *rand.Rand, op string) *Fault {
	if r == (Rates{}) {
		return nil
	}
	chance := rng.Float64()
	for _, choice := range r.choices(op) {
		if chance < choice.rate {
			return &choice.fault
		}
		chance -= choice.rate
	}
	return nil
}

type choice struct {
	rate  float64
	fault Fault
}

func (r Rates) choices(op string) []choice {
	all := []choice{{r.Unavailable, Unavailable()}, {r.ReplyLost, ReplyLost()}, {r.Slow, Slow(r.SlowFor)}}
	switch op {
	case objstore.OpPut:
		all = append(all, choice{r.Late, Late()}, choice{r.Conflict, Conflict()})
	case objstore.OpGet:
		all = append(all, choice{r.Truncate, Truncate()}, choice{r.FlipBit, FlipBit()})
	}
	return all
}

func (s *Store) hold(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, heldPut{key, slices.Clone(body)})
}

func (s *Store) intN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}
