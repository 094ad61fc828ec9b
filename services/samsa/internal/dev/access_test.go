package dev

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/samsa-io/samsa/gen/openapi"
	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestAccess(t *testing.T) {
	s := startSite(t)
	for name, test := range map[string]func(*testing.T, *site){
		"every route and kind of token":          everyRoute,
		"tenants cannot see each other":          tenants,
		"automatic prefix":                       automaticPrefix,
		"lists show what the scope covers":       lists,
		"commands need operations of their own":  commands,
		"revocation ends sessions":               revocation,
		"expiry ends sessions":                   expiry,
		"a token issues no more than it has":     escalation,
		"the metadata's bucket is checked":       metadataBucket,
		"services between them refuse strangers": strangers,
		"operators have the root token":          operators,
		"control operations are audited":         audit,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
	t.Run("no secret was logged", func(t *testing.T) {
		log := s.log.String()
		require.NotEmpty(t, log)
		for _, secret := range append(s.secrets, root) {
			require.NotContains(t, log, secret)
			require.NotContains(t, log, secret[len(secret)-20:])
		}
	})
}

// names are those that a call is about.
type names struct{ bucket, stream, token string }

// methods are all of the API, from the descriptors.
func methods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		samsav1.File_samsa_v1_account_proto, samsav1.File_samsa_v1_bucket_proto, samsav1.File_samsa_v1_stream_proto,
	} {
		for i := range file.Services().Len() {
			for j := range file.Services().Get(i).Methods().Len() {
				all = append(all, file.Services().Get(i).Methods().Get(j))
			}
		}
	}
	return all
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	require.NoError(t, err)
	return found.New().Interface()
}

// request fills in the names that a method's request has.
func request(t *testing.T, m protoreflect.MethodDescriptor, n names) proto.Message {
	r := newMessage(t, m.Input())
	for field, value := range map[protoreflect.Name]string{"bucket": n.bucket, "stream": n.stream, "id": n.token} {
		if f := m.Input().Fields().ByName(field); f != nil {
			r.ProtoReflect().Set(f, protoreflect.ValueOfString(value))
		}
	}
	switch r := r.(type) {
	case *samsav1.IssueAccessTokenRequest:
		r.Info = &samsav1.AccessTokenInfo{Id: n.token}
	case *samsav1.AppendRequest:
		r.Records = records("x")
	case *samsav1.AppendSessionRequest:
		r.Records = records("x")
	case *samsav1.ReadSessionRequest:
		r.Limit = &samsav1.ReadLimit{Count: new(uint64(0))}
	case *samsav1.ReconfigureBucketRequest:
		r.Config = creating()
	case *samsav1.ReconfigureStreamRequest:
		r.Config = &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(9))}
	}
	return r
}

// needs tells which names a method's request has.
func needs(m protoreflect.MethodDescriptor) (bucket, stream, token bool) {
	f := m.Input().Fields()
	return f.ByName("bucket") != nil, f.ByName("stream") != nil, f.ByName("id") != nil || f.ByName("info") != nil
}

func operationOf(t *testing.T, m protoreflect.MethodDescriptor) samsav1.Operation {
	name := string(m.Name())
	switch name {
	case "AppendSession":
		name = "Append"
	case "ReadSession":
		name = "Read"
	}
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	op, ok := samsav1.Operation_value["OPERATION_"+strings.ToUpper(b.String())]
	require.True(t, ok, name)
	return samsav1.Operation(op)
}

// prepare makes what a method needs to succeed.
func (s *site) prepare(t *testing.T, m protoreflect.MethodDescriptor) names {
	n := names{bucket: s.unique("right"), stream: s.unique("right/s"), token: s.unique("right")}
	ctx := as(t.Context(), root)
	if m.Name() != "CreateBucket" {
		_, err := s.account().CreateBucket(ctx, &samsav1.CreateBucketRequest{Bucket: n.bucket, Config: creating()})
		require.NoError(t, err)
	}
	if _, stream, _ := needs(m); stream && m.Name() != "CreateStream" {
		_, err := s.buckets().CreateStream(ctx, &samsav1.CreateStreamRequest{Bucket: n.bucket, Stream: n.stream})
		require.NoError(t, err)
	}
	if m.Name() == "RevokeAccessToken" {
		s.issue(t, catalog.AccessToken{ID: n.token})
	}
	return n
}

