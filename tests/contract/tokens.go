package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

func readScope() *samsav1.AccessTokenScope {
	everything := &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: ""}}
	return &samsav1.AccessTokenScope{
		Buckets: everything, Streams: &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: "s"}},
		Ops: []samsav1.Operation{samsav1.Operation_OPERATION_READ, samsav1.Operation_OPERATION_CHECK_TAIL},
	}
}

// TestTokens_SecretIsShownOnceAndTheRestListed.
func (s *Suite) TestTokens_SecretIsShownOnceAndTheRestListed(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		info := &samsav1.AccessTokenInfo{
			Id: s.unique(), ExpiresAt: new(uint64(time.Now().Add(time.Hour).Unix())), AutoPrefixStreams: true,
			Scope: &samsav1.AccessTokenScope{
				Buckets: &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: "my-bucket"}},
				Streams: &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: "tenant/"}},
				Ops:     []samsav1.Operation{samsav1.Operation_OPERATION_APPEND, samsav1.Operation_OPERATION_TRIM},
			},
		}
		issued, err := d.IssueAccessToken(call(t), &samsav1.IssueAccessTokenRequest{Info: info})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(issued.GetAccessToken()), 43, "256 random bits")
		list, err := d.ListAccessTokens(call(t), &samsav1.ListAccessTokensRequest{Prefix: info.GetId()})
		require.NoError(t, err)
		require.Len(t, list.GetAccessTokens(), 1)
		requireSame(t, info, list.GetAccessTokens()[0])
		require.NotContains(t, list.String(), issued.GetAccessToken())

		_, err = d.IssueAccessToken(call(t), &samsav1.IssueAccessTokenRequest{Info: info})
		requireFailure(t, exists, err)
		revoked, err := d.RevokeAccessToken(call(t), &samsav1.RevokeAccessTokenRequest{Id: info.GetId()})
		require.NoError(t, err)
		requireSame(t, info, revoked.GetInfo())
		_, err = d.RevokeAccessToken(call(t), &samsav1.RevokeAccessTokenRequest{Id: info.GetId()})
		requireFailure(t, notFound, err)
		again, err := d.IssueAccessToken(call(t), &samsav1.IssueAccessTokenRequest{Info: info})
		require.NoError(t, err)
		require.NotEqual(t, issued.GetAccessToken(), again.GetAccessToken())
	})
}

// TestTokens_BadOnesAreNotIssued.
func (s *Suite) TestTokens_BadOnesAreNotIssued(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		id := s.unique()
		issue := func(info *samsav1.AccessTokenInfo) error {
			info.Id = id
			_, err := d.IssueAccessToken(call(t), &samsav1.IssueAccessTokenRequest{Info: info})
			return err
		}
		requireFailure(t, badTimestamp, issue(&samsav1.AccessTokenInfo{ExpiresAt: new(uint64(1)), Scope: readScope()}))
		unknown := readScope()
		unknown.Ops = append(unknown.Ops, 99)
		requireFailure(t, invalid, issue(&samsav1.AccessTokenInfo{Scope: unknown}))
		unspecified := readScope()
		unspecified.Ops = append(unspecified.Ops, samsav1.Operation_OPERATION_UNSPECIFIED)
		requireFailure(t, invalid, issue(&samsav1.AccessTokenInfo{Scope: unspecified}))
		list, err := d.ListAccessTokens(call(t), &samsav1.ListAccessTokensRequest{Prefix: id})
		require.NoError(t, err)
		require.Empty(t, list.GetAccessTokens())
	})
}

// TestTokens_RevokingAMalformedIDIsRefused.
func (s *Suite) TestTokens_RevokingAMalformedIDIsRefused(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		_, err := d.RevokeAccessToken(call(t), &samsav1.RevokeAccessTokenRequest{Id: strings.Repeat("x", 97)})
		requireFailure(t, invalid, err)
	})
}
