package auth

import (
	"errors"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

// checkNames refuses names that are wrong before or after the prefix is put before
// them. A service would refuse them too, but may show only the beginning of what it
// was given, from which stripText could not take the prefix.
func (c *call) checkNames(request any) error {
	switch r := request.(type) {
	case *samsav1.ListStreamsRequest:
		var wrong *settings.InvalidError
		if err := (catalog.Page{Prefix: r.GetPrefix(), StartAfter: r.GetStartAfter()}).Check(); errors.As(err, &wrong) {
			return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%v", wrong).In(wrong.Field)
		}
		return nil
	case *samsav1.IssueAccessTokenRequest:
		name := r.GetInfo().GetScope().GetStreams().GetPrefix()
		if name == "." || name == ".." {
			return nil // no names, but names begin so
		}
		return c.token.checkPrefixed("info.scope.streams", name)
	}
	if c.method.stream == "" {
		return nil
	}
	return c.token.checkPrefixed(c.method.stream, c.stream)
}

// checkPrefixed does not tell how long the whole is. That there is no name is for
// the service to say.
func (t *Token) checkPrefixed(field, name string) error {
	err := stream.CheckStreamName(name)
	switch {
	case name == "":
		return nil
	case err == nil && len(t.Prefix)+len(name) > stream.MaxStreamNameBytes:
		err = errors.New("the stream name is too long for this access token: give a shorter one")
	case err == nil:
		return nil
	}
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%v", err).In(field)
}

// addPrefix puts the token's prefix before every stream name in a request.
func (c *call) addPrefix(request any) {
	switch r := request.(type) {
	case *samsav1.ListStreamsRequest:
		r.Prefix = c.token.Prefix + r.GetPrefix()
		r.StartAfter = c.prefixed(r.GetStartAfter())
	case *samsav1.IssueAccessTokenRequest:
		if m, ok := r.GetInfo().GetScope().GetStreams().GetMatching().(*samsav1.ResourceSet_Prefix); ok {
			m.Prefix = c.token.Prefix + m.Prefix
		}
	case proto.Message:
		if c.method.stream == "" {
			return
		}
		m := r.ProtoReflect()
		field := m.Descriptor().Fields().ByNumber(c.method.streamField[0])
		if name := m.Get(field).String(); name != "" {
			m.Set(field, protoreflect.ValueOfString(c.prefixed(name)))
		}
	}
}

// strip takes the token's prefix from every stream name in a response.
func (t *Token) strip(response any) {
	switch r := response.(type) {
	case *samsav1.ListStreamsResponse:
		for _, info := range r.GetStreams() {
			info.Name = strings.TrimPrefix(info.GetName(), t.Prefix)
		}
	case *samsav1.CreateStreamResponse:
		if r.GetInfo() != nil {
			r.Info.Name = strings.TrimPrefix(r.GetInfo().GetName(), t.Prefix)
		}
	case *samsav1.ListAccessTokensResponse:
		for _, info := range r.GetAccessTokens() {
			t.stripScope(info)
		}
	case *samsav1.RevokeAccessTokenResponse:
		t.stripScope(r.GetInfo())
	}
}

// stripScope shows the stream scope of another token as the holder sees streams:
// relative to the prefix, and not at all if it lies elsewhere.
func (t *Token) stripScope(info *samsav1.AccessTokenInfo) {
	streams := info.GetScope().GetStreams()
	if streams == nil {
		return
	}
	if !namesOf(streams).within(t.streams) {
		info.Scope.Streams = nil
		return
	}
	switch m := streams.GetMatching().(type) {
	case *samsav1.ResourceSet_Exact:
		m.Exact = strings.TrimPrefix(m.Exact, t.Prefix)
	case *samsav1.ResourceSet_Prefix:
		m.Prefix = strings.TrimPrefix(m.Prefix, t.Prefix)
	}
}

// stripError takes the token's prefix from the texts of an error.
func (c *call) stripError(err error) error {
	if err == nil || c.token.Prefix == "" {
		return err
	}
	return rewrite(err, c.stripText)
}

// stripText knows the places where texts name streams: whole, after a quote, and
// after the bucket. A quoted name is also written with escapes.
func (c *call) stripText(text string) string {
	prefix := c.token.Prefix
	escaped := strconv.Quote(prefix)
	escaped = escaped[1 : len(escaped)-1]
	var pairs []string
	for _, p := range []string{escaped, prefix} { // the longer one first
		pairs = append(pairs, `"`+p, `"`)
		if c.bucket != "" {
			pairs = append(pairs, c.bucket+"/"+p, c.bucket+"/")
		}
	}
	if c.stream != "" {
		pairs = append(pairs, prefix+c.stream, c.stream)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
