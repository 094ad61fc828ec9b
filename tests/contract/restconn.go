package contract

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

// restConn is REST in the shape of a gRPC connection.
type restConn struct {
	base   string
	client *http.Client
}

func newRESTConn(t testing.TB, target cluster.Target) *restConn {
	return &restConn{target.HTTP(), cluster.HTTPClient(t, target)}
}

// REST is REST in the shape of a gRPC connection, for other suites.
func REST(base string, client *http.Client) grpc.ClientConnInterface { return &restConn{base, client} }

// StatusOf is the HTTP status of an error that came over REST, and its detail.
func StatusOf(err error) (int, *samsav1.ErrorDetail) {
	var e *httpError
	if !errors.As(err, &e) {
		return 0, nil
	}
	return e.status, e.detail
}

// binding is how REST makes a call: the method, and the path with the fields that
// it takes from the request.
type binding struct {
	verb, path string
	body       string // the field that is the body; "*": all but those in the path; "": the query has them
}

// bindings are what the contract says of REST.
var bindings = map[string]binding{
	samsav1.AccountService_ListBuckets_FullMethodName:       {http.MethodGet, "/api/v1/buckets", ""},
	samsav1.AccountService_CreateBucket_FullMethodName:      {http.MethodPost, "/api/v1/buckets", "*"},
	samsav1.AccountService_DeleteBucket_FullMethodName:      {http.MethodDelete, "/api/v1/buckets/{bucket}", ""},
	samsav1.AccountService_GetBucketConfig_FullMethodName:   {http.MethodGet, "/api/v1/buckets/{bucket}/config", ""},
	samsav1.AccountService_ReconfigureBucket_FullMethodName: {http.MethodPatch, "/api/v1/buckets/{bucket}/config", "*"},
	samsav1.AccountService_IssueAccessToken_FullMethodName:  {http.MethodPost, "/api/v1/access-tokens", "info"},
	samsav1.AccountService_RevokeAccessToken_FullMethodName: {http.MethodDelete, "/api/v1/access-tokens/{id}", ""},
	samsav1.AccountService_ListAccessTokens_FullMethodName:  {http.MethodGet, "/api/v1/access-tokens", ""},
	samsav1.BucketService_ListStreams_FullMethodName:        {http.MethodGet, "/api/v1/buckets/{bucket}/streams", ""},
	samsav1.BucketService_CreateStream_FullMethodName:       {http.MethodPost, "/api/v1/buckets/{bucket}/streams", "*"},
	samsav1.BucketService_DeleteStream_FullMethodName:       {http.MethodDelete, "/api/v1/buckets/{bucket}/streams/{stream}", ""},
	samsav1.BucketService_GetStreamConfig_FullMethodName:    {http.MethodGet, "/api/v1/buckets/{bucket}/streams/{stream}/config", ""},
	samsav1.BucketService_ReconfigureStream_FullMethodName:  {http.MethodPatch, "/api/v1/buckets/{bucket}/streams/{stream}/config", "*"},
	samsav1.StreamService_CheckTail_FullMethodName:          {http.MethodGet, "/api/v1/buckets/{bucket}/streams/{stream}/tail", ""},
	samsav1.StreamService_Append_FullMethodName:             {http.MethodPost, "/api/v1/buckets/{bucket}/streams/{stream}/records", "*"},
	samsav1.StreamService_Read_FullMethodName:               {http.MethodGet, "/api/v1/buckets/{bucket}/streams/{stream}/records", ""},
	samsav1.StreamService_ReadSession_FullMethodName:        {http.MethodGet, "/api/v1/buckets/{bucket}/streams/{stream}/session", ""},
}

// httpError is a failed request.
type httpError struct {
	status    int
	detail    *samsav1.ErrorDetail
	requestID string
}

func (e *httpError) Error() string { return fmt.Sprintf("HTTP %d: %v", e.status, e.detail) }

// Invoke implements grpc.ClientConnInterface.
func (c *restConn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	response, err := c.send(ctx, method, args.(proto.Message))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(body, reply.(proto.Message))
}