// attempt is a kind of token, and what calls with it come to.
type attempt struct {
	kind   string
	secret string
	want   outcome
}

func (s *site) attempts(t *testing.T, m protoreflect.MethodDescriptor) []attempt {
	all, op := prefix("right"), operationOf(t, m)
	ops := []samsav1.Operation{op}
	whole := scope(all, prefix("right/"), all, ops)
	revokedID := s.unique("revoked")
	revoked := s.issue(t, catalog.AccessToken{ID: revokedID, Scope: whole})
	_, err := s.catalog.RevokeAccessToken(t.Context(), revokedID)
	require.NoError(t, err)
	right := s.token(t, whole)
	attempts := []attempt{
		{"none", "", unknown},
		{"malformed", "samsa.bad.token", unknown},
		{"cut", right[:len(right)-1], unknown},
		{"revoked", revoked, unknown},
		{"expired", s.issue(t, catalog.AccessToken{ExpiresAt: time.Now().Add(-time.Hour), Scope: whole}), expired},
		{"wrong operation", s.token(t, scope(prefix(""), prefix(""), prefix(""), operations(op))), forbidden},
		{"no scope", s.token(t, nil), forbidden},
	}
	bucket, stream, token := needs(m)
	if bucket {
		attempts = append(attempts,
			attempt{"wrong bucket", s.token(t, scope(exact("wrong"), prefix(""), prefix(""), ops)), forbidden},
			attempt{"wrong bucket prefix", s.token(t, scope(prefix("rightly"), prefix(""), prefix(""), ops)), forbidden},
			attempt{"no buckets", s.token(t, scope(nil, prefix(""), prefix(""), ops)), forbidden})
	}
	if stream {
		attempts = append(attempts,
			attempt{"wrong stream", s.token(t, scope(all, exact("right"), prefix(""), ops)), forbidden},
			attempt{"wrong stream prefix", s.token(t, scope(all, prefix("wrong"), prefix(""), ops)), forbidden})
	}
	if token {
		attempts = append(attempts,
			attempt{"wrong token id", s.token(t, scope(all, prefix(""), exact("right"), ops)), forbidden})
	}
	return append(attempts, attempt{"right", right, fine}) // last, for it has effects
}

func everyRoute(t *testing.T, s *site) {
	routes := restRoutes(t)
	for _, m := range methods() {
		attempts := s.attempts(t, m)
		for _, door := range []struct {
			name string
			conn *grpc.ClientConn
		}{{"router", s.conn}, {"service", s.behind(t, m)}} {
			n := s.prepare(t, m)
			for _, a := range attempts {
				err := invoke(t, door.conn, m, a.secret, n)
				require.Equal(t, a.want, outcomeOf(err), "%s at the %s with token: %s: %v", m.FullName(), door.name, a.kind, err)
			}
		}
		if m.IsStreamingClient() {
			continue // REST has none of these
		}
		require.NotEmpty(t, routes[m.FullName()], "%s has no REST route", m.FullName())
		for _, route := range routes[m.FullName()] {
			n := s.prepare(t, m)
			for _, a := range attempts {
				code, kind := s.callREST(t, route, m, a.secret, n)
				want := map[codes.Code]int{codes.OK: 200, codes.Unauthenticated: 401, codes.PermissionDenied: 403}[a.want.code]
				require.Equal(t, want, code, "%s %s with token: %s", route.method, route.path, a.kind)
				if want != 200 {
					require.Equal(t, a.want.kind.String(), kind)
				}
			}
		}
	}
}

// behind is a connection to the service that answers a method, past the router.
func (s *site) behind(t *testing.T, m protoreflect.MethodDescriptor) *grpc.ClientConn {
	address := map[protoreflect.Name]string{"AccountService": "account", "BucketService": "bucket", "StreamService": "stream-writer"}[m.Parent().Name()]
	if m.Name() == "Read" || m.Name() == "ReadSession" {
		address = "stream-reader"
	}
	conn, err := s.dialer.Conn("inproc:" + address)
	require.NoError(t, err)
	return conn
}

