package auth

import (
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// mayIssue refuses a token that has more than its issuer. It sees the request as
// the issuer wrote it: stream names come without the issuer's prefix.
func (t *Token) mayIssue(info *samsav1.AccessTokenInfo) error {
	scope := info.GetScope()
	streams := namesOf(scope.GetStreams())
	if t.Prefix != "" && streams.kind != noNames {
		streams.text = t.Prefix + streams.text
	}
	switch {
	case !operationsOf(scope.GetOps()).within(t.ops):
		return escalates("info.scope.ops", "operations")
	case !namesOf(scope.GetBuckets()).within(t.buckets):
		return escalates("info.scope.buckets", "buckets")
	case !streams.within(t.streams):
		return escalates("info.scope.streams", "streams")
	case !namesOf(scope.GetAccessTokens()).within(t.accessTokens):
		return escalates("info.scope.access_tokens", "access tokens")
	case t.outlived(info):
		return escalates("info.expires_at", "time")
	case t.autoPrefix && streams.kind != noNames && (!info.GetAutoPrefixStreams() || streams.kind != allWithPrefix):
		// Without it the new token's holder would have to know the prefix.
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED,
			"a token with auto_prefix_streams issues tokens with auto_prefix_streams and a prefix in scope.streams alone").In("info.auto_prefix_streams")
	}
	return nil
}

// outlived tells whether the new token would be valid longer than its issuer.
func (t *Token) outlived(info *samsav1.AccessTokenInfo) bool {
	if t.ExpiresAt.IsZero() || info == nil {
		return false
	}
	const beyond = 1 << 40 // seconds; any number there is refused anyway
	return info.ExpiresAt == nil || info.GetExpiresAt() > beyond || time.Unix(int64(info.GetExpiresAt()), 0).After(t.ExpiresAt)
}

func escalates(field, what string) error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED,
		"the new token would have more %s than the one that issues it: ask for less", what).In(field)
}
