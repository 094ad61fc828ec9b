package access

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
)

// spans receives traces and keeps every different text in them.
type spans struct {
	collectorv1.UnimplementedTraceServiceServer
	endpoint string

	mu    sync.Mutex
	texts map[string]bool
}

func receiveSpans(t *testing.T) *spans {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &spans{endpoint: "http://" + ln.Addr().String(), texts: map[string]bool{}}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return s
}

// env has all calls traced to here.
func (s *spans) env() []string {
	return []string{
		"SAMSA_OBSERVABILITY_ENABLE_OTEL_TRACING=true",
		"SAMSA_OBSERVABILITY_OTEL_ENDPOINT=" + s.endpoint,
		"SAMSA_OBSERVABILITY_TRACE_SAMPLE_RATIO=1",
	}
}

// Export takes what a program sends.
func (s *spans) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		s.keep(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.texts[span.GetName()], s.texts[span.GetStatus().GetMessage()], s.texts[span.GetTraceState()] = true, true, true
				s.keep(span.GetAttributes())
				for _, event := range span.GetEvents() {
					s.texts[event.GetName()] = true
					s.keep(event.GetAttributes())
				}
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// keep takes attributes. The lock is held.
func (s *spans) keep(attributes []*commonv1.KeyValue) {
	for _, a := range attributes {
		s.texts[a.GetKey()+"="+a.GetValue().String()] = true
	}
}

// all is every text so far, one a line.
func (s *spans) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for text := range s.texts {
		b.WriteString(text + "\n")
	}
	return b.String()
}