func invoke(t *testing.T, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, secret string, n names) error {
	ctx := as(t.Context(), secret)
	path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, path, request(t, m, n), newMessage(t, m.Output()))
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, path)
	require.NoError(t, err)
	_ = stream.SendMsg(request(t, m, n)) // a failure shows below
	_ = stream.CloseSend()
	for {
		if err := stream.RecvMsg(newMessage(t, m.Output())); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

type restRoute struct{ method, path string }

// restRoutes are all that the OpenAPI document has, by RPC.
func restRoutes(t *testing.T) map[protoreflect.FullName][]restRoute {
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	require.NoError(t, json.Unmarshal(openapi.Document, &document))
	routes := map[protoreflect.FullName][]restRoute{}
	for path, methods := range document.Paths {
		for method, o := range methods {
			name := "samsa.v1." + strings.Replace(strings.TrimRight(o.OperationID, "0123456789"), "_", ".", 1)
			routes[protoreflect.FullName(name)] = append(routes[protoreflect.FullName(name)], restRoute{strings.ToUpper(method), path})
		}
	}
	return routes
}

func (s *site) callREST(t *testing.T, route restRoute, m protoreflect.MethodDescriptor, secret string, n names) (int, string) {
	path := strings.NewReplacer("{bucket}", n.bucket, "{stream}", url.PathEscape(n.stream), "{id}", n.token).Replace(route.path)
	var body []byte
	if route.method == http.MethodPost || route.method == http.MethodPatch {
		r := request(t, m, n)
		if issue, ok := r.(*samsav1.IssueAccessTokenRequest); ok {
			r = issue.Info
		}
		body = inBody(t, r, route.path)
	}
	if m.Name() == "ReadSession" {
		path += "?limit.count=0"
	}
	r, err := http.NewRequestWithContext(t.Context(), route.method, s.http+path, bytes.NewReader(body))
	require.NoError(t, err)
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	var detail struct{ Code string }
	_ = json.NewDecoder(answer.Body).Decode(&detail)
	return answer.StatusCode, detail.Code
}

// inBody is a request without what stands in the path.
func inBody(t *testing.T, r proto.Message, path string) []byte {
	r = proto.Clone(r)
	for _, name := range []protoreflect.Name{"bucket", "stream"} {
		if f := r.ProtoReflect().Descriptor().Fields().ByName(name); f != nil && strings.Contains(path, "{"+string(name)+"}") {
			r.ProtoReflect().Clear(f)
		}
	}
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r)
	require.NoError(t, err)
	return body
}

// tenants: two of them, each with a prefix of bucket names.
func tenants(t *testing.T, s *site) {
	scopeOf := func(name string) *samsav1.AccessTokenScope {
		return scope(prefix(name+"-"), prefix(""), prefix(name+"-"), operations())
	}
	stranger := s.token(t, scopeOf("bolt"))
	a, b := as(t.Context(), s.token(t, scopeOf("acme"))), as(t.Context(), stranger)
	_, err := s.account().CreateBucket(a, &samsav1.CreateBucketRequest{Bucket: "acme-logs", Config: creating()})
	require.NoError(t, err)
	appended, err := s.streams().Append(a, &samsav1.AppendRequest{Bucket: "acme-logs", Stream: "secret-stream", Records: records("x")})
	require.NoError(t, err)
	_, err = s.account().IssueAccessToken(a, &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{Id: "acme-ci"}})
	require.NoError(t, err)

	buckets, err := s.account().ListBuckets(b, &samsav1.ListBucketsRequest{Prefix: "acme"})
	require.NoError(t, err)
	require.Empty(t, buckets.GetBuckets())
	tokens, err := s.account().ListAccessTokens(b, &samsav1.ListAccessTokensRequest{})
	require.NoError(t, err)
	require.Empty(t, tokens.GetAccessTokens())

	// What exists and what does not answer alike, word for word.
	for _, m := range methods() {
		bucket, _, token := needs(m)
		if !bucket && !token {
			continue
		}
		there := textOf(invoke(t, s.conn, m, stranger, names{"acme-logs", "secret-stream", "acme-ci"}))
		missing := textOf(invoke(t, s.conn, m, stranger, names{"acme-none", "other-stream", "acme-none"}))
		require.NotEmpty(t, there, m.FullName())
		require.Equal(t, missing, there, m.FullName())
		require.NotContains(t, there, "acme")
	}

	// An id of another tenant's stream tells nothing about it.
	_, err = s.account().CreateBucket(b, &samsav1.CreateBucketRequest{Bucket: "bolt-logs", Config: creating()})
	require.NoError(t, err)
	_, err = s.streams().Read(b, &samsav1.ReadRequest{Bucket: "bolt-logs", Stream: "mine",
		Start: &samsav1.ReadRequest_SeqId{SeqId: appended.GetStartSeqId()}})
	require.NotContains(t, textOf(err), "acme")
	require.NotContains(t, textOf(err), "secret-stream")
}

