package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
)

// entry is what is remembered of one token.
type entry struct {
	key catalog.AccessTokenKey

	mu       sync.Mutex
	token    *Token        // nil: it is not valid, or not known yet
	err      error         // why it is not valid; nil: not known yet
	verified time.Time     // when Postgres last said that it is valid
	due      time.Time     // when to look again
	stale    bool          // a change was announced: what is known must not be used
	failing  bool          // the last look did not reach Postgres
	look     chan struct{} // closed at the end of the look under way; nil: none
	changes  uint64        // how many changes were announced
	used     time.Time
	// sessions are told of changes by way of the Verifier's maps: an entry that has
	// any is in one of them.
	sessions map[*session]struct{}
	retired  bool // no map has it any more
}

// answer is the token or why there is none, or else the look to wait for, which
// start starts if none is under way.
func (e *entry) answer(now time.Time, outage time.Duration, start func()) (_ *Token, look <-chan struct{}, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used = now
	if e.token != nil && e.token.expired(now) {
		return nil, nil, ErrExpired
	}
	if !e.stale && now.Before(e.due) && !e.failing {
		return e.token, nil, e.err
	}
	if e.failing && now.Before(e.due) { // someone looked just now
		token, err := e.fallBack(now, outage)
		return token, nil, err
	}
	e.begin(start)
	if e.failing {
		if token, err := e.fallBack(now, outage); err == nil {
			return token, nil, nil
		}
	}
	return nil, e.look, nil
}

// begin starts a look if none is under way. The lock is held.
func (e *entry) begin(start func()) {
	if e.look == nil {
		e.look = make(chan struct{})
		start()
	}
}

// fallBack is the answer while Postgres is unreachable. The lock is held.
func (e *entry) fallBack(now time.Time, outage time.Duration) (*Token, error) {
	if e.token == nil || e.stale || now.Sub(e.verified) >= max(outage, 0) {
		return nil, ErrUnavailable
	}
	return e.token, nil
}

// impatient is the answer to a call that does not wait any longer. Others need not
// wait as long.
func (e *entry) impatient(now time.Time, outage time.Duration) (*Token, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failing, e.due = true, now.Add(retryAfter)
	return e.fallBack(now, outage)
}

// learn takes what a look has found that began after so many changes. If there were
// more meanwhile, start starts another one, as far as sessions depend on it.
func (e *entry) learn(now time.Time, outage time.Duration, change uint64, token *Token, err error, start func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.look)
	e.look = nil
	current := change == e.changes
	switch {
	case err == nil:
		token.entry = e
		e.token, e.err, e.failing, e.verified = token, nil, false, now
		e.stale, e.due = e.stale && !current, now.Add(revalidateAfter)
	case errors.Is(err, ErrUnavailable):
		e.failing, e.due = true, now.Add(retryAfter)
		if _, err := e.fallBack(now, outage); err != nil {
			e.endSessions(err)
		}
		return
	default:
		e.token, e.err, e.failing = nil, err, false
		e.stale, e.due = e.stale && !current, now.Add(refuseFor)
		e.endSessions(err)
	}
	if !current {
		e.due = now
		if len(e.sessions) > 0 {
			e.begin(start)
		}
	}
}

// announce takes the news that the token has, or may have, changed.
func (e *entry) announce(certain bool, lookup func(*entry)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changes++
	e.stale = e.stale || certain
	e.due = time.Time{}
	if len(e.sessions) > 0 {
		e.begin(func() { lookup(e) })
	}
}

// keepUp looks again at a token that sessions depend on.
func (e *entry) keepUp(now time.Time, outage time.Duration, lookup func(*entry)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sessions) == 0 {
		return
	}
	e.used = now
	if e.failing {
		if _, err := e.fallBack(now, outage); err != nil {
			e.endSessions(err)
			return
		}
	}
	if e.stale || !now.Before(e.due) {
		e.begin(func() { lookup(e) })
	}
}

// session is a call that lasts, and ends when its token does.
type session struct{ end context.CancelCauseFunc }

// endSessions is called with the lock held.
func (e *entry) endSessions(err error) {
	for s := range e.sessions {
		s.end(err)
	}
	clear(e.sessions)
}

// Session is a context that ends with the token: its cause is then ErrExpired,
// ErrInvalid or ErrUnavailable. Call stop when the session is over.
func (t *Token) Session(ctx context.Context) (_ context.Context, stop func()) {
	ctx, end := context.WithCancelCause(ctx)
	s := &session{end}
	if t.entry == nil {
		return ctx, func() { end(nil) }
	}
	expiry := func() bool { return true }
	if !t.ExpiresAt.IsZero() {
		expiry = time.AfterFunc(time.Until(t.ExpiresAt), func() { end(ErrExpired) }).Stop
	}
	t.entry.join(s)
	return ctx, func() {
		expiry()
		t.entry.leave(s)
		end(nil)
	}
}

func (e *entry) join(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.token == nil: // revoked since the call was let in
		s.end(ErrInvalid)
		return
	case e.retired: // nobody would tell it of a revocation
		s.end(ErrUnavailable)
		return
	}
	if e.sessions == nil {
		e.sessions = map[*session]struct{}{}
	}
	e.sessions[s] = struct{}{}
}

func (e *entry) leave(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
}

func (e *entry) isKnown() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.token != nil
}

// isIdle tells that nobody waits for a look, and that no session depends on it.
func (e *entry) isIdle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.look == nil && len(e.sessions) == 0
}

// retire is called before an entry is taken out of its map; false: it must stay.
func (e *entry) retire() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retired = e.look == nil && len(e.sessions) == 0
	return e.retired
}

func (e *entry) isRetired() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retired
}

func (e *entry) lastUse() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.used
}