// send makes the request that a call is, and turns errors into httpErrors.
func (c *restConn) send(ctx context.Context, method string, args proto.Message) (*http.Response, error) {
	request, err := c.request(ctx, method, args)
	if err != nil {
		return nil, err
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get("authorization")) > 0 {
		request.Header.Set("Authorization", md.Get("authorization")[0])
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	return nil, failed(response)
}

func failed(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	e := &httpError{status: response.StatusCode, detail: &samsav1.ErrorDetail{}, requestID: response.Header.Get("X-Request-Id")}
	if err := protojson.Unmarshal(body, e.detail); err != nil {
		return fmt.Errorf("HTTP %d whose body is no ErrorDetail (%w): %s", e.status, err, body)
	}
	return e
}

func (c *restConn) request(ctx context.Context, method string, args proto.Message) (*http.Request, error) {
	b, ok := bindings[method]
	if !ok {
		return nil, fmt.Errorf("REST has no %s", method)
	}
	rest := proto.Clone(args).ProtoReflect()
	target := c.base + fillPath(b.path, rest)
	var body io.Reader
	switch b.body {
	case "":
		query := url.Values{}
		addQuery(query, "", rest)
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
	case "*":
		encoded, err := protojson.Marshal(rest.Interface())
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	default:
		field := rest.Descriptor().Fields().ByName(protoreflect.Name(b.body))
		encoded, err := protojson.Marshal(rest.Get(field).Message().Interface())
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	return http.NewRequestWithContext(ctx, b.verb, target, body)
}

// fillPath puts fields of m into a path and takes them out of m.
func fillPath(path string, m protoreflect.Message) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if name, is := strings.CutPrefix(segment, "{"); is {
			field := m.Descriptor().Fields().ByName(protoreflect.Name(strings.TrimSuffix(name, "}")))
			segments[i] = escape(m.Get(field).String())
			m.Clear(field)
		}
	}
	return strings.Join(segments, "/")
}

// escape makes one path segment of any name: dots too, lest a client take "." and
// ".." for steps.
func escape(name string) string { return strings.ReplaceAll(url.PathEscape(name), ".", "%2E") }

// addQuery adds what m has set, with dots between the names of nested fields.
func addQuery(query url.Values, prefix string, m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := prefix + string(field.Name())
		if field.Message() != nil {
			addQuery(query, name+".", value.Message())
		} else {
			query.Add(name, value.String())
		}
		return true
	})
}

// NewStream implements grpc.ClientConnInterface, for sessions: one JSON object a
// line.
func (c *restConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &restStream{ctx: ctx, conn: c, method: method}, nil
}

// restStream is a read session over REST.
type restStream struct {
	ctx    context.Context
	conn   *restConn
	method string
	args   proto.Message
	body   io.Closer
	lines  *bufio.Reader
}

// SendMsg takes the one request that a session has.
func (s *restStream) SendMsg(m any) error {
	s.args = m.(proto.Message)
	return nil
}

// CloseSend makes the request; RecvMsg tells how it went.
func (s *restStream) CloseSend() error { return nil }

// RecvMsg returns the next line.
func (s *restStream) RecvMsg(m any) error {
	if s.lines == nil {
		response, err := s.conn.send(s.ctx, s.method, s.args)
		if err != nil {
			return err
		}
		s.body, s.lines = response.Body, bufio.NewReader(response.Body)
	}
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		_ = s.body.Close()
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return decodeLine(line, m.(proto.Message))
}

// decodeLine reads a response, or the error that is a session's last line.
func decodeLine(line []byte, m proto.Message) error {
	if encoded, is := bytes.CutPrefix(bytes.TrimSpace(line), []byte(`{"error":`)); is {
		e := &httpError{status: http.StatusOK, detail: &samsav1.ErrorDetail{}}
		if err := protojson.Unmarshal(bytes.TrimSuffix(encoded, []byte("}")), e.detail); err != nil {
			return err
		}
		return e
	}
	return protojson.Unmarshal(line, m)
}

// Header, Trailer and Context complete grpc.ClientStream.
func (s *restStream) Header() (metadata.MD, error) { return nil, nil }

// Trailer is empty: REST has none.
func (s *restStream) Trailer() metadata.MD { return nil }

// Context is the session's.
func (s *restStream) Context() context.Context { return s.ctx }
