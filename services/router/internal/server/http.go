package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/services/router/internal/patient"
)

const (
	// readHeaderTimeout and idleTimeout bound what a silent connection costs.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// A client that answers no ping for so long is gone.
	pingEvery   = 15 * time.Second
	pingTimeout = 15 * time.Second
	// maxHeaderBytes is what net/http itself reads of headers. It answers what is
	// larger with a bare 431; up to there server.max_header_bytes is told of.
	maxHeaderBytes = 1 << 20
	// maxStreams is how many calls one HTTP/2 connection may have under way.
	maxStreams = 10_000
)

// Handlers are what stands behind the HTTP port.
type Handlers struct {
	GRPC   http.Handler // for requests whose content type is gRPC's
	REST   http.Handler // for all paths but those of Health and the index
	Health http.Handler // for /healthz and /readyz

	writeTimeout time.Duration
}

// NewHTTP returns a server for HTTP/1.1 and HTTP/2, without TLS or, on a
// listener that has it, with. It has no
// time-out for whole responses, since sessions live long: the REST handler sets
// one for each write, and HTTP/2 pings find dead clients.
func NewHTTP(handlers Handlers, writeTimeout time.Duration, log *zap.Logger) *http.Server {
	handlers.writeTimeout = writeTimeout
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true) // where the listener has TLS
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handlers,
		Protocols:         protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      pingEvery,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     writeTimeout,
		},
		ErrorLog: zap.NewStdLog(log),
	}
}

// ServeHTTP sends a request to its handler. Paths are matched as they came: a
// stream's name may hold dots and slashes that net/http's mux would clean away.
func (h Handlers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		body := newWindow(r.Body)
		r = r.WithContext(withWindow(r.Context(), body))
		r.Body = body
		h.GRPC.ServeHTTP(patient.New(w, h.writeTimeout), r)
		return
	}
	switch r.URL.Path {
	case "/healthz", "/readyz":
		h.Health.ServeHTTP(w, r)
	case "/":
		serveIndex(w)
	default:
		h.REST.ServeHTTP(w, r)
	}
}

// index tells whoever comes by hand what there is.
func index() map[string]string {
	return map[string]string{
		"name":    "Samsa",
		"about":   "A distributed store for streams of records.",
		"api":     "/api/v1/buckets",
		"openapi": "/api/v1/openapi.json",
		"health":  "/healthz",
		"ready":   "/readyz",
		"grpc":    "samsa.v1 on this port (HTTP/2), with reflection and health",
	}
}

func serveIndex(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// The caller is gone if this fails.
	_ = encoder.Encode(index())
}
