package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

// bodyReader is a request body in memory.
type bodyReader struct{ *bytes.Reader }

func (bodyReader) Close() error { return nil }

// readBody reads a JSON body and checks what the gateway does not: its size, that
// it is one JSON value, and that it does not name another stream than the path.
// The body of an operation that takes none is left unread.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, path map[string]string) (*bodyReader, error) {
	if !requestOf(r).operation.body {
		return &bodyReader{bytes.NewReader(nil)}, nil
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &httpError{http.StatusUnsupportedMediaType, invalid("content-encoding %q is not supported: send the body as it is", encoding)}
	}
	if err := h.hold(r); err != nil {
		return nil, err
	}
	control := http.NewResponseController(w)
	// Without deadlines (as in tests) a slow body is the client's own affair.
	_ = control.SetReadDeadline(time.Now().Add(h.config.ReadTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.config.MaxBodyBytes))
	if err != nil {
		return nil, bodyError(err)
	}
	_ = control.SetReadDeadline(time.Time{})
	if body, err = checkBody(body, path); err != nil {
		return nil, err
	}
	return &bodyReader{bytes.NewReader(body)}, nil
}

// hold counts a body from before it is read to the end of the request. One whose
// size is not told counts for the largest.
func (h *Handler) hold(r *http.Request) error {
	size := h.config.MaxBodyBytes
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	if h.inFlight.Add(size) > h.config.MaxInflightBytes {
		h.inFlight.Add(-size)
		return tooMuchInFlight(h.config.MaxInflightBytes)
	}
	requestOf(r).held = size
	return nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge(large.Limit)
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
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, malformedJSON(err)
	}
	for name, value := range path {
		var given string
		if json.Unmarshal(fields[name], &given) == nil && given != "" && given != value {
			return nil, invalid("the body names %s %q, the path %q: leave it out of the body", name, given, value).In(name)
		}
	}
	return camelMask(body, fields)
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

// camelMask lets a field mask name fields as they stand in the API. protojson
// itself takes only camel case.
func camelMask(body []byte, fields map[string]json.RawMessage) ([]byte, error) {
	var mask string
	// A mask that is no string is for protojson to complain about.
	_ = json.Unmarshal(fields["mask"], &mask)
	if !strings.Contains(mask, "_") {
		return body, nil
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
