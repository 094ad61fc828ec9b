package auth

import (
	"context"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
)

// Token is an access token whose holder has been verified. It does not change.
type Token struct {
	ID        string    // empty: the root token's
	ExpiresAt time.Time // zero: never
	// Root: everything is allowed, for ever.
	Root bool
	// Prefix is put before the stream names that the holder gives and taken from
	// those that it is shown; "": none.
	Prefix string

	ops                            operations
	buckets, streams, accessTokens names
	autoPrefix                     bool
	entry                          *entry // where it is kept; nil for the root token
}

func newToken(t catalog.AccessToken) *Token {
	token := &Token{
		ID: t.ID, ExpiresAt: t.ExpiresAt, autoPrefix: t.AutoPrefix,
		ops:          operationsOf(t.Scope.GetOps()),
		buckets:      namesOf(t.Scope.GetBuckets()),
		streams:      namesOf(t.Scope.GetStreams()),
		accessTokens: namesOf(t.Scope.GetAccessTokens()),
	}
	if t.AutoPrefix {
		token.Prefix = t.Scope.GetStreams().GetPrefix()
	}
	return token
}

func rootToken() *Token {
	return &Token{
		Root: true, ops: ^operations(0), buckets: everything(), streams: everything(), accessTokens: everything(),
	}
}

// expired tells whether the token's time has come. It is exact: a token does not
// outlive its expiry in a cache.
func (t *Token) expired(now time.Time) bool {
	return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
}

// Allows tells whether the token's scope has an operation on a resource. What the
// operation does not name is left empty in r and not looked at.
func (t *Token) Allows(op samsav1.Operation, r Resource) bool {
	return t.ops.has(op) &&
		(r.Bucket == nil || t.buckets.has(*r.Bucket)) &&
		(r.Stream == nil || t.streams.has(*r.Stream)) &&
		(r.AccessToken == nil || t.accessTokens.has(*r.AccessToken))
}

// Resource is what an operation is about; nil: it has no such part.
type Resource struct {
	Bucket, Stream, AccessToken *string
}

type tokenKey struct{}

// WithToken is a context of a call that the token's holder makes.
func WithToken(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, t)
}

// TokenOf is the token of the call that ctx belongs to; nil: authentication is
// off, and everything is allowed.
func TokenOf(ctx context.Context) *Token {
	t, _ := ctx.Value(tokenKey{}).(*Token)
	return t
}

// PrefixOf is what the caller's stream names are to be prefixed with.
func PrefixOf(ctx context.Context) string {
	if t := TokenOf(ctx); t != nil {
		return t.Prefix
	}
	return ""
}

// BucketPage is the part of a page of buckets that the caller may see; false: none.
func BucketPage(ctx context.Context, page catalog.Page) (catalog.Page, bool) {
	if t := TokenOf(ctx); t != nil {
		return t.buckets.narrow(page)
	}
	return page, true
}

// StreamPage is the part of a page of streams that the caller may see; false: none.
func StreamPage(ctx context.Context, page catalog.Page) (catalog.Page, bool) {
	if t := TokenOf(ctx); t != nil {
		return t.streams.narrow(page)
	}
	return page, true
}

// AccessTokenPage is the part of a page of access tokens that the caller may see;
// false: none.
func AccessTokenPage(ctx context.Context, page catalog.Page) (catalog.Page, bool) {
	if t := TokenOf(ctx); t != nil {
		return t.accessTokens.narrow(page)
	}
	return page, true
}
