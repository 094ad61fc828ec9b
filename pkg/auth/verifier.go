package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
)

// Tokens is where access tokens are kept; *catalog.Catalog is one.
type Tokens interface {
	// CheckAccessToken: catalog.ErrInvalidToken, catalog.ErrTokenExpired; anything
	// else says that it could not be told.
	CheckAccessToken(ctx context.Context, key catalog.AccessTokenKey) (catalog.AccessToken, error)
}

const (
	// revalidateAfter is how long a token counts as valid without another look, if
	// nothing was heard of it.
	revalidateAfter = 30 * time.Second
	// refuseFor is how long an unknown token counts as unknown without another look.
	refuseFor = 2 * time.Second
	// retryAfter is between looks while Postgres is unreachable.
	retryAfter = time.Second
	// patience is how long a call waits for a look.
	patience = time.Second
	// sweepEvery is between looks at the tokens of sessions.
	sweepEvery = time.Second
	// idleFor is how long a token that nobody uses stays known.
	idleFor = 10 * time.Minute
	// lookupTimeout bounds a look.
	lookupTimeout = 5 * time.Second
)

// VerifierConfig is what a Verifier works with; New fills in what is zero but
// Tokens.
type VerifierConfig struct {
	Tokens Tokens
	// Root is the SHA-256 of the root token; nil: there is none.
	Root *[sha256.Size]byte
	// OutageTTL is for how long a token that was verified goes on while Postgres is
	// unreachable.
	OutageTTL time.Duration
	// MaxKnown and MaxUnknown bound how many tokens are remembered, valid ones
	// (10,000) and others (1,000). A flood of made-up tokens displaces no valid one.
	MaxKnown, MaxUnknown int
	// MaxLookups bounds how many looks at Postgres are under way (16).
	MaxLookups int
	Metrics    *Metrics    // nil: none
	Log        *zap.Logger // nil: none
}

