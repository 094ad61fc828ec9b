package auth

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// holder makes calls under a token with auto_prefix_streams.
func holder(t *testing.T, hidden string) func(method string, request any) (*call, error) {
	methods, err := newTable(services(), rules())
	require.NoError(t, err)
	token := newToken(catalog.AccessToken{AutoPrefix: true, Scope: &samsav1.AccessTokenScope{
		Buckets: prefix(""), Streams: prefix(hidden), AccessTokens: prefix(""), Ops: allOperations(),
	}})
	return func(method string, request any) (*call, error) {
		c := newCall(t.Context(), methods[method], token)
		return c, c.take(request)
	}
}

func allOperations() (ops []samsav1.Operation) {
	for number := range samsav1.Operation_name {
		ops = append(ops, samsav1.Operation(number))
	}
	return ops
}

// The services clip what they show of such names, so these never get there.
func TestTake_RefusesNamesThatThePrefixMakesWrong(t *testing.T) {
	hidden := strings.Repeat("tenant/", 30)
	take := holder(t, hidden)
	fits, long, nul := strings.Repeat("x", 512-len(hidden)), strings.Repeat("x", 513-len(hidden)), "x\x00"
	issue := func(name string) *samsav1.IssueAccessTokenRequest {
		return &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{
			Id: "child", AutoPrefixStreams: true, Scope: &samsav1.AccessTokenScope{Streams: prefix(name)}}}
	}
	list := samsav1.BucketService_ListStreams_FullMethodName
	for _, x := range []struct {
		method  string
		request any
		field   string // "": it is let in
	}{
		{samsav1.StreamService_Append_FullMethodName, &samsav1.AppendRequest{Stream: fits}, ""},
		{samsav1.StreamService_Append_FullMethodName, &samsav1.AppendRequest{Stream: long}, "stream"},
		{samsav1.StreamService_AppendSession_FullMethodName, &samsav1.AppendSessionRequest{Stream: nul}, "stream"},
		{samsav1.StreamService_Read_FullMethodName, &samsav1.ReadRequest{Stream: strings.Repeat("y", 513)}, "stream"},
		{samsav1.BucketService_CreateStream_FullMethodName, &samsav1.CreateStreamRequest{Stream: long}, "stream"},
		{list, &samsav1.ListStreamsRequest{Prefix: long, StartAfter: long}, ""},
		{list, &samsav1.ListStreamsRequest{Prefix: nul}, "prefix"},
		{list, &samsav1.ListStreamsRequest{StartAfter: nul}, "start_after"},
		{samsav1.AccountService_IssueAccessToken_FullMethodName, issue(fits), ""},
		{samsav1.AccountService_IssueAccessToken_FullMethodName, issue("."), ""},
		{samsav1.AccountService_IssueAccessToken_FullMethodName, issue(long), "info.scope.streams"},
		{samsav1.AccountService_IssueAccessToken_FullMethodName, issue(nul), "info.scope.streams"},
	} {
		_, err := take(x.method, x.request)
		if x.field == "" {
			require.NoError(t, err, x.method)
			continue
		}
		detail := rpc.Detail(err)
		require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, detail.GetCode(), "%s: %v", x.method, err)
		require.Equal(t, x.field, detail.GetField())
		require.NotContains(t, err.Error(), "tenant")
	}
}

func TestStripText_TakesThePrefixFromQuotedNames(t *testing.T) {
	for _, hidden := range []string{`tenant/`, `"tenant"`, `tenant\`} {
		c, err := holder(t, hidden)(samsav1.StreamService_Append_FullMethodName, &samsav1.AppendRequest{Bucket: "logs", Stream: "a"})
		require.NoError(t, err)
		failed := rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "stream %q, or %s, or logs/%s", hidden+"a", hidden+"a", hidden+"b")
		require.ErrorContains(t, c.stripError(failed), `stream "a", or a, or logs/b`, hidden)
	}
}
