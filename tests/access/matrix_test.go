package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/contract"
)

// methods are all of the API, from the descriptors: a new one is in the matrix by
// itself, and fails it as long as nobody has thought about it.
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

// target is what a call is about.
type target struct{ bucket, stream, token string }

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	require.NoError(t, err)
	return found.New().Interface()
}

func has(m protoreflect.MethodDescriptor, field protoreflect.Name) bool {
	return m.Input().Fields().ByName(field) != nil
}

func aboutToken(m protoreflect.MethodDescriptor) bool { return has(m, "id") || has(m, "info") }

// requestFor fills in what a method's request needs.
func requestFor(t *testing.T, m protoreflect.MethodDescriptor, n target) proto.Message {
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
		r.Config = &samsav1.BucketConfig{CreateStreamOnAppend: new(true)}
	case *samsav1.ReconfigureStreamRequest:
		r.Config = &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(90))}
	}
	return r
}

// operationOf is the operation that a method is, by its name.
func operationOf(t *testing.T, m protoreflect.MethodDescriptor) samsav1.Operation {
	name := strings.TrimSuffix(string(m.Name()), "Session")
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	op, ok := samsav1.Operation_value["OPERATION_"+strings.ToUpper(b.String())]
	require.True(t, ok, "no operation for %s", m.FullName())
	return samsav1.Operation(op)
}