func (c VerifierConfig) withDefaults() VerifierConfig {
	if c.MaxKnown <= 0 {
		c.MaxKnown = 10_000
	}
	if c.MaxUnknown <= 0 {
		c.MaxUnknown = 1000
	}
	if c.MaxLookups <= 0 {
		c.MaxLookups = 16
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// Verifier tells valid access tokens from others, and remembers them. Close it.
//
// Lock order: Verifier.mu, then entry.mu.
type Verifier struct {
	config  VerifierConfig
	root    *Token
	lookups chan struct{} // has a place for each look under way

	ctx    context.Context // ends the looks and the sweeper
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.RWMutex
	closed  bool
	known   map[[sha256.Size]byte]*entry
	unknown map[[sha256.Size]byte]*entry // refused, or not looked at yet
}

// NewVerifier makes a Verifier.
func NewVerifier(c VerifierConfig) *Verifier {
	c = c.withDefaults()
	v := &Verifier{
		config: c, root: rootToken(), lookups: make(chan struct{}, c.MaxLookups),
		known: map[[sha256.Size]byte]*entry{}, unknown: map[[sha256.Size]byte]*entry{},
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.work.Go(v.sweep)
	return v
}

// Close ends what runs in the background. Calls that wait for it fail.
func (v *Verifier) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	v.work.Wait()
}

// Verify finds the token that has this secret: ErrMalformed, ErrInvalid,
// ErrExpired, ErrUnavailable.
func (v *Verifier) Verify(ctx context.Context, secret string) (*Token, error) {
	t, err := v.verify(ctx, secret)
	v.config.Metrics.verified(err)
	return t, err
}

func (v *Verifier) verify(ctx context.Context, secret string) (*Token, error) {
	if v.isRoot(secret) {
		return v.root, nil
	}
	key, ok := catalog.ParseAccessToken(secret)
	if !ok {
		return nil, ErrMalformed
	}
	e, err := v.entryOf(key)
	if err != nil {
		return nil, err
	}
	return v.ask(ctx, e)
}

func (v *Verifier) isRoot(secret string) bool {
	if v.config.Root == nil {
		return false
	}
	hash := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(hash[:], v.config.Root[:]) == 1
}

// ask answers from what is remembered, or waits for a look at Postgres.
func (v *Verifier) ask(ctx context.Context, e *entry) (*Token, error) {
	var patient *time.Timer
	for {
		token, look, err := e.answer(time.Now(), v.config.OutageTTL, func() { v.startLookup(e) })
		if look == nil {
			return token, err
		}
		if patient == nil {
			patient = time.NewTimer(patience)
			defer patient.Stop()
		}
		select {
		case <-look:
		case <-patient.C:
			return e.impatient(time.Now(), v.config.OutageTTL)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// entryOf finds or makes the entry of a token.
func (v *Verifier) entryOf(key catalog.AccessTokenKey) (*entry, error) {
	v.mu.RLock()
	e := v.find(key)
	v.mu.RUnlock()
	if e != nil {
		return e, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.find(key); e != nil {
		return e, nil
	}
	if len(v.unknown) >= v.config.MaxUnknown && !evict(v.unknown) {
		return nil, ErrUnavailable // more looks wait than there may be
	}
	e = &entry{key: key, used: time.Now()}
	v.unknown[key.Hash] = e
	return e, nil
}

func (v *Verifier) find(key catalog.AccessTokenKey) *entry {
	if e := v.known[key.Hash]; e != nil {
		return e
	}
	return v.unknown[key.Hash]
}

// evictionTries is how many entries are looked at for one to drop.
const evictionTries = 16

// evict drops an entry that is idle, of some the one not used for longest.
func evict(from map[[sha256.Size]byte]*entry) bool {
	var oldest *entry
	tries := 0
	for _, e := range from {
		if e.isIdle() && (oldest == nil || e.lastUse().Before(oldest.lastUse())) {
			oldest = e
		}
		if tries++; tries >= evictionTries && oldest != nil {
			break
		}
	}
	if oldest == nil || !oldest.retire() {
		return false
	}
	delete(from, oldest.key.Hash)
	return true
}

// startLookup is called with the entry's lock held and its look noted.
func (v *Verifier) startLookup(e *entry) {
	change := e.changes
	v.work.Go(func() {
		token, err := v.lookup(e.key)
		now := time.Now()
		v.config.Metrics.lookedUp(err)
		e.learn(now, v.config.OutageTTL, change, token, err, func() { v.startLookup(e) })
		v.sort(e)
	})
}

func (v *Verifier) lookup(key catalog.AccessTokenKey) (*Token, error) {
	ctx, cancel := context.WithTimeout(v.ctx, lookupTimeout)
	defer cancel()
	select {
	case v.lookups <- struct{}{}:
		defer func() { <-v.lookups }()
	case <-ctx.Done():
		return nil, ErrUnavailable
	}
	found, err := v.config.Tokens.CheckAccessToken(ctx, key)
	switch {
	case err == nil:
		return newToken(found), nil
	case errors.Is(err, catalog.ErrInvalidToken):
		return nil, ErrInvalid
	case errors.Is(err, catalog.ErrTokenExpired):
		return nil, ErrExpired
	}
	v.config.Log.Warn("cannot verify an access token", zap.String("token_id", key.ID), zap.Error(err))
	return nil, ErrUnavailable
}

// sort puts the entry into the map where it belongs after a look.
func (v *Verifier) sort(e *entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.isRetired() {
		return
	}
	if !e.isKnown() {
		if v.known[e.key.Hash] == e {
			delete(v.known, e.key.Hash)
			if len(v.unknown) < v.config.MaxUnknown || !e.retire() {
				v.unknown[e.key.Hash] = e
			}
		}
		return
	}
	if v.unknown[e.key.Hash] == e {
		delete(v.unknown, e.key.Hash)
	}
	if v.known[e.key.Hash] == nil {
		if len(v.known) >= v.config.MaxKnown {
			evict(v.known)
		}
		v.known[e.key.Hash] = e
	}
	v.config.Metrics.knows(len(v.known))
}

// Change takes the news that something in the catalog has changed. What was known
// of an access token is then not relied on, not even while Postgres is away.
func (v *Verifier) Change(_ context.Context, change *clusterv1.CatalogChange) {
	if id := change.GetAccessTokenId(); id != "" {
		v.each(func(e *entry) {
			if e.key.ID == id {
				e.announce(true, v.startLookup)
			}
		})
	}
}

// Missed takes the news that changes may have been missed: every token is looked
// at again when it is next used.
func (v *Verifier) Missed() {
	v.each(func(e *entry) { e.announce(false, v.startLookup) })
}

func (v *Verifier) each(f func(*entry)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return
	}
	for _, entries := range []map[[sha256.Size]byte]*entry{v.known, v.unknown} {
		for _, e := range entries {
			f(e)
		}
	}
}

// sweep looks at the tokens that sessions depend on, and forgets those that nobody
// uses.
func (v *Verifier) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-v.ctx.Done():
			return
		case now := <-ticker.C:
			v.each(func(e *entry) { e.keepUp(now, v.config.OutageTTL, v.startLookup) })
			v.forget(now)
		}
	}
}

func (v *Verifier) forget(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for hash, e := range v.known {
		if now.Sub(e.lastUse()) > max(idleFor, v.config.OutageTTL) && e.retire() {
			delete(v.known, hash)
		}
	}
	for hash, e := range v.unknown {
		if now.Sub(e.lastUse()) > refuseFor && e.retire() {
			delete(v.unknown, hash)
		}
	}
	v.config.Metrics.knows(len(v.known))
}