// textOf is all that a client gets to read of an error, but the request's id.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	detail := rpc.Detail(err)
	return fmt.Sprint(err.Error(), detail.GetCode(), detail.GetMessage(), detail.GetMetadata(), detail.GetField())
}

func automaticPrefix(t *testing.T, s *site) {
	for _, hidden := range []string{`tenant "7"/`, `tenant"`, strings.Repeat("tenant", 33) + "7/"} {
		prefixed(t, s, hidden)
	}
}

// prefixed: what one holder of a token with auto_prefix_streams does and sees.
func prefixed(t *testing.T, s *site, hidden string) {
	bucket := s.unique("auto")
	all := as(t.Context(), root)
	_, err := s.account().CreateBucket(all, &samsav1.CreateBucketRequest{Bucket: bucket})
	require.NoError(t, err)
	ctx := as(t.Context(), s.issue(t, catalog.AccessToken{AutoPrefix: true,
		Scope: scope(exact(bucket), prefix(hidden), prefix(bucket), operations())}))

	for _, name := range []string{"a", "b", "c"} {
		created, err := s.buckets().CreateStream(ctx, &samsav1.CreateStreamRequest{Bucket: bucket, Stream: name})
		require.NoError(t, err)
		require.Equal(t, name, created.GetInfo().GetName())
	}
	for _, name := range []string{"a", "other", "z"} { // not its own
		_, err := s.buckets().CreateStream(all, &samsav1.CreateStreamRequest{Bucket: bucket, Stream: name})
		require.NoError(t, err)
	}
	for _, c := range []struct {
		request *samsav1.ListStreamsRequest
		want    []string
		more    bool
	}{
		{&samsav1.ListStreamsRequest{}, []string{"a", "b", "c"}, false},
		{&samsav1.ListStreamsRequest{Limit: new(uint64(2))}, []string{"a", "b"}, true},
		{&samsav1.ListStreamsRequest{StartAfter: "b"}, []string{"c"}, false},
		{&samsav1.ListStreamsRequest{Prefix: "b"}, []string{"b"}, false},
		{&samsav1.ListStreamsRequest{Prefix: "tenant"}, nil, false},
	} {
		c.request.Bucket = bucket
		list, err := s.buckets().ListStreams(ctx, c.request)
		require.NoError(t, err)
		require.Equal(t, c.want, streamNames(list))
		require.Equal(t, c.more, list.GetHasMore())
	}
	whole, err := s.buckets().ListStreams(all, &samsav1.ListStreamsRequest{Bucket: bucket, Prefix: hidden})
	require.NoError(t, err)
	require.Equal(t, []string{hidden + "a", hidden + "b", hidden + "c"}, streamNames(whole))

	_, err = s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: "a", Records: records("mine")})
	require.NoError(t, err)
	got, err := s.streams().Read(ctx, &samsav1.ReadRequest{Bucket: bucket, Stream: "a"})
	require.NoError(t, err)
	require.Equal(t, "mine", string(got.GetBatch().GetRecords()[0].GetBody()))
	tail, err := s.streams().CheckTail(all, &samsav1.CheckTailRequest{Bucket: bucket, Stream: "a"})
	require.NoError(t, err)
	require.Zero(t, tail.GetNextSeqNum(), "the stream of that name without the prefix is another one")

	session, err := s.streams().AppendSession(ctx)
	require.NoError(t, err)
	for _, name := range []string{"b", "", "b"} {
		require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Bucket: bucket, Stream: name, Records: records("x")}))
		_, err = session.Recv()
		require.NoError(t, err)
	}
	require.NoError(t, session.CloseSend())
	_, err = session.Recv()
	require.ErrorIs(t, err, io.EOF)

	session, err = s.streams().AppendSession(ctx)
	require.NoError(t, err)
	for _, name := range []string{"b", "another"} {
		require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Bucket: bucket, Stream: name, Records: records("x")}))
	}
	_, err = session.Recv()
	require.NoError(t, err)
	_, another := session.Recv()

	// No error tells the prefix, nor how long it is.
	long := strings.Repeat("x", stream.MaxStreamNameBytes-len(hidden)+1)
	for _, err := range []error{
		third(s.buckets().GetStreamConfig(ctx, &samsav1.GetStreamConfigRequest{Bucket: bucket, Stream: "missing"})),
		third(s.buckets().CreateStream(ctx, &samsav1.CreateStreamRequest{Bucket: bucket, Stream: "a"})),
		third(s.buckets().DeleteStream(ctx, &samsav1.DeleteStreamRequest{Bucket: bucket, Stream: "missing"})),
		third(s.buckets().CreateStream(ctx, &samsav1.CreateStreamRequest{Bucket: bucket, Stream: long})),
		third(s.buckets().CreateStream(ctx, &samsav1.CreateStreamRequest{Bucket: bucket, Stream: "x\x00"})),
		third(s.buckets().ListStreams(ctx, &samsav1.ListStreamsRequest{Bucket: bucket, Prefix: "x\x00"})),
		third(s.buckets().ListStreams(ctx, &samsav1.ListStreamsRequest{Bucket: bucket, StartAfter: "x\x00"})),
		third(s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: long, Records: records("x")})),
		third(s.streams().CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: bucket, Stream: long})),
		third(s.streams().Read(ctx, &samsav1.ReadRequest{Bucket: bucket, Stream: long})),
		third(s.account().IssueAccessToken(ctx, &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{
			Id: bucket + "-long", AutoPrefixStreams: true, Scope: scope(nil, prefix(long), nil, nil)}})),
		another,
		third(s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: "missing", Records: records("x")})),
		third(s.streams().CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: bucket, Stream: "missing"})),
		third(s.streams().Read(ctx, &samsav1.ReadRequest{Bucket: bucket, Stream: "missing"})),
		third(s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: "", Records: records("x")})),
	} {
		require.Error(t, err)
		require.NotContains(t, textOf(err), "tenant")
		require.NotContains(t, textOf(err), fmt.Sprint(stream.MaxStreamNameBytes+1))
		require.NotContains(t, textOf(err), `""`)
	}

	// Nor does a token that it issues.
	child := &samsav1.AccessTokenInfo{Id: bucket + "-child", AutoPrefixStreams: true,
		Scope: scope(exact(bucket), prefix("b"), nil, []samsav1.Operation{samsav1.Operation_OPERATION_CHECK_TAIL})}
	issued, err := s.account().IssueAccessToken(ctx, &samsav1.IssueAccessTokenRequest{Info: proto.Clone(child).(*samsav1.AccessTokenInfo)})
	require.NoError(t, err)
	shown, err := s.account().ListAccessTokens(ctx, &samsav1.ListAccessTokensRequest{})
	require.NoError(t, err)
	require.Len(t, shown.GetAccessTokens(), 1)
	require.True(t, proto.Equal(child, shown.GetAccessTokens()[0]), "%v", shown)
	none := as(t.Context(), issued.GetAccessToken())
	_, err = s.streams().CheckTail(none, &samsav1.CheckTailRequest{Bucket: bucket, Stream: "x"})
	require.Equal(t, codes.NotFound, outcomeOf(err).code, "it looks for tenant…bx: %v", err)
}

