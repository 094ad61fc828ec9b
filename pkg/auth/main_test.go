package auth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func exact(name string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: name}}
}

func prefix(text string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: text}}
}

// database is a fake of the catalog: tokens by id.
type database struct {
	mu     sync.Mutex
	tokens map[catalog.AccessTokenKey]catalog.AccessToken
	down   bool
	slow   time.Duration
	looks  int
	// hook, if set, is called during each look.
	hook func()
}

var errDown = errors.New("no route to host")

func (d *database) CheckAccessToken(ctx context.Context, key catalog.AccessTokenKey) (catalog.AccessToken, error) {
	d.mu.Lock()
	d.looks++
	token, ok := d.tokens[key]
	down, slow, hook := d.down, d.slow, d.hook
	d.mu.Unlock()
	if hook != nil {
		hook()
	}
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return catalog.AccessToken{}, ctx.Err()
	}
	switch {
	case down:
		return catalog.AccessToken{}, errors.Join(catalog.ErrUnavailable, errDown)
	case !ok:
		return catalog.AccessToken{}, catalog.ErrInvalidToken
	case !token.ExpiresAt.IsZero() && !time.Now().Before(token.ExpiresAt):
		return token, catalog.ErrTokenExpired
	}
	return token, nil
}

func (d *database) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *database) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looks
}
