package server_test

import (
	"strings"
	"testing"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func exact(name string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: name}}
}

func prefix(name string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: name}}
}

func (s *service) issue(t *testing.T, info *samsav1.AccessTokenInfo) (string, error) {
	t.Helper()
	r, err := s.IssueAccessToken(t.Context(), &samsav1.IssueAccessTokenRequest{Info: info})
	return r.GetAccessToken(), err
}

func TestAccessToken_IsIssuedListedAndRevoked(t *testing.T) {
	s := start(t, minimum)
	info := &samsav1.AccessTokenInfo{
		Id:                "ci",
		ExpiresAt:         new(uint64(now.Add(time.Hour).Unix())),
		AutoPrefixStreams: true,
		Scope: &samsav1.AccessTokenScope{
			Buckets: exact("logs"), Streams: prefix("tenant/"), AccessTokens: prefix(""),
			Ops: []samsav1.Operation{samsav1.Operation_OPERATION_APPEND, samsav1.Operation_OPERATION_FENCE},
		},
	}
	secret, err := s.issue(t, info)
	require.NoError(t, err)
	token, err := s.catalog.VerifyAccessToken(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, "ci", token.ID)
	_, err = s.issue(t, info)
	requireExists(t, err)

	list, err := s.ListAccessTokens(t.Context(), &samsav1.ListAccessTokensRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetAccessTokens(), 1)
	requireEqual(t, info, list.GetAccessTokens()[0])
	require.NotContains(t, list.String(), secret)

	revoked, err := s.RevokeAccessToken(t.Context(), &samsav1.RevokeAccessTokenRequest{Id: "ci"})
	require.NoError(t, err)
	requireEqual(t, info, revoked.GetInfo())
	_, err = s.RevokeAccessToken(t.Context(), &samsav1.RevokeAccessTokenRequest{Id: "ci"})
	requireNotFound(t, err)
	_, err = s.catalog.VerifyAccessToken(t.Context(), secret)
	require.Error(t, err)
}

func TestIssueAccessToken_ChecksEveryField(t *testing.T) {
	s := start(t, minimum)
	for field, infos := range map[string][]*samsav1.AccessTokenInfo{
		"info.id": {nil, {Id: ""}, {Id: strings.Repeat("x", 97)}, {Id: "a\x00"}},
		"info.scope.ops": {
			{Id: "a", Scope: &samsav1.AccessTokenScope{Ops: []samsav1.Operation{samsav1.Operation_OPERATION_UNSPECIFIED}}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Ops: []samsav1.Operation{samsav1.Operation_OPERATION_READ, 17}}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Ops: []samsav1.Operation{-1}}},
		},
		"info.scope.buckets": {
			{Id: "a", Scope: &samsav1.AccessTokenScope{Buckets: exact("no")}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Buckets: exact("Logs")}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Buckets: prefix("a.b")}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Buckets: prefix("-")}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Buckets: prefix(strings.Repeat("a", 64))}},
		},
		"info.scope.streams": {
			{Id: "a", Scope: &samsav1.AccessTokenScope{Streams: exact("..")}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Streams: prefix("a\x00")}},
			{Id: "a", Scope: &samsav1.AccessTokenScope{Streams: prefix(strings.Repeat("a", 513))}},
		},
		"info.scope.access_tokens": {
			{Id: "a", Scope: &samsav1.AccessTokenScope{AccessTokens: exact(strings.Repeat("a", 97))}},
		},
		"info.auto_prefix_streams": {
			{Id: "a", AutoPrefixStreams: true},
			{Id: "a", AutoPrefixStreams: true, Scope: &samsav1.AccessTokenScope{Streams: exact("a")}},
		},
	} {
		for _, info := range infos {
			_, err := s.issue(t, info)
			requireInvalid(t, err, field)
		}
	}
	list, err := s.ListAccessTokens(t.Context(), &samsav1.ListAccessTokensRequest{})
	require.NoError(t, err)
	require.Empty(t, list.GetAccessTokens())
}

func TestIssueAccessToken_TakesWhatNamesCanBeginWith(t *testing.T) {
	s := start(t, minimum)
	_, err := s.issue(t, &samsav1.AccessTokenInfo{Id: strings.Repeat("x", 96), AutoPrefixStreams: true, Scope: &samsav1.AccessTokenScope{
		Buckets: prefix("a-"), Streams: prefix("."), AccessTokens: exact(""),
	}})
	require.NoError(t, err)
}

func TestIssueAccessToken_RefusesTimesThatArePastOrAbsurd(t *testing.T) {
	s := start(t, minimum)
	for _, at := range []uint64{0, 1, uint64(now.Unix()), 253402300800, 1 << 63} {
		_, err := s.issue(t, &samsav1.AccessTokenInfo{Id: "a", ExpiresAt: &at})
		detail := requireError(t, err, codes.InvalidArgument, samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP)
		require.Equal(t, "info.expires_at", detail.GetField())
	}
	_, err := s.issue(t, &samsav1.AccessTokenInfo{Id: "a", ExpiresAt: new(uint64(253402300799))})
	require.NoError(t, err)
}

func TestListAccessTokens_FollowsTheRulesOfLists(t *testing.T) {
	s := start(t, minimum)
	for _, id := range []string{"b", "a/2", "a/1"} {
		_, err := s.issue(t, &samsav1.AccessTokenInfo{Id: id})
		require.NoError(t, err)
	}
	r, err := s.ListAccessTokens(t.Context(), &samsav1.ListAccessTokensRequest{Prefix: "a/", StartAfter: "a/0", Limit: new(uint64(1))})
	require.NoError(t, err)
	require.True(t, r.GetHasMore())
	require.Equal(t, "a/1", r.GetAccessTokens()[0].GetId())
	_, err = s.ListAccessTokens(t.Context(), &samsav1.ListAccessTokensRequest{StartAfter: "\x00"})
	requireInvalid(t, err, "start_after")
}
