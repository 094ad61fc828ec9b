package rest

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/samsa-io/samsa/gen/openapi"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/router/internal/patient"
)

// documentPath is where the OpenAPI document is served.
const documentPath = "/api/v1/openapi.json"

// textMIME chooses the text marshaler inside the gateway.
const textMIME = "application/x-samsa-text"

// Config holds the limits of REST requests.
type Config struct {
	// MaxBodyBytes is the size of the largest request body.
	MaxBodyBytes int64
	// Bodies is for the bodies that are held; nil: any much.
	Bodies *limit.Room
	// MaxURLBytes is the size of the longest path with its query.
	MaxURLBytes int
	// MaxHeaderBytes is the size of the largest headers of a request.
	MaxHeaderBytes int
	// ReadTimeout is how long a client may take to send a body.
	ReadTimeout time.Duration
	// WriteTimeout is how long a client may take to accept one write.
	WriteTimeout time.Duration
	// Authorize refuses a call by the token in its metadata. It is asked before a body
	// is read; the gRPC server checks each call whole. nil: everybody may call.
	Authorize func(ctx context.Context, method string) error
	// Limits counts refusals; nil: nothing does.
	Limits *limit.Metrics
}

// Handler serves the REST API.
type Handler struct {
	config     Config
	log        *zap.Logger
	operations operations
	document   []byte
	gateway    *runtime.ServeMux
	streams    samsav1.StreamServiceClient
	json       *jsonMarshaler
	text       *textMarshaler
}

// New makes a handler that calls the API on conn.
func New(conn *grpc.ClientConn, config Config, log *zap.Logger) (*Handler, error) {
	h := &Handler{config: config, log: log, streams: samsav1.NewStreamServiceClient(conn), json: newJSONMarshaler()}
	var err error
	if h.operations, err = parseOperations(openapi.Document); err != nil {
		return nil, err
	}
	if h.document, err = publish(openapi.Document); err != nil {
		return nil, err
	}
	plain, err := newText()
	if err != nil {
		return nil, err
	}
	h.text = &textMarshaler{h.json, plain}
	return h, h.buildGateway(conn)
}

func (h *Handler) buildGateway(conn *grpc.ClientConn) error {
	fail := func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
		h.fail(w, r, err)
	}
	h.gateway = runtime.NewServeMux(
		// Splits at '/' alone and decodes each segment once.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, h.json),
		runtime.WithMarshalerOption(textMIME, h.text),
		runtime.WithErrorHandler(fail),
		runtime.WithIncomingHeaderMatcher(incomingHeader),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingTrailerMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithMetadata(requestIDMetadata),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		samsav1.RegisterAccountServiceHandler, samsav1.RegisterBucketServiceHandler, samsav1.RegisterStreamServiceHandler,
	} {
		if err := register(context.Background(), h.gateway, conn); err != nil {
			return fmt.Errorf("REST bindings: %w", err)
		}
	}
	// The last one registered is the first one matched.
	return h.gateway.HandlePath(http.MethodGet, "/api/v1/buckets/{bucket}/streams/{stream}/session", h.session)
}

// request is what is known of a request beside what stands in it.
type request struct {
	operation operation
	text      bool
	events    bool // wants server-sent events
}

type requestKey struct{}

func requestOf(r *http.Request) *request {
	if known, ok := r.Context().Value(requestKey{}).(*request); ok {
		return known
	}
	return &request{}
}

// ServeHTTP checks a request against the OpenAPI document and hands it to the
// gateway.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = patient.New(w, h.config.WriteTimeout)
	r = h.identify(w, r)
	if err := h.checkSizes(r); err != nil {
		h.fail(w, r, err)
		return
	}
	if r.URL.Path == documentPath {
		h.serveDocument(w, r)
		return
	}
	room := h.config.Bodies.Share()
	defer room.Leave()
	checked, err := h.check(w, r, room)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.gateway.ServeHTTP(w, checked)
}

// identify gives the request its id, a sane one of the client or a new one, and the
// response the headers that all have.
func (h *Handler) identify(w http.ResponseWriter, r *http.Request) *http.Request {
	id := r.Header.Get(rpc.RequestIDKey)
	if !rpc.SaneRequestID(id) {
		id = uuid.NewString()
	}
	w.Header().Set(rpc.RequestIDKey, id)
	// What a client stored is never taken for a page.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ctx := context.WithValue(r.Context(), requestKey{}, &request{})
	return r.WithContext(rpc.WithRequestID(ctx, id))
}