func third[T any](_ T, err error) error { return err }

func streamNames(list *samsav1.ListStreamsResponse) []string {
	var all []string
	for _, info := range list.GetStreams() {
		all = append(all, info.GetName())
	}
	return all
}

func lists(t *testing.T, s *site) {
	base := s.unique("list")
	all := as(t.Context(), root)
	for _, name := range []string{base + "-a", base + "-a1", base + "-a2", base + "-b"} {
		_, err := s.account().CreateBucket(all, &samsav1.CreateBucketRequest{Bucket: name})
		require.NoError(t, err)
	}
	for _, c := range []struct {
		set     *samsav1.ResourceSet
		request *samsav1.ListBucketsRequest
		want    []string
		more    bool
	}{
		{exact(base + "-a"), &samsav1.ListBucketsRequest{Limit: new(uint64(1))}, []string{"-a"}, false},
		{exact(base + "-a"), &samsav1.ListBucketsRequest{StartAfter: base + "-a"}, nil, false},
		{exact(base + "-a"), &samsav1.ListBucketsRequest{Prefix: base + "-b"}, nil, false},
		{prefix(base + "-a"), &samsav1.ListBucketsRequest{Limit: new(uint64(3))}, []string{"-a", "-a1", "-a2"}, false},
		{prefix(base + "-a"), &samsav1.ListBucketsRequest{Limit: new(uint64(2))}, []string{"-a", "-a1"}, true},
		{prefix(base + "-a"), &samsav1.ListBucketsRequest{Prefix: base}, []string{"-a", "-a1", "-a2"}, false},
		{prefix(base + "-a"), &samsav1.ListBucketsRequest{Prefix: base + "-a2"}, []string{"-a2"}, false},
		{nil, &samsav1.ListBucketsRequest{}, nil, false},
	} {
		ctx := as(t.Context(), s.token(t, scope(c.set, nil, nil, operations())))
		list, err := s.account().ListBuckets(ctx, c.request)
		require.NoError(t, err)
		var got []string
		for _, info := range list.GetBuckets() {
			got = append(got, strings.TrimPrefix(info.GetName(), base))
		}
		require.Equal(t, c.want, got, "%v %v", c.set, c.request)
		require.Equal(t, c.more, list.GetHasMore(), "%v %v", c.set, c.request)
	}
}

