package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// maxExpiry is the last moment of the year 9999, in Unix seconds.
const maxExpiry = 253402300799

// ExpiryError refuses a time at which an access token is to expire.
type ExpiryError struct{ Problem string }

func (e *ExpiryError) Error() string { return e.Problem }

// TokenRequest is an access token as it is asked for.
type TokenRequest struct {
	ID         string
	ExpiresAt  *uint64 // Unix seconds; nil: never
	AutoPrefix bool
	Scope      *samsav1.AccessTokenScope // nil: grants nothing
}

// IssueAccessToken makes an access token and returns its secret, which is not
// kept. *settings.InvalidError, *ExpiryError.
func (a *Accounts) IssueAccessToken(ctx context.Context, r TokenRequest) (secret string, err error) {
	if err := checkTokenID("info.id", r.ID); err != nil {
		return "", err
	}
	expiry, err := r.expiry(a.options.Now())
	if err != nil {
		return "", err
	}
	if err := checkScope(r.Scope, r.AutoPrefix); err != nil {
		return "", err
	}
	return a.catalog.IssueAccessToken(ctx, catalog.AccessToken{
		ID: r.ID, ExpiresAt: expiry, AutoPrefix: r.AutoPrefix, Scope: r.Scope,
	})
}

// RevokeAccessToken takes an access token away and returns what it was.
func (a *Accounts) RevokeAccessToken(ctx context.Context, id string) (catalog.AccessToken, error) {
	if err := checkTokenID("id", id); err != nil {
		return catalog.AccessToken{}, err
	}
	return a.catalog.RevokeAccessToken(ctx, id)
}

// ListAccessTokens lists access tokens by id.
func (a *Accounts) ListAccessTokens(ctx context.Context, page catalog.Page) ([]catalog.AccessToken, bool, error) {
	if err := page.Check(); err != nil {
		return nil, false, err
	}
	return a.catalog.ListAccessTokens(ctx, page)
}

func checkTokenID(field, id string) error { return invalid(field, stream.CheckAccessTokenID(id)) }

func (r TokenRequest) expiry(now time.Time) (time.Time, error) {
	switch {
	case r.ExpiresAt == nil:
		return time.Time{}, nil
	case *r.ExpiresAt > maxExpiry:
		return time.Time{}, &ExpiryError{fmt.Sprintf("expires_at %d lies beyond the year 9999: want Unix seconds, or leave it out for never", *r.ExpiresAt)}
	}
	at := time.Unix(int64(*r.ExpiresAt), 0)
	if !at.After(now) {
		return time.Time{}, &ExpiryError{fmt.Sprintf("expires_at %d (%s) has passed: want Unix seconds in the future", *r.ExpiresAt, at.UTC().Format(time.RFC3339))}
	}
	return at, nil
}

func checkScope(s *samsav1.AccessTokenScope, autoPrefix bool) error {
	for i, op := range s.GetOps() {
		if _, known := samsav1.Operation_name[int32(op)]; !known || op == samsav1.Operation_OPERATION_UNSPECIFIED {
			return invalid("info.scope.ops", fmt.Errorf("ops[%d] = %v is no operation", i, op))
		}
	}
	for _, set := range []struct {
		field         string
		set           *samsav1.ResourceSet
		exact, prefix func(string) error
	}{
		{"info.scope.buckets", s.GetBuckets(), stream.CheckBucketName, checkBucketPrefix},
		{"info.scope.streams", s.GetStreams(), stream.CheckStreamName, checkStreamPrefix},
		{"info.scope.access_tokens", s.GetAccessTokens(), stream.CheckAccessTokenID, stream.CheckAccessTokenID},
	} {
		if err := checkSet(set.set, set.exact, set.prefix); err != nil {
			return invalid(set.field, err)
		}
	}
	if _, prefixed := s.GetStreams().GetMatching().(*samsav1.ResourceSet_Prefix); autoPrefix && !prefixed {
		return invalid("info.auto_prefix_streams", errors.New("needs a prefix in scope.streams to put before stream names"))
	}
	return nil
}

// checkSet refuses names that can't be. An empty prefix is that of every name;
// an empty name is nobody's, which grants nothing.
func checkSet(set *samsav1.ResourceSet, exact, prefix func(string) error) error {
	switch {
	case set.GetExact() != "":
		return exact(set.GetExact())
	case set.GetPrefix() != "":
		return prefix(set.GetPrefix())
	}
	return nil
}

func checkBucketPrefix(prefix string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if len(prefix) > stream.MaxBucketNameBytes || strings.Trim(prefix, letters) != "" || prefix[0] == '-' {
		return fmt.Errorf("no bucket name begins with %.70q: want at most %d of a-z, 0-9 and '-'", prefix, stream.MaxBucketNameBytes)
	}
	return nil
}

func checkStreamPrefix(prefix string) error {
	if prefix == "." || prefix == ".." {
		return nil // no names, but names begin so
	}
	return stream.CheckStreamName(prefix)
}