// call makes a call of any kind.
func call(t *testing.T, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, token string, n target) error {
	ctx, cancel := context.WithTimeout(as(token), patience)
	defer cancel()
	path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	request := requestFor(t, m, n)
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, path, request, newMessage(t, m.Output()))
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, path)
	if err != nil {
		return err
	}
	_ = stream.SendMsg(request) // a failure shows below
	_ = stream.CloseSend()
	for {
		if err := stream.RecvMsg(newMessage(t, m.Output())); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// prepare makes what a method needs to succeed.
func (s *site) prepare(t *testing.T, m protoreflect.MethodDescriptor) target {
	n := target{bucket: s.unique("right"), stream: s.unique("right/s"), token: s.unique("right")}
	if m.Name() != "CreateBucket" {
		s.makeBucket(t, n.bucket)
	}
	if has(m, "stream") && m.Name() != "CreateStream" {
		_, err := s.bucket().CreateStream(s.root(), &samsav1.CreateStreamRequest{Bucket: n.bucket, Stream: n.stream})
		require.NoError(t, err)
	}
	if m.Name() == "RevokeAccessToken" {
		s.issue(t, &samsav1.AccessTokenInfo{Id: n.token})
	}
	return n
}

// attempt is a kind of token, and what a call with it comes to.
type attempt struct {
	kind, token string
	want        outcome
}

func (s *site) attempts(t *testing.T, m protoreflect.MethodDescriptor, expiring, revoked string) []attempt {
	op := operationOf(t, m)
	ops, all := []samsav1.Operation{op}, prefix("right")
	issue := func(sc *samsav1.AccessTokenScope) string { return s.issue(t, &samsav1.AccessTokenInfo{Scope: sc}) }
	right := issue(scope(all, prefix("right/"), all, ops))
	attempts := []attempt{
		{"none", "", unknown},
		{"malformed", "samsa.bad.token", unknown},
		{"cut", right[:len(right)-1], unknown},
		{"revoked", revoked, unknown},
		{"expired", expiring, expired},
		{"wrong operation", issue(scope(prefix(""), prefix(""), prefix(""), operations(op))), forbidden},
	}
	if has(m, "bucket") {
		attempts = append(attempts, attempt{"wrong bucket", issue(scope(exact("wrong"), prefix(""), prefix(""), ops)), forbidden},
			attempt{"wrong bucket prefix", issue(scope(prefix("rightly"), prefix(""), prefix(""), ops)), forbidden})
	}
	if has(m, "stream") {
		attempts = append(attempts, attempt{"wrong stream", issue(scope(all, exact("right"), prefix(""), ops)), forbidden},
			attempt{"wrong stream prefix", issue(scope(all, prefix("wrong"), prefix(""), ops)), forbidden})
	}
	if aboutToken(m) {
		attempts = append(attempts, attempt{"wrong token id", issue(scope(all, prefix(""), exact("right"), ops)), forbidden})
	}
	return append(attempts, attempt{"right", right, fine}) // last, for it has effects
}

// behind is the service that answers a method, asked as the router asks.
func (s *site) behind(t *testing.T, m protoreflect.MethodDescriptor, n target) *grpc.ClientConn {
	name := map[protoreflect.Name]string{"AccountService": "account-0", "BucketService": "bucket-0", "StreamService": "stream-reader-0"}[m.Parent().Name()]
	if m.Name() == "CheckTail" || strings.HasPrefix(string(m.Name()), "Append") {
		require.NoError(t, s.tail(s.root(), n.bucket, n.stream)) // so that there is one
		name = s.OwnerOf(t, n.bucket, n.stream)
	}
	return s.Behind(t, name, "router")
}

func everyRoute(t *testing.T, s *site) {
	everything := scope(prefix(""), prefix(""), prefix(""), operations(0))
	soon := time.Now().Add(2 * time.Second).Unix()
	expiring := s.issue(t, &samsav1.AccessTokenInfo{ExpiresAt: new(uint64(soon)), Scope: everything})
	revokedID := s.unique("revoked")
	revoked := s.issue(t, &samsav1.AccessTokenInfo{Id: revokedID, Scope: everything})
	s.revoke(t, revokedID)
	for time.Now().Unix() <= soon {
		time.Sleep(50 * time.Millisecond)
	}
	made := 0
	for _, m := range methods() {
		attempts := s.attempts(t, m, expiring, revoked)
		doors := map[string]grpc.ClientConnInterface{"gRPC": s.conn, "service": nil}
		if !m.IsStreamingClient() { // REST has none of these
			doors["REST"] = contract.REST(s.HTTP(), s.web)
		}
		for door, conn := range doors {
			n := s.prepare(t, m)
			if door == "service" {
				conn = s.behind(t, m, n)
			}
			for _, a := range attempts {
				requireOutcome(t, a.want, call(t, conn, m, a.token, n), m.FullName(), door, a.kind)
				made++
			}
		}
	}
	t.Logf("%d calls of %d methods", made, len(methods()))
}

// tenants share a bucket; each has a prefix of stream names.
func tenants(t *testing.T, s *site) {
	bucket := s.makeBucket(t, s.unique("shared"))
	stranger := func(auto bool) string {
		name := s.unique("bolt")
		return s.issue(t, &samsav1.AccessTokenInfo{AutoPrefixStreams: auto, Scope: scope(exact(bucket), prefix(name+"/"), prefix(name), operations(0))})
	}
	acme := as(s.issue(t, &samsav1.AccessTokenInfo{Scope: scope(exact(bucket), prefix("acme/"), prefix("acme"), operations(0))}))
	require.NoError(t, s.append(acme, bucket, "acme/hidden"))
	_, err := s.account().IssueAccessToken(acme, &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{Id: "acme-ci"}})
	require.NoError(t, err)
	for _, auto := range []bool{false, true} {
		token := stranger(auto)
		for _, limit := range []uint64{1, 1000} {
			list, err := s.bucket().ListStreams(as(token), &samsav1.ListStreamsRequest{Bucket: bucket, Limit: &limit})
			require.NoError(t, err)
			require.Empty(t, list.GetStreams())
			require.False(t, list.GetHasMore(), "it can be counted")
			tokens, err := s.account().ListAccessTokens(as(token), &samsav1.ListAccessTokensRequest{Limit: &limit})
			require.NoError(t, err)
			require.Empty(t, tokens.GetAccessTokens())
			require.False(t, tokens.GetHasMore())
		}
		if auto {
			// Another name space: the same name is a stream of its own.
			require.NoError(t, s.append(as(token), bucket, "acme/hidden"))
			tail, err := s.streams().CheckTail(as(token), &samsav1.CheckTailRequest{Bucket: bucket, Stream: "acme/hidden"})
			require.NoError(t, err)
			require.Equal(t, uint64(1), tail.GetNextSeqNum())
			continue
		}
		for _, m := range methods() {
			if !has(m, "stream") && !aboutToken(m) {
				continue
			}
			for name, conn := range map[string]grpc.ClientConnInterface{"gRPC": s.conn, "REST": contract.REST(s.HTTP(), s.web)} {
				if name == "REST" && m.IsStreamingClient() {
					continue
				}
				there := textOf(call(t, conn, m, token, target{bucket, "acme/hidden", "acme-ci"}))
				missing := textOf(call(t, conn, m, token, target{bucket, "acme/none", "acme-none"}))
				require.NotEmpty(t, there, m.FullName())
				require.Equal(t, missing, there, "%s over %s", m.FullName(), name)
				require.NotContains(t, there, "acme")
			}
		}
	}
	tail, err := s.streams().CheckTail(acme, &samsav1.CheckTailRequest{Bucket: bucket, Stream: "acme/hidden"})
	require.NoError(t, err)
	require.Equal(t, uint64(1), tail.GetNextSeqNum(), "nobody has disturbed it")
}