func commands(t *testing.T, s *site) {
	bucket := s.unique("commands")
	_, err := s.account().CreateBucket(as(t.Context(), root), &samsav1.CreateBucketRequest{Bucket: bucket, Config: creating()})
	require.NoError(t, err)
	trim := command("trim", string(binary.BigEndian.AppendUint64(nil, 1)))
	fence := command("fence", "token")
	for _, c := range []struct {
		ops    []samsav1.Operation
		record *samsav1.AppendRecord
		want   outcome
	}{
		{[]samsav1.Operation{samsav1.Operation_OPERATION_APPEND}, trim, forbidden},
		{[]samsav1.Operation{samsav1.Operation_OPERATION_APPEND}, fence, forbidden},
		{[]samsav1.Operation{samsav1.Operation_OPERATION_APPEND, samsav1.Operation_OPERATION_FENCE}, trim, forbidden},
		{[]samsav1.Operation{samsav1.Operation_OPERATION_TRIM, samsav1.Operation_OPERATION_FENCE}, trim, forbidden},
		{[]samsav1.Operation{samsav1.Operation_OPERATION_APPEND, samsav1.Operation_OPERATION_TRIM}, trim, fine},
		{[]samsav1.Operation{samsav1.Operation_OPERATION_APPEND, samsav1.Operation_OPERATION_FENCE}, fence, fine},
	} {
		ctx := as(t.Context(), s.token(t, scope(exact(bucket), prefix(""), nil, c.ops)))
		name := s.unique("s")
		_, err := s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: name, Records: append(records("x"), c.record)})
		requireOutcome(t, c.want, err)
		if c.want != fine && c.ops[0] == samsav1.Operation_OPERATION_APPEND {
			session, err := s.streams().AppendSession(ctx)
			require.NoError(t, err)
			require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Bucket: bucket, Stream: name, Records: records("x")}))
			require.NoError(t, session.Send(&samsav1.AppendSessionRequest{Records: []*samsav1.AppendRecord{c.record}}))
			_, err = session.Recv()
			require.NoError(t, err, "what came before is acknowledged")
			_, err = session.Recv()
			requireOutcome(t, c.want, err)
		}
	}
}

func revocation(t *testing.T, s *site) {
	bucket := s.unique("revocation")
	_, err := s.account().CreateBucket(as(t.Context(), root), &samsav1.CreateBucketRequest{Bucket: bucket, Config: creating()})
	require.NoError(t, err)
	id := s.unique("gone")
	ctx := as(t.Context(), s.issue(t, catalog.AccessToken{ID: id, Scope: scope(exact(bucket), prefix(""), nil, operations())}))
	appends, err := s.streams().AppendSession(ctx)
	require.NoError(t, err)
	require.NoError(t, appends.Send(&samsav1.AppendSessionRequest{Bucket: bucket, Stream: "s", Records: records("x")}))
	_, err = appends.Recv()
	require.NoError(t, err)
	reads, err := s.streams().ReadSession(ctx, &samsav1.ReadSessionRequest{Bucket: bucket, Stream: "s"})
	require.NoError(t, err)
	_, err = reads.Recv()
	require.NoError(t, err)

	_, err = s.account().RevokeAccessToken(as(t.Context(), root), &samsav1.RevokeAccessTokenRequest{Id: id})
	require.NoError(t, err)
	begun := time.Now()
	_, err = reads.Recv()
	requireOutcome(t, unknown, err)
	require.Eventually(t, func() bool {
		_, err := s.streams().CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: bucket, Stream: "s"})
		return outcomeOf(err) == unknown
	}, 20*time.Second, time.Millisecond)
	t.Logf("revoked everywhere after %s", time.Since(begun))
	require.NoError(t, appends.Send(&samsav1.AppendSessionRequest{Records: records("x")}))
	_, err = appends.Recv()
	requireOutcome(t, unknown, err)
}

