package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

// bodyReader is a request body in memory.
type bodyReader struct{ *bytes.Reader }

func (bodyReader) Close() error { return nil }

// readBody reads a JSON body and checks what the gateway does not: its size, that
// it is one JSON value, and that it does not name another stream than the path.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, path map[string]string, room *limit.Share) (*bodyReader, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &httpError{http.StatusUnsupportedMediaType, invalid("content-encoding %q is not supported: send the body as it is", encoding)}
	}
	control := http.NewResponseController(w)
	// Without deadlines (as in tests) a slow body is the client's own affair.
	_ = control.SetReadDeadline(time.Now().Add(h.config.ReadTimeout))
	body, err := io.ReadAll(&countedReader{http.MaxBytesReader(w, r.Body, h.config.MaxBodyBytes), room})
	if err != nil {
		return nil, h.bodyError(err)
	}
	_ = control.SetReadDeadline(time.Time{})
	if body, err = checkBody(body, path); err != nil {
		return nil, err
	}
	return &bodyReader{bytes.NewReader(body)}, nil
}

// countedReader counts a body as it arrives: what a client only announces costs
// nothing, and keeps nobody else out.
type countedReader struct {
	body io.Reader
	room *limit.Share
}

// Read implements io.Reader.
func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if full := c.room.Grow(int64(n)); full != nil {
		return 0, full
	}
	return n, err
}

func (h *Handler) bodyError(err error) error {
	var large *http.MaxBytesError
	var full *limit.Exceeded
	switch {
	case errors.As(err, &large):
		h.config.Limits.Refused(bodyLimit)
		return tooLarge(large.Limit)
	case errors.As(err, &full):
		return full.RPC()
	case errors.Is(err, os.ErrDeadlineExceeded):
		h.config.Limits.Refused("router.body_timeout_ms")
	}
	return invalid("the request body could not be read: %s", err)
}

func checkBody(body []byte, path map[string]string) ([]byte, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if countObjects(body) > maxObjects {
		return nil, tooManyObjects()
	}
	// All else is passed over: kept as a map, 8 MiB of short names take 85.
	var fields struct{ Bucket, Stream, ID, Mask json.RawMessage }
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, malformedJSON(err)
	}
	for name, field := range map[string]json.RawMessage{"bucket": fields.Bucket, "stream": fields.Stream, "id": fields.ID} {
		var given string
		if value, ok := path[name]; ok && json.Unmarshal(field, &given) == nil && given != "" && given != value {
			return nil, invalid("the body names %s %q, the path %q: leave it out of the body", name, given, value).In(name)
		}
	}
	if fields.Mask == nil {
		return body, nil
	}
	return camelMask(body, fields.Mask)
}

// maxObjects is how many JSON objects a body may have: an empty header takes two
// bytes there, a hundred when decoded. A batch has at most 1 MiB metered, of which a
// header takes two bytes or more and a record eight.
const maxObjects = 1 + stream.MaxBatchRecords + stream.MaxBatchBytes/2

// countObjects counts the braces that open outside of strings.
func countObjects(body []byte) int {
	count, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '{' && !quoted:
			count++
		}
	}
	return count
}

func malformedJSON(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return invalid("malformed JSON at byte %d: %s", syntax.Offset, err)
	}
	return invalid("the body is no JSON object: %s", err)
}

// maxMaskedBody bounds a body with a mask, which is a configuration and small. The
// paths of a mask take many times its bytes when they are taken apart.
const maxMaskedBody = 64 << 10

// camelMask lets a field mask name fields as they stand in the API. protojson
// itself takes only camel case.
func camelMask(body []byte, given json.RawMessage) ([]byte, error) {
	if len(body) > maxMaskedBody {
		return nil, invalid("a request with a mask has at most %d bytes", maxMaskedBody).In("mask")
	}
	var mask string
	// A mask that is no string is for protojson to complain about.
	_ = json.Unmarshal(given, &mask)
	if !strings.Contains(mask, "_") {
		return body, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, malformedJSON(err)
	}
	parts := strings.Split(mask, "_")
	for i, part := range parts[1:] {
		if part != "" {
			parts[i+1] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	quoted, err := json.Marshal(strings.Join(parts, ""))
	if err != nil {
		return nil, err
	}
	fields["mask"] = quoted
	return json.Marshal(fields)
}

// requestIDMetadata sends the request's id to the gRPC server.
func requestIDMetadata(ctx context.Context, _ *http.Request) metadata.MD {
	return metadata.Pairs(rpc.RequestIDKey, rpc.RequestID(ctx))
}