// checkSizes looks at what has been read by now, URL and headers.
func (h *Handler) checkSizes(r *http.Request) error {
	if limit := h.config.MaxURLBytes; len(r.RequestURI) > limit {
		h.config.Limits.Refused(urlLimit)
		return urlTooLong(limit)
	}
	if size, limit := rpc.HeaderBytes(r.Header), h.config.MaxHeaderBytes; size > limit {
		h.config.Limits.Refused(rpc.HeaderLimit)
		return &httpError{http.StatusRequestHeaderFieldsTooLarge, rpc.HeadersTooLarge(size, limit)}
	}
	return nil
}

// check returns the request as the gateway is to see it, or what is wrong. Its body
// counts in room.
func (h *Handler) check(w http.ResponseWriter, r *http.Request, room *limit.Share) (*http.Request, error) {
	found, values, err := h.operations.find(r.URL)
	if err != nil {
		return nil, invalid("%s", err)
	}
	if found.operations == nil {
		return nil, notFound(r)
	}
	known := requestOf(r)
	var ok bool
	if known.operation, ok = found.operations[r.Method]; !ok {
		w.Header().Set("Allow", found.allowed())
		return nil, wrongMethod(r, found.allowed())
	}
	for name, value := range values {
		if !utf8.ValidString(value) {
			return nil, invalid("the %s in the path is not UTF-8", name).In(name)
		}
	}
	query, err := checkQuery(r.URL.RawQuery, known)
	if err != nil {
		return nil, err
	}
	known.events = wantsEvents(r.Header)
	body := &bodyReader{bytes.NewReader(nil)} // an operation that takes none leaves it unread
	if known.operation.body {
		if err := h.authorize(w, r); err != nil {
			return nil, err
		}
		if body, err = h.readBody(w, r, values, room); err != nil {
			return nil, err
		}
	}
	return forGateway(r, known, query, body), nil
}

// authorize keeps the bodies of strangers out.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request) error {
	if h.config.Authorize == nil {
		return nil
	}
	md := metadata.MD{"authorization": r.Header.Values("Authorization")}
	err := h.config.Authorize(metadata.NewIncomingContext(r.Context(), md), requestOf(r).operation.rpc)
	if err != nil && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // net/http would wait for the body to answer
	}
	return err
}

// checkQuery refuses parameters that the operation does not have, and takes the
// one that is not the gateway's.
func checkQuery(raw string, known *request) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalid("query string: %s", err)
	}
	for name, values := range query {
		if !slices.Contains(known.operation.query, name) {
			return nil, invalid("unknown query parameter %q: %s", name, knownParameters(known.operation)).In(name)
		}
		for _, value := range values {
			if !utf8.ValidString(value) {
				return nil, invalid("query parameter %q is not UTF-8", name).In(name)
			}
		}
	}
	if query.Has(textParameter) {
		if known.text, err = strconv.ParseBool(query.Get(textParameter)); err != nil {
			return nil, invalid("query parameter text is %q: want true or false", query.Get(textParameter)).In(textParameter)
		}
		query.Del(textParameter)
	}
	return query, nil
}

func knownParameters(o operation) string {
	if len(o.query) == 0 {
		return "there are none"
	}
	return "want one of " + strings.Join(o.query, ", ")
}

func forGateway(r *http.Request, known *request, query url.Values, body *bodyReader) *http.Request {
	out := r.Clone(r.Context())
	out.URL.RawQuery = query.Encode()
	out.Body = body
	out.ContentLength = body.Size()
	out.Header.Del("Accept")
	out.Header.Del("Content-Type")
	if known.text {
		out.Header.Set("Accept", textMIME)
		out.Header.Set("Content-Type", textMIME)
	}
	return out
}

// wantsEvents tells whether the client accepts server-sent events.
func wantsEvents(header http.Header) bool {
	for _, accept := range header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, parameters, err := mime.ParseMediaType(part)
			if err == nil && kind == eventsType && parameters["q"] != "0" {
				return true
			}
		}
	}
	return false
}

// incomingHeader names the headers that become gRPC metadata, beside
// authorization.
func incomingHeader(name string) (string, bool) {
	switch name {
	case "Traceparent", "Tracestate", "Baggage":
		return strings.ToLower(name), true
	}
	return "", false
}