func expiry(t *testing.T, s *site) {
	bucket := s.unique("expiry")
	_, err := s.account().CreateBucket(as(t.Context(), root), &samsav1.CreateBucketRequest{Bucket: bucket, Config: creating()})
	require.NoError(t, err)
	var (
		end   time.Time
		ctx   context.Context
		reads grpc.ServerStreamingClient[samsav1.ReadSessionResponse]
	)
	for opened := false; !opened; opened = err == nil { // the token may expire before
		end = time.Now().Add(2 * time.Second)
		ctx = as(t.Context(), s.issue(t, catalog.AccessToken{ExpiresAt: end, Scope: scope(exact(bucket), prefix(""), nil, operations())}))
		reads, err = s.streams().ReadSession(ctx, &samsav1.ReadSessionRequest{Bucket: bucket, Stream: "s"})
		require.NoError(t, err)
		if _, err = reads.Recv(); err != nil {
			requireOutcome(t, expired, err)
			require.False(t, time.Now().Before(end))
		}
	}
	_, err = reads.Recv()
	requireOutcome(t, expired, err)
	require.False(t, time.Now().Before(end))
	_, err = s.streams().CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: bucket, Stream: "s"})
	requireOutcome(t, expired, err)
}

func escalation(t *testing.T, s *site) {
	base := s.unique("issuer")
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	own := func() *samsav1.AccessTokenScope {
		return scope(prefix(base+"-"), prefix("in/"), prefix(base+"-"),
			[]samsav1.Operation{samsav1.Operation_OPERATION_ISSUE_ACCESS_TOKEN, samsav1.Operation_OPERATION_READ})
	}
	ctx := as(t.Context(), s.issue(t, catalog.AccessToken{ExpiresAt: end, Scope: own()}))
	for field, change := range map[string]func(*samsav1.AccessTokenInfo){
		"": func(*samsav1.AccessTokenInfo) {},
		"info.scope.ops": func(i *samsav1.AccessTokenInfo) {
			i.Scope.Ops = append(i.Scope.Ops, samsav1.Operation_OPERATION_APPEND)
		},
		"info.scope.buckets":       func(i *samsav1.AccessTokenInfo) { i.Scope.Buckets = prefix(base) },
		"info.scope.streams":       func(i *samsav1.AccessTokenInfo) { i.Scope.Streams = exact("in") },
		"info.scope.access_tokens": func(i *samsav1.AccessTokenInfo) { i.Scope.AccessTokens = prefix("") },
		"info.expires_at":          func(i *samsav1.AccessTokenInfo) { i.ExpiresAt = nil },
		"later":                    func(i *samsav1.AccessTokenInfo) { *i.ExpiresAt++ },
		"much later":               func(i *samsav1.AccessTokenInfo) { i.ExpiresAt = new(uint64(1 << 63)) },
		"id":                       func(i *samsav1.AccessTokenInfo) { i.Id = "other" },
	} {
		info := &samsav1.AccessTokenInfo{Id: s.unique(base + "-child"), ExpiresAt: new(uint64(end.Unix())), Scope: own()}
		change(info)
		_, err := s.account().IssueAccessToken(ctx, &samsav1.IssueAccessTokenRequest{Info: info})
		if field == "" {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, forbidden, outcomeOf(err), "%s: %v", field, err)
		if strings.HasPrefix(field, "info.") {
			require.Equal(t, field, rpc.Detail(err).GetField())
		}
	}
	prefixed := as(t.Context(), s.issue(t, catalog.AccessToken{AutoPrefix: true, Scope: own()}))
	_, err := s.account().IssueAccessToken(prefixed, &samsav1.IssueAccessTokenRequest{
		Info: &samsav1.AccessTokenInfo{Id: base + "-whole", Scope: own()}})
	requireOutcome(t, forbidden, err)
	require.Equal(t, "info.auto_prefix_streams", rpc.Detail(err).GetField())
}

