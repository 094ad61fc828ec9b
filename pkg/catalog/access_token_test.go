package catalog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/catalogtest"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

func scope() *samsav1.AccessTokenScope {
	return &samsav1.AccessTokenScope{
		Buckets: &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: "logs"}},
		Streams: &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: "tenant/"}},
		Ops:     []samsav1.Operation{samsav1.Operation_OPERATION_APPEND, samsav1.Operation_OPERATION_TRIM},
	}
}

func issue(t *testing.T, c *catalog.Catalog, token catalog.AccessToken) (secret string) {
	t.Helper()
	secret, err := c.IssueAccessToken(t.Context(), token)
	require.NoError(t, err)
	return secret
}

func TestVerifyAccessToken_KnowsWhatWasIssued(t *testing.T) {
	c, published := newCatalog(t)
	expiry := time.Now().Add(time.Hour).Truncate(time.Second)
	secret := issue(t, c, catalog.AccessToken{ID: "ci/ü", ExpiresAt: expiry, AutoPrefix: true, Scope: scope()})
	require.Equal(t, []change{{accessTokenID: "ci/ü"}}, published.take())

	token, err := c.VerifyAccessToken(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, "ci/ü", token.ID)
	require.True(t, expiry.Equal(token.ExpiresAt))
	require.True(t, token.AutoPrefix)
	require.True(t, proto.Equal(scope(), token.Scope))
	require.WithinDuration(t, time.Now(), token.CreatedAt, time.Minute)
}

func TestVerifyAccessToken_RefusesEveryOtherText(t *testing.T) {
	c, _ := newCatalog(t)
	secret := issue(t, c, catalog.AccessToken{ID: "a"})
	other := issue(t, c, catalog.AccessToken{ID: "b"})
	_, err := c.RevokeAccessToken(t.Context(), "b")
	require.NoError(t, err)
	for _, text := range []string{
		"", ".", "samsa", secret[1:], secret[:len(secret)-1], secret + "0", secret + "\n", " " + secret,
		strings.ToUpper(secret), strings.Replace(secret, "samsa.", "samsa..", 1), other, strings.Repeat("x", 1<<20),
	} {
		_, err := c.VerifyAccessToken(t.Context(), text)
		require.ErrorIs(t, err, catalog.ErrInvalidToken)
	}
}

func TestVerifyAccessToken_RefusesTheSecretOfAnEarlierTokenWithTheSameID(t *testing.T) {
	c, _ := newCatalog(t)
	old := issue(t, c, catalog.AccessToken{ID: "a"})
	_, err := c.RevokeAccessToken(t.Context(), "a")
	require.NoError(t, err)
	current := issue(t, c, catalog.AccessToken{ID: "a"})
	_, err = c.VerifyAccessToken(t.Context(), old)
	require.ErrorIs(t, err, catalog.ErrInvalidToken)
	_, err = c.VerifyAccessToken(t.Context(), current)
	require.NoError(t, err)
}

func TestIssueAccessToken_KeepsOnlyAHash(t *testing.T) {
	pool := catalogtest.Pool(t)
	c := catalog.New(pool, catalog.Options{})
	secret := issue(t, c, catalog.AccessToken{ID: "a"})
	var row string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT t::text FROM access_tokens t").Scan(&row))
	random := strings.Split(secret, ".")[2]
	require.Len(t, random, 43, "256 bits in base64")
	require.NotContains(t, row, random)
}

func TestIssueAccessToken_RefusesIDInUse(t *testing.T) {
	c, _ := newCatalog(t)
	errs := inParallel(4, func(int) error {
		_, err := c.IssueAccessToken(t.Context(), catalog.AccessToken{ID: "a"})
		return err
	})
	require.Equal(t, 1, countOK(errs))
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, catalog.ErrExists), "%v", err)
	}
}

func TestExpiredAccessToken_IsTellableForADayAndItsIDFree(t *testing.T) {
	c, _ := newCatalog(t)
	expire := func(id string, ago time.Duration) string {
		return issue(t, c, catalog.AccessToken{ID: id, ExpiresAt: time.Now().Add(-ago)})
	}
	recent, old := expire("recent", time.Minute), expire("old", 25*time.Hour)
	valid := issue(t, c, catalog.AccessToken{ID: "valid", ExpiresAt: time.Now().Add(time.Hour)})
	forever := issue(t, c, catalog.AccessToken{ID: "forever"})

	token, err := c.VerifyAccessToken(t.Context(), recent)
	require.ErrorIs(t, err, catalog.ErrTokenExpired)
	require.Equal(t, "recent", token.ID)

	removed, err := c.RemoveExpiredAccessTokens(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	_, err = c.VerifyAccessToken(t.Context(), old)
	require.ErrorIs(t, err, catalog.ErrInvalidToken)
	for _, secret := range []string{valid, forever} {
		_, err = c.VerifyAccessToken(t.Context(), secret)
		require.NoError(t, err)
	}

	again := issue(t, c, catalog.AccessToken{ID: "recent"})
	_, err = c.VerifyAccessToken(t.Context(), again)
	require.NoError(t, err)
	_, err = c.VerifyAccessToken(t.Context(), recent)
	require.ErrorIs(t, err, catalog.ErrInvalidToken)
}

func TestRevokeAccessToken_ReturnsWhatItWas(t *testing.T) {
	c, published := newCatalog(t)
	_, err := c.RevokeAccessToken(t.Context(), "a")
	requireObject(t, err, catalog.ErrNotFound, catalog.ObjectAccessToken, "a")
	issue(t, c, catalog.AccessToken{ID: "a", Scope: scope()})
	published.take()
	token, err := c.RevokeAccessToken(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, proto.Equal(scope(), token.Scope))
	require.Equal(t, []change{{accessTokenID: "a"}}, published.take())
}

func TestListAccessTokens_Pages(t *testing.T) {
	c, _ := newCatalog(t)
	for _, id := range []string{"b", "a/1", "a/2", "a%"} {
		issue(t, c, catalog.AccessToken{ID: id})
	}
	for _, x := range []struct {
		page catalog.Page
		want []string
		more bool
	}{
		{catalog.Page{}, []string{"a%", "a/1", "a/2", "b"}, false},
		{catalog.Page{Prefix: "a/", Limit: 1}, []string{"a/1"}, true},
		{catalog.Page{Prefix: "a/", StartAfter: "a/1"}, []string{"a/2"}, false},
		{catalog.Page{Prefix: "a%"}, []string{"a%"}, false},
		{catalog.Page{Only: new("a/1")}, []string{"a/1"}, false},
		{catalog.Page{Only: new("a/1"), Prefix: "a/"}, []string{"a/1"}, false},
		{catalog.Page{Only: new("a/1"), StartAfter: "a/1"}, nil, false},
		{catalog.Page{Only: new("a")}, nil, false},
	} {
		tokens, more, err := c.ListAccessTokens(t.Context(), x.page)
		require.NoError(t, err)
		var ids []string
		for _, token := range tokens {
			ids = append(ids, token.ID)
		}
		require.Equal(t, x.want, ids)
		require.Equal(t, x.more, more)
	}
}
