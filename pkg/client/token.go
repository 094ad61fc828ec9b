package client

import (
	"context"
	"iter"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Operation is something that a token may allow.
type Operation = samsav1.Operation

// ResourceSet is the names that a token is for. The zero value is none.
type ResourceSet struct {
	Exact  *string // this name alone
	Prefix *string // all that begin so; "": all
}

// Exactly is the set of one name.
func Exactly(name string) ResourceSet { return ResourceSet{Exact: &name} }

// WithPrefix is the set of all names that begin with prefix.
func WithPrefix(prefix string) ResourceSet { return ResourceSet{Prefix: &prefix} }

// AccessToken describes a token. Its secret is shown once, when it is issued.
type AccessToken struct {
	ID                string
	ExpiresAt         *time.Time // whole seconds; nil: never
	AutoPrefixStreams bool       // stream names are given without the prefix of Streams
	Buckets           ResourceSet
	Streams           ResourceSet
	AccessTokens      ResourceSet
	Operations        []Operation
}

// AccessTokens lists tokens by id, through all pages.
func (c *Client) AccessTokens(ctx context.Context, l List) iter.Seq2[AccessToken, error] {
	return pages(l, func(l List) ([]AccessToken, bool, error) {
		resp, err := call(ctx, c.retry, readOnly, true, c.account().ListAccessTokens,
			&samsav1.ListAccessTokensRequest{Prefix: l.Prefix, StartAfter: l.StartAfter, Limit: l.limit()})
		return mapped(resp.GetAccessTokens(), accessToken), resp.GetHasMore(), err
	}, func(t AccessToken) string { return t.ID })
}

// IssueAccessToken makes a token and returns its secret, which can't be had
// again.
func (c *Client) IssueAccessToken(ctx context.Context, token AccessToken) (secret string, err error) {
	resp, err := call(ctx, c.retry, changes, false, c.account().IssueAccessToken,
		&samsav1.IssueAccessTokenRequest{Info: token.proto()})
	return resp.GetAccessToken(), err
}

// RevokeAccessToken ends a token and describes it.
func (c *Client) RevokeAccessToken(ctx context.Context, id string) (AccessToken, error) {
	resp, err := call(ctx, c.retry, changes, false, c.account().RevokeAccessToken,
		&samsav1.RevokeAccessTokenRequest{Id: id})
	return accessToken(resp.GetInfo()), err
}

func (t AccessToken) proto() *samsav1.AccessTokenInfo {
	info := &samsav1.AccessTokenInfo{
		Id: t.ID, AutoPrefixStreams: t.AutoPrefixStreams,
		Scope: &samsav1.AccessTokenScope{
			Buckets: t.Buckets.proto(), Streams: t.Streams.proto(), AccessTokens: t.AccessTokens.proto(),
			Ops: t.Operations,
		},
	}
	if t.ExpiresAt != nil {
		info.ExpiresAt = new(uint64(max(t.ExpiresAt.Unix(), 0)))
	}
	return info
}

func accessToken(info *samsav1.AccessTokenInfo) AccessToken {
	t := AccessToken{
		ID: info.GetId(), AutoPrefixStreams: info.GetAutoPrefixStreams(),
		Buckets:      resourceSet(info.GetScope().GetBuckets()),
		Streams:      resourceSet(info.GetScope().GetStreams()),
		AccessTokens: resourceSet(info.GetScope().GetAccessTokens()),
		Operations:   info.GetScope().GetOps(),
	}
	if info != nil && info.ExpiresAt != nil {
		t.ExpiresAt = new(time.Unix(int64(*info.ExpiresAt), 0).UTC())
	}
	return t
}

func (s ResourceSet) proto() *samsav1.ResourceSet {
	switch {
	case s.Exact != nil:
		return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: *s.Exact}}
	case s.Prefix != nil:
		return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: *s.Prefix}}
	}
	return nil
}

func resourceSet(s *samsav1.ResourceSet) ResourceSet {
	switch m := s.GetMatching().(type) {
	case *samsav1.ResourceSet_Exact:
		return Exactly(m.Exact)
	case *samsav1.ResourceSet_Prefix:
		return WithPrefix(m.Prefix)
	}
	return ResourceSet{}
}