func metadataBucket(t *testing.T, s *site) {
	mine, other := s.unique("mine"), s.unique("other")
	for _, bucket := range []string{mine, other} {
		_, err := s.account().CreateBucket(as(t.Context(), root), &samsav1.CreateBucketRequest{Bucket: bucket})
		require.NoError(t, err)
	}
	ctx := as(t.Context(), s.token(t, scope(exact(mine), prefix(""), nil, operations())))
	list := func(inMetadata, inRequest string) error {
		ctx := ctx
		if inMetadata != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "bucket", inMetadata)
		}
		_, err := s.buckets().ListStreams(ctx, &samsav1.ListStreamsRequest{Bucket: inRequest})
		return err
	}
	requireOutcome(t, fine, list(mine, ""))
	requireOutcome(t, fine, list(mine, mine))
	requireOutcome(t, forbidden, list(other, ""))
	requireOutcome(t, forbidden, list(other, mine))
	requireOutcome(t, forbidden, list(mine, other))
}

// strangers: the router does not forward what is for services, and two tokens, or
// another scheme, are none.
func strangers(t *testing.T, s *site) {
	_, err := clusterv1.NewWriterServiceClient(s.conn).TakeShard(as(t.Context(), root), &clusterv1.TakeShardRequest{})
	require.Equal(t, codes.Unimplemented, outcomeOf(err).code, "%v", err)
	_, err = s.account().ListBuckets(as(as(t.Context(), root), root), &samsav1.ListBucketsRequest{})
	requireOutcome(t, unknown, err)
	basic := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Basic "+root)
	_, err = s.account().ListBuckets(basic, &samsav1.ListBucketsRequest{})
	requireOutcome(t, unknown, err)
}

// operators: what is for the root token is for no other one, whatever that allows.
func operators(t *testing.T, s *site) {
	admin := clusterv1.NewAdminServiceClient(s.conn)
	everything := s.token(t, scope(prefix(""), prefix(""), prefix(""), operations()))
	for secret, want := range map[string]outcome{everything: forbidden, "none-of-ours": unknown} {
		ctx := as(t.Context(), secret)
		_, err := admin.ListWriters(ctx, &clusterv1.ListWritersRequest{})
		requireOutcome(t, want, err)
		_, err = admin.ListShards(ctx, &clusterv1.ListShardsRequest{})
		requireOutcome(t, want, err)
		_, err = admin.DrainWriter(ctx, &clusterv1.DrainWriterRequest{Instance: "dev"})
		requireOutcome(t, want, err)
	}
	require.Equal(t, "PermissionDenied", s.auditOf(t, "instance", "dev")["outcome"])
	_, err := admin.ListWriters(t.Context(), &clusterv1.ListWritersRequest{})
	requireOutcome(t, unknown, err)
	writers, err := admin.ListWriters(as(t.Context(), root), &clusterv1.ListWritersRequest{})
	require.NoError(t, err)
	require.Len(t, writers.GetWriters(), 1)
	require.False(t, writers.GetWriters()[0].GetDrained())
}

func audit(t *testing.T, s *site) {
	bucket := s.unique("audited")
	id := s.unique("auditor")
	ctx := as(t.Context(), s.issue(t, catalog.AccessToken{ID: id, Scope: scope(exact(bucket), nil, nil, operations())}))
	ctx = metadata.AppendToOutgoingContext(ctx, rpc.RequestIDKey, "audit-1")
	_, err := s.account().CreateBucket(ctx, &samsav1.CreateBucketRequest{Bucket: bucket})
	require.NoError(t, err)
	line := s.auditOf(t, "bucket", bucket)
	require.Equal(t, id, line["token_id"])
	require.Equal(t, "CREATE_BUCKET", line["operation"])
	require.Equal(t, "OK", line["outcome"])
	require.Equal(t, "audit-1", line["request_id"])

	_, err = s.account().CreateBucket(ctx, &samsav1.CreateBucketRequest{Bucket: bucket})
	require.Error(t, err)
	require.Equal(t, "AlreadyExists", s.auditOf(t, "bucket", bucket)["outcome"])
	_, err = s.account().DeleteBucket(ctx, &samsav1.DeleteBucketRequest{Bucket: bucket + "x"})
	requireOutcome(t, forbidden, err)
	require.Equal(t, "PermissionDenied", s.auditOf(t, "bucket", bucket+"x")["outcome"])
}
