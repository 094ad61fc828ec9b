package rpc

import (
	"context"
	"fmt"
	"strings"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// callBuckets are the bounds, in seconds, of the handling-time histograms.
func callBuckets() []float64 {
	return []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}
}

// Metrics counts and times calls, for all servers and connections of a process.
// A nil *Metrics counts nothing.
type Metrics struct {
	server *grpcprom.ServerMetrics
	client *grpcprom.ClientMetrics
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		server: grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(grpcprom.WithHistogramBuckets(callBuckets()))),
		client: grpcprom.NewClientMetrics(grpcprom.WithClientHandlingTimeHistogram(grpcprom.WithHistogramBuckets(callBuckets()))),
	}
	for _, c := range []prometheus.Collector{m.server, m.client} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register gRPC metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) unaryServer() grpc.UnaryServerInterceptor {
	if m == nil {
		return passUnary
	}
	return m.server.UnaryServerInterceptor()
}

// streamServer counts only methods that exist: what the handler of unknown
// services is called for comes from the client, and would make labels without
// end.
func (m *Metrics) streamServer() grpc.StreamServerInterceptor {
	if m == nil {
		return passStream
	}
	count := m.server.StreamServerInterceptor()
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if !methodExists(info.FullMethod) {
			return handler(srv, ss)
		}
		return count(srv, ss, info, handler)
	}
}

func methodExists(fullMethod string) bool {
	service, method, ok := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if !ok {
		return false
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return false
	}
	desc, ok := d.(protoreflect.ServiceDescriptor)
	return ok && desc.Methods().ByName(protoreflect.Name(method)) != nil
}

func passUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(ctx, req)
}

func passStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, ss)
}
