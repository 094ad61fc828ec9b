// Package server is the gRPC face of the account service: it decodes, calls
// internal/account and encodes.
package server

import (
	"context"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/services/account/internal/account"
)

// Server answers samsa.v1.AccountService.
type Server struct {
	samsav1.UnimplementedAccountServiceServer
	accounts *account.Accounts
}

// New makes a Server.
func New(a *account.Accounts) *Server { return &Server{accounts: a} }

// ListBuckets lists buckets by name.
func (s *Server) ListBuckets(ctx context.Context, r *samsav1.ListBucketsRequest) (*samsav1.ListBucketsResponse, error) {
	page, some := auth.BucketPage(ctx, catalog.Page{Prefix: r.GetPrefix(), StartAfter: r.GetStartAfter(), Limit: r.GetLimit()})
	if !some {
		return &samsav1.ListBucketsResponse{}, nil
	}
	buckets, more, err := s.accounts.ListBuckets(ctx, page)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &samsav1.ListBucketsResponse{HasMore: more}
	for _, b := range buckets {
		response.Buckets = append(response.Buckets, bucketInfo(b))
	}
	return response, nil
}

// CreateBucket makes a bucket.
func (s *Server) CreateBucket(ctx context.Context, r *samsav1.CreateBucketRequest) (*samsav1.CreateBucketResponse, error) {
	given, err := settings.BucketFromProto(r.GetConfig())
	if err != nil {
		return nil, toStatus(err)
	}
	b, err := s.accounts.CreateBucket(ctx, r.GetBucket(), given)
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.CreateBucketResponse{Info: bucketInfo(b)}, nil
}

// DeleteBucket ends a bucket and its streams.
func (s *Server) DeleteBucket(ctx context.Context, r *samsav1.DeleteBucketRequest) (*samsav1.DeleteBucketResponse, error) {
	if err := s.accounts.DeleteBucket(ctx, r.GetBucket()); err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.DeleteBucketResponse{}, nil
}

// GetBucketConfig tells a bucket's settings.
func (s *Server) GetBucketConfig(ctx context.Context, r *samsav1.GetBucketConfigRequest) (*samsav1.GetBucketConfigResponse, error) {
	b, err := s.accounts.GetBucket(ctx, r.GetBucket())
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.GetBucketConfigResponse{Config: b.Settings.Proto()}, nil
}

// ReconfigureBucket changes a bucket's settings.
func (s *Server) ReconfigureBucket(ctx context.Context, r *samsav1.ReconfigureBucketRequest) (*samsav1.ReconfigureBucketResponse, error) {
	change, err := settings.NewBucketChange(r.GetConfig(), r.GetMask())
	if err != nil {
		return nil, toStatus(err)
	}
	b, err := s.accounts.ReconfigureBucket(ctx, r.GetBucket(), change)
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.ReconfigureBucketResponse{Config: b.Settings.Proto()}, nil
}

// IssueAccessToken makes an access token.
func (s *Server) IssueAccessToken(ctx context.Context, r *samsav1.IssueAccessTokenRequest) (*samsav1.IssueAccessTokenResponse, error) {
	secret, err := s.accounts.IssueAccessToken(ctx, tokenRequest(r.GetInfo()))
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.IssueAccessTokenResponse{AccessToken: secret}, nil
}

// RevokeAccessToken takes an access token away.
func (s *Server) RevokeAccessToken(ctx context.Context, r *samsav1.RevokeAccessTokenRequest) (*samsav1.RevokeAccessTokenResponse, error) {
	token, err := s.accounts.RevokeAccessToken(ctx, r.GetId())
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.RevokeAccessTokenResponse{Info: tokenInfo(token)}, nil
}

// ListAccessTokens lists access tokens by id.
func (s *Server) ListAccessTokens(ctx context.Context, r *samsav1.ListAccessTokensRequest) (*samsav1.ListAccessTokensResponse, error) {
	page, some := auth.AccessTokenPage(ctx, catalog.Page{Prefix: r.GetPrefix(), StartAfter: r.GetStartAfter(), Limit: r.GetLimit()})
	if !some {
		return &samsav1.ListAccessTokensResponse{}, nil
	}
	tokens, more, err := s.accounts.ListAccessTokens(ctx, page)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &samsav1.ListAccessTokensResponse{HasMore: more}
	for _, token := range tokens {
		response.AccessTokens = append(response.AccessTokens, tokenInfo(token))
	}
	return response, nil
}

func tokenRequest(info *samsav1.AccessTokenInfo) account.TokenRequest {
	if info == nil {
		return account.TokenRequest{} // has no id, and is refused for that
	}
	return account.TokenRequest{
		ID:         info.GetId(),
		ExpiresAt:  info.ExpiresAt,
		AutoPrefix: info.GetAutoPrefixStreams(),
		Scope:      info.GetScope(),
	}
}

func bucketInfo(b catalog.Bucket) *samsav1.BucketInfo {
	info := &samsav1.BucketInfo{
		Name:      b.Name,
		State:     samsav1.BucketState_BUCKET_STATE_ACTIVE,
		CreatedAt: millis(b.CreatedAt),
	}
	if b.State == catalog.StateDeleting {
		info.State = samsav1.BucketState_BUCKET_STATE_DELETING
		info.DeletedAt = new(millis(b.DeletedAt))
	}
	return info
}

func tokenInfo(t catalog.AccessToken) *samsav1.AccessTokenInfo {
	info := &samsav1.AccessTokenInfo{Id: t.ID, AutoPrefixStreams: t.AutoPrefix, Scope: t.Scope}
	if !t.ExpiresAt.IsZero() {
		info.ExpiresAt = new(uint64(t.ExpiresAt.Unix()))
	}
	return info
}

func millis(t time.Time) uint64 { return uint64(t.UnixMilli()) }
