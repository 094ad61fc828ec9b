package auth

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

const (
	authorizationKey = "authorization"
	bucketKey        = "bucket" // where older clients name the bucket
)

// bearer is the token's text that a call brings: ErrMissing, ErrMalformed.
func bearer(ctx context.Context) (string, error) {
	given := metadata.ValueFromIncomingContext(ctx, authorizationKey)
	switch {
	case len(given) == 0:
		return "", ErrMissing
	case len(given) > 1: // which of them counts would be a matter of luck
		return "", ErrMalformed
	}
	scheme, secret, _ := strings.Cut(given[0], " ")
	if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "bearer") || secret == "" {
		return "", ErrMalformed
	}
	return secret, nil
}

// call is a call with the token it is made under.
type call struct {
	method *method
	token  *Token
	// buckets are those in the call's metadata.
	buckets []string
	// bucket and stream name the resource, once a message has; accessToken too.
	bucket, stream, accessToken string
	// instance is the program that an operator's call is about.
	instance string
}

func newCall(ctx context.Context, m *method, t *Token) *call {
	c := &call{method: m, token: t}
	if m.bucketInMetadata {
		c.buckets = metadata.ValueFromIncomingContext(ctx, bucketKey)
	}
	return c
}

// resource is what the token must cover, by the names that the catalog has.
func (c *call) resource() Resource {
	var r Resource
	if c.method.bucket != "" {
		r.Bucket = &c.bucket
	}
	if c.method.stream != "" {
		whole := c.prefixed(c.stream)
		r.Stream = &whole
	}
	if c.method.accessToken != "" {
		r.AccessToken = &c.accessToken
	}
	return r
}

// prefixed is a stream's name as the catalog has it. An empty one stays empty: the
// prefix alone is not the holder's to use.
func (c *call) prefixed(name string) string {
	if name == "" {
		return ""
	}
	return c.token.Prefix + name
}

// allow checks the token's scope for the resource that has been named. Every bucket
// that the call names must be in it: which of them the service will take is not
// decided here.
func (c *call) allow() error {
	if c.method.bucket != "" && c.bucket == "" && len(c.buckets) > 0 {
		c.bucket = c.buckets[0]
	}
	if !c.token.Allows(c.method.operation, c.resource()) {
		return denied(c.method.operation)
	}
	for _, bucket := range c.buckets {
		if !c.token.buckets.has(bucket) {
			return denied(c.method.operation)
		}
	}
	return nil
}

// peekFrame reads the resource from a message in wire format. A message that can't
// be read is for its service to refuse.
func (c *call) peekFrame(frame []byte) bool {
	found := make([]string, 3)
	m := c.method
	if !peek(frame, [][]protoreflect.FieldNumber{m.bucketField, m.streamField, m.accessTokenPath}, found) {
		return false
	}
	c.bucket, c.stream, c.accessToken = found[0], found[1], found[2]
	return true
}

// take checks a decoded request and puts the prefix before its stream names.
func (c *call) take(request any) error {
	c.read(request)
	if err := c.allow(); err != nil {
		return err
	}
	if c.method.appends {
		if err := c.allowCommands(request); err != nil {
			return err
		}
	}
	if r, ok := request.(*samsav1.IssueAccessTokenRequest); ok {
		if err := c.token.mayIssue(r.GetInfo()); err != nil {
			return err
		}
	}
	if c.token.Prefix == "" {
		return nil
	}
	if err := c.checkNames(request); err != nil {
		return err
	}
	c.addPrefix(request)
	return nil
}

// read takes the resource from a request. The later requests of a session need not
// repeat it.
func (c *call) read(request any) {
	m := c.method
	if r, ok := request.(interface{ GetBucket() string }); ok && m.bucket == "bucket" {
		c.bucket = or(r.GetBucket(), c.bucket)
	}
	if r, ok := request.(interface{ GetStream() string }); ok && m.stream == "stream" {
		c.stream = or(r.GetStream(), c.stream)
	}
	if m.accessToken != "" {
		c.accessToken = textAt(request, m.accessTokenPath)
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// textAt is the string at a path of fields.
func textAt(request any, path []protoreflect.FieldNumber) string {
	m, ok := request.(proto.Message)
	if !ok {
		return ""
	}
	at := m.ProtoReflect()
	for i, number := range path {
		value := at.Get(at.Descriptor().Fields().ByNumber(number))
		if i == len(path)-1 {
			return value.String()
		}
		at = value.Message()
	}
	return ""
}

// allowCommands checks the command records of an append: those that have a header
// with an empty name.
func (c *call) allowCommands(request any) error {
	r, ok := request.(interface {
		GetRecords() []*samsav1.AppendRecord
	})
	if !ok {
		return nil
	}
	for _, record := range r.GetRecords() {
		for _, header := range record.GetHeaders() {
			if len(header.GetName()) > 0 {
				continue
			}
			if op := commandOf(header); op != 0 && !c.token.ops.has(op) {
				return denied(op)
			}
		}
	}
	return nil
}

// commandOf is the operation that a command record asks for; the service refuses
// those that are none.
func commandOf(header *samsav1.Header) samsav1.Operation {
	switch string(header.GetValue()) {
	case "trim":
		return samsav1.Operation_OPERATION_TRIM
	case "fence":
		return samsav1.Operation_OPERATION_FENCE
	}
	return samsav1.Operation_OPERATION_UNSPECIFIED
}
