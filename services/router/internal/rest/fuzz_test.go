package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/services/router/internal/rest"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

// FuzzHandler sends any request to the HTTP port: REST, server-sent events, gRPC. It
// gets an answer, and what is refused a typed one; nothing is an internal error.
func FuzzHandler(f *testing.F) {
	rig := routertest.New(f)
	for _, role := range []string{"account", "bucket", "stream-writer", "stream-reader"} {
		rig.Add(role, &routertest.Service{
			AnyUnary: func(_ context.Context, method string, _ any) (any, error) { return responseOf(method), nil },
			ReadSession: func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
				return ss.Send(record(7, "x"))
			},
		})
	}
	handler := rig.HTTP(rest.Config{
		MaxBodyBytes: 1 << 20, MaxURLBytes: 4096, MaxHeaderBytes: 8192,
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
	}).Handler
	f.Add("GET", "/api/v1/buckets?prefix=a&limit=3", "", "", []byte(nil))
	f.Add("POST", streamPath+"/records?text=true", "Content-Type", "application/json", []byte(`{"records":[{"body":"x","headers":[{"name":"a","value":"b"}]}]}`))
	f.Add("PATCH", "/api/v1/buckets/logs/config", "", "", []byte(`{"config":{"create_stream_on_append":true},"mask":"create_stream_on_append"}`))
	f.Add("GET", streamPath+"/session?seq_num=1&limit.count=2", "Accept", "text/event-stream", []byte(nil))
	f.Add("GET", streamPath+"/session", "Last-Event-ID", "12", []byte(nil))
	f.Add("POST", "/samsa.v1.StreamService/Append", "Content-Type", "application/grpc", []byte{0, 0, 0, 0, 2, 0x0a, 0x7f})
	f.Fuzz(func(t *testing.T, method, target, header, value string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") || method == "" || strings.ContainsAny(method, " \r\n\t") {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", bytes.NewReader(body))
		r.Method, r.URL, r.RequestURI = method, u, target
		if header != "" {
			r.Header.Set(header, value)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r.WithContext(ctx))
		if answer.Code < 400 || !strings.HasPrefix(u.Path, "/api/v1/") {
			return
		}
		require.NotEqual(t, http.StatusInternalServerError, answer.Code, answer.Body)
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") || method == http.MethodHead {
			return
		}
		var detail struct{ Code, Message string }
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &detail), answer.Body)
		require.NotEmpty(t, detail.Code)
	})
}

// responseOf is an empty response of a method.
func responseOf(method string) any {
	switch method {
	case samsav1.StreamService_Append_FullMethodName:
		return &samsav1.AppendResponse{}
	case samsav1.StreamService_CheckTail_FullMethodName:
		return &samsav1.CheckTailResponse{}
	case samsav1.StreamService_Read_FullMethodName:
		return &samsav1.ReadResponse{}
	case samsav1.BucketService_ListStreams_FullMethodName:
		return &samsav1.ListStreamsResponse{}
	case samsav1.BucketService_CreateStream_FullMethodName:
		return &samsav1.CreateStreamResponse{}
	case samsav1.BucketService_DeleteStream_FullMethodName:
		return &samsav1.DeleteStreamResponse{}
	case samsav1.BucketService_GetStreamConfig_FullMethodName:
		return &samsav1.GetStreamConfigResponse{}
	case samsav1.BucketService_ReconfigureStream_FullMethodName:
		return &samsav1.ReconfigureStreamResponse{}
	case samsav1.AccountService_ListBuckets_FullMethodName:
		return &samsav1.ListBucketsResponse{}
	case samsav1.AccountService_CreateBucket_FullMethodName:
		return &samsav1.CreateBucketResponse{}
	case samsav1.AccountService_DeleteBucket_FullMethodName:
		return &samsav1.DeleteBucketResponse{}
	case samsav1.AccountService_ReconfigureBucket_FullMethodName:
		return &samsav1.ReconfigureBucketResponse{}
	case samsav1.AccountService_GetBucketConfig_FullMethodName:
		return &samsav1.GetBucketConfigResponse{}
	case samsav1.AccountService_IssueAccessToken_FullMethodName:
		return &samsav1.IssueAccessTokenResponse{}
	case samsav1.AccountService_RevokeAccessToken_FullMethodName:
		return &samsav1.RevokeAccessTokenResponse{}
	}
	return &samsav1.ListAccessTokensResponse{}
}
