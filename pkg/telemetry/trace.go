package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Process is what traces say about where they come from.
type Process struct {
	Service, Instance, Version string
}

// NewTracer returns the tracer provider of a process, and what sends off the
// last spans and stops it. Without enable_otel_tracing it records nothing. The
// collector need not be there: spans wait in a bounded queue and are dropped
// when it is full.
func NewTracer(ctx context.Context, c Config, p Process) (trace.TracerProvider, func(context.Context) error, error) {
	if !c.EnableOtelTracing {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(c.OtelEndpoint), otlptracegrpc.WithTimeout(5*time.Second))
	if err != nil {
		return nil, nil, fmt.Errorf("observability.otel_endpoint = %q: %w", c.OtelEndpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		// Whoever began a trace decides whether it is recorded.
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.TraceSampleRatio))),
		sdktrace.WithResource(describe(p)),
	)
	return provider, provider.Shutdown, nil
}

func describe(p Process) *resource.Resource {
	return resource.NewSchemaless(
		attribute.String("service.namespace", "samsa"),
		attribute.String("service.name", p.Service),
		attribute.String("service.instance.id", p.Instance),
		attribute.String("service.version", p.Version),
	)
}
