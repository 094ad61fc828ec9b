package rest_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/rest"
	"github.com/samsa-io/samsa/services/router/internal/routertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a router that listens, whose services answer what the test sets.
type site struct {
	*routertest.Rig
	t       *testing.T
	address string
	answer  func(ctx context.Context, method string, request any) (any, error)
	session func(*samsav1.ReadSessionRequest, samsav1.StreamService_ReadSessionServer) error
}

func newSite(t *testing.T) *site { return newSiteWith(t, func(*rest.Config) {}) }

func newSiteWith(t *testing.T, change func(*rest.Config)) *site {
	s := &site{Rig: routertest.New(t), t: t}
	for _, role := range []string{"account", "bucket", "stream-writer", "stream-reader"} {
		s.Add(role, &routertest.Service{
			AnyUnary: func(ctx context.Context, method string, request any) (any, error) {
				return s.answer(ctx, method, request)
			},
			ReadSession: func(r *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
				return s.session(r, ss)
			},
		})
	}
	config := rest.Config{MaxBodyBytes: 1 << 20, MaxURLBytes: 4096, MaxHeaderBytes: 8192, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	change(&config)
	server := s.HTTP(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return s
}

// response is an HTTP response that has been read.
type response struct {
	code   int
	header http.Header
	body   string
}

// detail is the ErrorDetail in a response.
func (r response) detail(t *testing.T) (d struct {
	Code, Message, Field string
	RequestID            string `json:"request_id"`
	Metadata             map[string]string
}) {
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
	require.NoError(t, json.Unmarshal([]byte(r.body), &d), r.body)
	require.NotEmpty(t, d.RequestID)
	require.Equal(t, d.RequestID, r.header.Get("X-Request-Id"))
	return d
}

// do sends a request line as it is: clients clean paths.
func (s *site) do(method, target, body string, headers ...string) response {
	conn, err := net.Dial("tcp", s.address)
	require.NoError(s.t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n", method, target, len(body))
	require.NoError(s.t, err)
	for _, header := range headers {
		_, err = fmt.Fprintf(conn, "%s\r\n", header)
		require.NoError(s.t, err)
	}
	_, err = fmt.Fprintf(conn, "\r\n%s", body)
	require.NoError(s.t, err)
	got, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(s.t, err)
	defer func() { _ = got.Body.Close() }()
	read, err := io.ReadAll(got.Body)
	require.NoError(s.t, err)
	return response{got.StatusCode, got.Header, string(read)}
}

const streamPath = "/api/v1/buckets/logs/streams/a"

func TestStreamNames_SurvivePercentEncoding(t *testing.T) {
	s := newSite(t)
	var seen string
	s.answer = func(_ context.Context, _ string, request any) (any, error) {
		seen = request.(*samsav1.CheckTailRequest).GetStream()
		return &samsav1.CheckTailResponse{}, nil
	}
	for encoded, name := range map[string]string{
		"plain":                  "plain",
		"a%2Fb":                  "a/b",
		"a%2fb%2F":               "a/b/",
		"%2F":                    "/",
		"%2Fa%2F%2Fb":            "/a//b",
		"a%2F..%2Fb":             "a/../b",
		"..%2F..":                "../..",
		"%2E%2E%2Fx":             "../x",
		"...":                    "...",
		"100%25":                 "100%",
		"%252F":                  "%2F",
		"%25252F":                "%252F",
		"a%20b":                  "a b",
		"a+b":                    "a+b",
		"a%2Bb":                  "a+b",
		"%E6%B5%81%2F%C3%A9":     "流/é",
		"流":                      "流",
		"a:b;c=d,e@f!$&'()*":     "a:b;c=d,e@f!$&'()*",
		"%3Fx%3D1%23y":           "?x=1#y",
		"tail":                   "tail",
		"config%2Ftail":          "config/tail",
		"~user":                  "~user",
		"%7E%22%3C%3E%5C%5E%60":  "~\"<>\\^`",
		strings.Repeat("x", 512): strings.Repeat("x", 512),
	} {
		seen = ""
		got := s.do("GET", "/api/v1/buckets/logs/streams/"+encoded+"/tail", "")
		require.Equal(t, 200, got.code, "%s: %s", encoded, got.body)
		require.Equal(t, name, seen, encoded)
	}
}

func TestStreamNames_ThatAreWrongAreRefused(t *testing.T) {
	s := newSite(t)
	for _, encoded := range []string{"%2E%2E", "..", ".", "a%00b", "%FF", "a%C3", strings.Repeat("x", 513)} {
		got := s.do("GET", "/api/v1/buckets/logs/streams/"+encoded+"/tail", "")
		require.Equal(t, 400, got.code, encoded)
		require.Equal(t, "stream", got.detail(t).Field, encoded)
	}
	require.Equal(t, 400, s.do("GET", "/api/v1/buckets/logs/streams/%zz/tail", "").code)
	require.Equal(t, 404, s.do("GET", "/api/v1/buckets/logs/streams//tail", "").code)
	require.Equal(t, 404, s.do("GET", "/api/v1/buckets/logs/streams/a/b/tail", "").code)
}

func TestEveryPath_ReachesItsMethod(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		method, target, body string
		rpc                  string
		request              proto.Message
	}{
		{"GET", "/api/v1/buckets?prefix=a&limit=3", "", "AccountService/ListBuckets", &samsav1.ListBucketsRequest{Prefix: "a", Limit: proto.Uint64(3)}},
		{"POST", "/api/v1/buckets", `{"bucket":"logs","config":{"create_stream_on_append":true}}`, "AccountService/CreateBucket", &samsav1.CreateBucketRequest{Bucket: "logs", Config: &samsav1.BucketConfig{CreateStreamOnAppend: proto.Bool(true)}}},
		{"DELETE", "/api/v1/buckets/logs", "", "AccountService/DeleteBucket", &samsav1.DeleteBucketRequest{Bucket: "logs"}},
		{"GET", "/api/v1/buckets/logs/config", "", "AccountService/GetBucketConfig", &samsav1.GetBucketConfigRequest{Bucket: "logs"}},
		{"PATCH", "/api/v1/buckets/logs/config", `{"config":{"create_stream_on_read":false}}`, "AccountService/ReconfigureBucket", &samsav1.ReconfigureBucketRequest{Bucket: "logs", Config: &samsav1.BucketConfig{CreateStreamOnRead: proto.Bool(false)}}},
		{"PATCH", "/api/v1/buckets/logs", `{}`, "AccountService/ReconfigureBucket", &samsav1.ReconfigureBucketRequest{Bucket: "logs"}},
		{"POST", "/api/v1/access-tokens", `{"id":"t","auto_prefix_streams":true}`, "AccountService/IssueAccessToken", &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{Id: "t", AutoPrefixStreams: true}}},
		{"GET", "/api/v1/access-tokens", "", "AccountService/ListAccessTokens", &samsav1.ListAccessTokensRequest{}},
		{"DELETE", "/api/v1/access-tokens/a%2Fb", "", "AccountService/RevokeAccessToken", &samsav1.RevokeAccessTokenRequest{Id: "a/b"}},
		{"GET", "/api/v1/buckets/logs/streams?start_after=a%2Bb+c", "", "BucketService/ListStreams", &samsav1.ListStreamsRequest{Bucket: "logs", StartAfter: "a+b c"}},
		{"POST", "/api/v1/buckets/logs/streams", `{"stream":"a"}`, "BucketService/CreateStream", &samsav1.CreateStreamRequest{Bucket: "logs", Stream: "a"}},
		{"DELETE", streamPath, "", "BucketService/DeleteStream", &samsav1.DeleteStreamRequest{Bucket: "logs", Stream: "a"}},
		{"GET", streamPath + "/config", "", "BucketService/GetStreamConfig", &samsav1.GetStreamConfigRequest{Bucket: "logs", Stream: "a"}},
		{"PATCH", streamPath + "/config", `{"config":{"retention_age_seconds":"7"}}`, "BucketService/ReconfigureStream", &samsav1.ReconfigureStreamRequest{Bucket: "logs", Stream: "a", Config: &samsav1.StreamConfig{RetentionAgeSeconds: proto.Uint64(7)}}},
		{"PATCH", streamPath, `{"stream":"a"}`, "BucketService/ReconfigureStream", &samsav1.ReconfigureStreamRequest{Bucket: "logs", Stream: "a"}},
		{"GET", streamPath + "/tail", "", "StreamService/CheckTail", &samsav1.CheckTailRequest{Bucket: "logs", Stream: "a"}},
		{"POST", streamPath + "/records", `{"records":[{"body":"aGk="}],"match_seq_num":0}`, "StreamService/Append", &samsav1.AppendRequest{Bucket: "logs", Stream: "a", MatchSeqNum: proto.Uint64(0), Records: []*samsav1.AppendRecord{{Body: []byte("hi")}}}},
		{"GET", streamPath + "/records?seq_num=5&limit.count=2&clamp=true", "", "StreamService/Read", &samsav1.ReadRequest{Bucket: "logs", Stream: "a", Start: &samsav1.ReadRequest_SeqNum{SeqNum: 5}, Limit: &samsav1.ReadLimit{Count: proto.Uint64(2)}, Clamp: true}},
	} {
		called := false
		s.answer = func(_ context.Context, method string, request any) (any, error) {
			called = true
			require.Equal(t, "/samsa.v1."+c.rpc, method)
			require.True(t, proto.Equal(c.request, request.(proto.Message)), "%s: %v", c.target, request)
			return nil, status.Error(codes.NotFound, "gone")
		}
		got := s.do(c.method, c.target, c.body)
		require.Equal(t, 404, got.code, "%s %s: %s", c.method, c.target, got.body)
		require.True(t, called, c.target)
	}
}

func TestMask_MayNameFieldsAsTheAPIDoes(t *testing.T) {
	s := newSite(t)
	var paths []string
	s.answer = func(_ context.Context, _ string, request any) (any, error) {
		paths = request.(*samsav1.ReconfigureBucketRequest).GetMask().GetPaths()
		return &samsav1.ReconfigureBucketResponse{}, nil
	}
	got := s.do("PATCH", "/api/v1/buckets/logs", `{"config":{},"mask":"default_stream_config.storage_class,create_stream_on_read"}`)
	require.Equal(t, 200, got.code, got.body)
	require.Equal(t, []string{"default_stream_config.storage_class", "create_stream_on_read"}, paths)
}

func TestBadRequests_AreTypedAndReachNobody(t *testing.T) {
	s := newSite(t)
	s.answer = func(context.Context, string, any) (any, error) {
		require.Fail(t, "the request got through")
		return nil, status.Error(codes.Internal, "")
	}
	records := streamPath + "/records"
	for _, c := range []struct {
		title, method, target, body string
		code                        int
		error, says                 string
	}{
		{"malformed JSON", "POST", records, `{"records":[`, 400, "INVALID_ARGUMENT", "malformed JSON at byte"},
		{"two values", "POST", records, `{} {}`, 400, "INVALID_ARGUMENT", "malformed JSON"},
		{"no object", "POST", records, `[]`, 400, "INVALID_ARGUMENT", "no JSON object"},
		{"unknown field", "POST", records, `{"match_seqnum":1}`, 400, "INVALID_ARGUMENT", "match_seqnum"},
		{"unknown field as text", "POST", records + "?text=true", `{"match_seqnum":1}`, 400, "INVALID_ARGUMENT", "match_seqnum"},
		{"bad base64", "POST", records, `{"records":[{"body":"?"}]}`, 400, "INVALID_ARGUMENT", "body"},
		{"bad number", "POST", records, `{"match_seq_num":-1}`, 400, "INVALID_ARGUMENT", "matchSeqNum: -1"},
		{"bad enum", "PATCH", streamPath, `{"config":{"storage_class":"FAST"}}`, 400, "INVALID_ARGUMENT", "FAST"},
		{"another stream", "POST", records, `{"stream":"b"}`, 400, "INVALID_ARGUMENT", "names stream \"b\""},
		{"unknown parameter", "GET", records + "?seqnum=1", "", 400, "INVALID_ARGUMENT", `"seqnum": want one of`},
		{"parameter of another operation", "POST", records + "?seq_num=1", "", 400, "INVALID_ARGUMENT", "seq_num"},
		{"path parameter in the query", "GET", records + "?stream=b", "", 400, "INVALID_ARGUMENT", "stream"},
		{"bad parameter", "GET", records + "?limit.count=x", "", 400, "INVALID_ARGUMENT", "count"},
		{"two starts", "GET", records + "?seq_num=1&timestamp=2", "", 400, "INVALID_ARGUMENT", "start"},
		{"twice", "GET", records + "?seq_num=1&seq_num=2", "", 400, "INVALID_ARGUMENT", "seq_num"},
		{"bad text", "GET", records + "?text=maybe", "", 400, "INVALID_ARGUMENT", "text"},
		{"not UTF-8", "GET", "/api/v1/buckets?prefix=%FF", "", 400, "INVALID_ARGUMENT", "UTF-8"},
		{"bad escape", "GET", "/api/v1/buckets?prefix=%zz", "", 400, "INVALID_ARGUMENT", "query string"},
		{"both forms", "POST", records + "?text=true", `{"records":[{"body":"a","body_base64":"YQ=="}]}`, 400, "INVALID_ARGUMENT", "both body and body_base64"},
		{"too large", "POST", records, `{"records":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "RESOURCE_EXHAUSTED", "1048576 bytes"},
		{"long URL", "GET", records + "?seq_id=" + strings.Repeat("x", 4096), "", 414, "RESOURCE_EXHAUSTED", "router.max_url_bytes"},
		{"unknown path", "GET", "/api/v1/bucket", "", 404, "NOT_FOUND", "/api/v1/bucket "},
		{"root path", "GET", "/favicon.ico", "", 404, "NOT_FOUND", "favicon"},
		{"trailing slash", "GET", "/api/v1/buckets/", "", 404, "NOT_FOUND", "buckets/"},
		{"wrong method", "PUT", records, "{}", 405, "INVALID_ARGUMENT", "GET, POST"},
	} {
		t.Run(c.title, func(t *testing.T) {
			got := s.do(c.method, c.target, c.body)
			require.Equal(t, c.code, got.code, got.body)
			detail := got.detail(t)
			require.Equal(t, "ERROR_CODE_"+c.error, detail.Code)
			require.Contains(t, detail.Message, c.says)
		})
	}
	large := s.do("GET", records, "", "X-Large: "+strings.Repeat("x", 8192))
	require.Equal(t, 431, large.code)
	require.Equal(t, "8192", large.detail(t).Metadata["limit_bytes"])
	many := s.do("GET", records, "", strings.TrimSuffix(strings.Repeat("X-Many: v\r\n", 250), "\r\n"))
	require.Equal(t, 431, many.code)
	require.Equal(t, "GET, POST", s.do("PUT", records, "{}").header.Get("Allow"))
	require.Equal(t, 415, s.do("POST", records, "x", "Content-Encoding: gzip").code)
}

// post begins a request with a body of so many bytes, of which it sends some.
func (s *site) post(length int, sent string) net.Conn {
	conn, err := net.Dial("tcp", s.address)
	require.NoError(s.t, err)
	_, err = fmt.Fprintf(conn, "POST %s/records HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", streamPath, length, sent)
	require.NoError(s.t, err)
	return conn
}

func TestBody_OfAStrangerIsLeftUnread(t *testing.T) {
	s := newSiteWith(t, func(c *rest.Config) {
		c.ReadTimeout = time.Minute
		c.Authorize = func(ctx context.Context, method string) error {
			require.Equal(t, samsav1.StreamService_Append_FullMethodName, method)
			if metadata.ValueFromIncomingContext(ctx, "authorization")[0] != "Bearer t" {
				return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, "who")
			}
			return nil
		}
	})
	s.answer = func(context.Context, string, any) (any, error) { return &samsav1.AppendResponse{}, nil }
	require.Equal(t, 200, s.do("POST", streamPath+"/records", "{}", "Authorization: Bearer t").code)

	conn, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST %s/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 100\r\n\r\n{", streamPath)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, "it waits for the body")
	require.Equal(t, 401, got.StatusCode)
	require.NoError(t, got.Body.Close())
}

func TestBodies_ThatAreOnlyAnnouncedKeepNobodyOut(t *testing.T) {
	s := newSiteWith(t, func(c *rest.Config) {
		c.Bodies = limit.NewRoom(1<<20, "bytes of bodies", "router.max_inflight_bytes", nil)
		c.ReadTimeout = time.Minute
	})
	arrived, release := make(chan struct{}, 1000), make(chan struct{})
	s.answer = func(context.Context, string, any) (any, error) {
		arrived <- struct{}{}
		<-release
		return &samsav1.AppendResponse{}, nil
	}
	for range 8 {
		conn := s.post(1<<20, "{")
		defer func() { _ = conn.Close() }()
	}
	// What has arrived does count, until its request has ended.
	held := s.post(900_000, strings.Repeat(" ", 900_000-2)+"{}")
	defer func() { _ = held.Close() }()
	<-arrived
	large := strings.Repeat(" ", 200_000) + "{}"
	refused := s.do("POST", streamPath+"/records", large)
	require.Equal(t, 429, refused.code)
	require.Equal(t, "1", refused.header.Get("Retry-After"))
	require.Equal(t, "router.max_inflight_bytes", refused.detail(t).Metadata["limit"])
	close(release)
	got, err := http.ReadResponse(bufio.NewReader(held), nil)
	require.NoError(t, err)
	require.Equal(t, 200, got.StatusCode)
	require.NoError(t, got.Body.Close())
	require.Eventually(t, func() bool { return s.do("POST", streamPath+"/records", "{}").code == 200 }, 30*time.Second, time.Millisecond)
}

func TestErrors_HaveTheFittingStatus(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		err  *rpc.Error
		code int
	}{
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "stale").With("reason", "condition_failed").With("next_seq_num", "9"), 412},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "going").With("reason", "deletion_pending"), 400},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "past the tail").With("next_seq_num", "9").Under(codes.OutOfRange), 416},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS, "there"), 409},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "gone").In("stream"), 404},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_TIMESTAMP, "no"), 400},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "slow down"), 429},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, "who"), 401},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED, "no"), 403},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "later"), 503},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, "later"), 503},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, "perhaps"), 500},
		{rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, "oops"), 500},
	} {
		s.answer = func(context.Context, string, any) (any, error) { return nil, c.err }
		got := s.do("POST", streamPath+"/records", "{}", "X-Request-Id: abc")
		require.Equal(t, c.code, got.code, got.body)
		detail := got.detail(t)
		require.Equal(t, c.err.Code.String(), detail.Code)
		require.Equal(t, c.err.Message, detail.Message)
		require.Equal(t, c.err.Field, detail.Field)
		require.Equal(t, "abc", detail.RequestID)
		for key, value := range c.err.Metadata {
			require.Equal(t, value, detail.Metadata[key])
		}
		if c.code == 503 || c.code == 429 {
			require.Equal(t, "1", got.header.Get("Retry-After"))
		}
	}
}

func TestJSON_HasTheNamesOfTheAPIAndShowsDefaults(t *testing.T) {
	s := newSite(t)
	s.answer = func(context.Context, string, any) (any, error) {
		return &samsav1.ReadResponse{Output: &samsav1.ReadResponse_Batch{Batch: &samsav1.SequencedRecordBatch{
			Records: []*samsav1.SequencedRecord{{SeqId: "i", Timestamp: 1 << 60, Body: []byte{0xff}}},
		}}}, nil
	}
	got := s.do("GET", streamPath+"/records", "")
	require.Equal(t, 200, got.code)
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.Equal(t, `{"batch":{"records":[{"seq_id":"i","timestamp":"1152921504606846976","headers":[],"body":"/w==","seq_num":"0"}]},"next_seq_num":"0"}`+"\n", got.body)

	s.answer = func(context.Context, string, any) (any, error) { return &samsav1.ListBucketsResponse{}, nil }
	require.Equal(t, `{"buckets":[],"has_more":false}`+"\n", s.do("GET", "/api/v1/buckets", "").body)
}

func TestText_CarriesPlainStrings(t *testing.T) {
	s := newSite(t)
	want := &samsav1.AppendRequest{
		Bucket: "logs", Stream: "a", FencingToken: proto.String("f"),
		Records: []*samsav1.AppendRecord{
			{Body: []byte("héllo\n\"流\""), Headers: []*samsav1.Header{{Name: []byte("k"), Value: []byte("v")}, {Value: []byte("fence")}}, Timestamp: proto.Uint64(5)},
			{Body: []byte{0xff, 0}},
			{},
		},
	}
	s.answer = func(_ context.Context, _ string, request any) (any, error) {
		require.True(t, proto.Equal(want, request.(proto.Message)), "%v", request)
		return &samsav1.AppendResponse{EndSeqNum: 3}, nil
	}
	got := s.do("POST", streamPath+"/records?text=true", `{"fencing_token":"f","records":[
		{"body":"héllo\n\"流\"","headers":[{"name":"k","value":"v"},{"name":"","value":"fence"}],"timestamp":5},
		{"body_base64":"`+base64.StdEncoding.EncodeToString([]byte{0xff, 0})+`"}, {}]}`)
	require.Equal(t, 200, got.code, got.body)
	require.Contains(t, got.body, `"end_seq_num":"3"`)

	s.answer = func(context.Context, string, any) (any, error) {
		return &samsav1.ReadResponse{NextSeqNum: 2, Output: &samsav1.ReadResponse_Batch{Batch: &samsav1.SequencedRecordBatch{
			Records: []*samsav1.SequencedRecord{
				{SeqId: "i", Body: []byte("héllo"), Headers: []*samsav1.Header{{Name: []byte("k"), Value: []byte{0xfe}}}},
				{SeqId: "j", SeqNum: 1, Body: []byte{0xff, 0}},
			},
		}}}, nil
	}
	got = s.do("GET", streamPath+"/records?text=true", "")
	require.Equal(t, 200, got.code, got.body)
	require.JSONEq(t, `{"next_seq_num":"2","batch":{"records":[
		{"seq_id":"i","timestamp":"0","seq_num":"0","body":"héllo","headers":[{"name":"k","value_base64":"/g=="}]},
		{"seq_id":"j","timestamp":"0","seq_num":"1","body_base64":"/wA=","headers":[]}]}}`, got.body)
}

func TestHeaders_PassToTheCall(t *testing.T) {
	s := newSite(t)
	var seen metadata.MD
	s.answer = func(ctx context.Context, _ string, _ any) (any, error) {
		seen, _ = metadata.FromIncomingContext(ctx)
		return &samsav1.ListBucketsResponse{}, nil
	}
	s.do("GET", "/api/v1/buckets", "", "Authorization: Bearer t", "Traceparent: 00-1", "X-Request-Id: abc", "Bucket: x", "Grpc-Metadata-Bucket: x")
	require.Equal(t, []string{"Bearer t"}, seen.Get("authorization"))
	require.Equal(t, []string{"00-1"}, seen.Get("traceparent"))
	require.Equal(t, []string{"abc"}, seen.Get("x-request-id"))
	require.Empty(t, seen.Get("bucket"))
}

func record(seq uint64, body string) *samsav1.ReadSessionResponse {
	return &samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_Batch{Batch: &samsav1.SequencedRecordBatch{
		Records: []*samsav1.SequencedRecord{{SeqId: "i", SeqNum: seq, Body: []byte(body)}},
	}}}}
}

func caughtUp(next uint64) *samsav1.ReadSessionResponse {
	return &samsav1.ReadSessionResponse{Tail: &samsav1.Tail{NextSeqId: "n", NextSeqNum: next}}
}

// script is a session that sends the responses and ends with err.
func script(err error, responses ...*samsav1.ReadSessionResponse) func(*samsav1.ReadSessionRequest, samsav1.StreamService_ReadSessionServer) error {
	return func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		for _, response := range responses {
			if err := ss.Send(response); err != nil {
				return err
			}
		}
		return err
	}
}

func TestSession_IsOneObjectALine(t *testing.T) {
	s := newSite(t)
	s.session = script(rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "deleted"), record(0, "x"), &samsav1.ReadSessionResponse{}, caughtUp(1))

	got := s.do("GET", streamPath+"/session?text=true", "")
	require.Equal(t, 200, got.code)
	require.Equal(t, "application/x-ndjson", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	lines := strings.SplitAfter(got.body, "\n")
	require.Len(t, lines, 5, got.body)
	require.Equal(t, `{"output":{"batch":{"records":[{"seq_id":"i","timestamp":"0","headers":[],"body":"x","seq_num":"0"}]}}}`+"\n", lines[0])
	require.Equal(t, "{}\n", lines[1])
	require.Equal(t, `{"tail":{"next_seq_id":"n","next_seq_num":"1","last_timestamp":"0"}}`+"\n", lines[2])
	require.Contains(t, lines[3], `{"error":{"code":"ERROR_CODE_NOT_FOUND","message":"deleted"`)
}

func TestSession_ThatFailsAtTheStartHasAStatus(t *testing.T) {
	s := newSite(t)
	for _, accept := range []string{"application/json", "text/event-stream"} {
		s.session = script(rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "past").With("next_seq_num", "4").Under(codes.OutOfRange))
		got := s.do("GET", streamPath+"/session", "", "Accept: "+accept)
		require.Equal(t, 416, got.code)
		require.Equal(t, "4", got.detail(t).Metadata["next_seq_num"])
	}
}

func TestSession_SendsEventsWithTheNextPosition(t *testing.T) {
	s := newSite(t)
	var seen *samsav1.ReadSessionRequest
	play := script(nil, record(7, "x"), &samsav1.ReadSessionResponse{}, caughtUp(8))
	s.session = func(r *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		seen = r
		return play(r, ss)
	}
	got := s.do("GET", streamPath+"/session?seq_num=2&text=true", "", "Accept: text/html;q=0.5, text/event-stream", "Last-Event-ID: 7")
	require.Equal(t, 200, got.code)
	require.Equal(t, "text/event-stream", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.Equal(t, uint64(7), seen.GetSeqNum(), "Last-Event-ID was not taken")
	require.True(t, seen.GetHeartbeats())
	events := strings.Split(got.body, "\n\n")
	require.Len(t, events, 5, got.body)
	require.True(t, strings.HasPrefix(events[0], "id: 8\ndata: {\"output\":"), events[0])
	require.Contains(t, events[0], `"body":"x"`)
	require.Equal(t, ": heartbeat", events[1])
	require.True(t, strings.HasPrefix(events[2], "id: 8\ndata: {\"tail\":"), events[2])
	require.Equal(t, "event: end\ndata: {}", events[3])

	play = script(routertest.NotOwner(nil), record(7, "x"))
	got = s.do("GET", streamPath+"/session?heartbeats=false", "", "Accept: text/event-stream")
	require.False(t, seen.GetHeartbeats())
	require.Contains(t, got.body, "event: error\ndata: {\"code\":\"ERROR_CODE_SERVICE_UNAVAILABLE\"")

	got = s.do("GET", streamPath+"/session", "", "Accept: text/event-stream", "Last-Event-ID: x")
	require.Equal(t, 400, got.code)
}

func TestSession_FlushesAndEndsWithItsClient(t *testing.T) {
	s := newSite(t)
	next, ended := make(chan struct{}), make(chan struct{})
	s.session = func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		defer close(ended)
		for i := range uint64(2) {
			if err := ss.Send(record(i, "x")); err != nil {
				return err
			}
			<-next
		}
		<-ss.Context().Done()
		return ss.Context().Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.address+streamPath+"/session", nil)
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	got, err := transport.RoundTrip(request)
	require.NoError(t, err)
	lines := bufio.NewScanner(got.Body)
	for range 2 { // each line arrives while the session waits
		require.True(t, lines.Scan())
		next <- struct{}{}
	}
	cancel()
	<-ended
	require.NoError(t, got.Body.Close())
}

func TestSession_EndsWhenItsClientStalls(t *testing.T) {
	s := newSiteWith(t, func(c *rest.Config) { c.WriteTimeout = 50 * time.Millisecond })
	ended := make(chan struct{})
	s.session = func(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
		defer close(ended)
		large := strings.Repeat("x", 1<<20)
		for i := uint64(0); ; i++ {
			if err := ss.Send(record(i, large)); err != nil {
				return err
			}
		}
	}
	conn, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "GET %s/session HTTP/1.1\r\nHost: x\r\n\r\n", streamPath)
	require.NoError(t, err)
	<-ended
	require.NoError(t, conn.Close())
}

func TestPlaces_ThatAreNotTheAPI(t *testing.T) {
	s := newSite(t)
	got := s.do("GET", "/api/v1/openapi.json", "")
	require.Equal(t, 200, got.code)
	var document struct {
		Swagger string
		Paths   map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &document))
	require.Equal(t, "2.0", document.Swagger)
	require.Contains(t, document.Paths, "/api/v1/buckets/{bucket}/streams/{stream}/session")
	require.NotContains(t, got.body, "rpcStatus")
	require.NotContains(t, got.body, "WriterService")
	require.Equal(t, 405, s.do("POST", "/api/v1/openapi.json", "").code)

	require.Contains(t, s.do("GET", "/", "").body, "/api/v1/openapi.json")
	require.Equal(t, 200, s.do("GET", "/healthz", "").code)
	require.Equal(t, 200, s.do("GET", "/readyz", "").code)
	s.Health.Component("postgres").Down("dial tcp 10.0.0.1:5432")
	got = s.do("GET", "/readyz", "")
	require.Equal(t, 503, got.code)
	require.JSONEq(t, `{"status":"down","components":[{"name":"postgres","status":"down"}]}`, got.body)
	require.Equal(t, 404, s.do("GET", "/metrics", "").code)
}
