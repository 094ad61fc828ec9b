package service

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
)

func TestApp_StopsCleanlyWithoutACollector(t *testing.T) {
	c := testConfig(t)
	c.Observability.EnableOtelTracing, c.Observability.TraceSampleRatio = true, 1
	c.Observability.OtelEndpoint = "http://127.0.0.1:1"
	var tracer trace.TracerProvider
	app := newApp(t, c, fx.Populate(&tracer))
	require.NoError(t, app.Start(t.Context()))
	_, span := tracer.Tracer("test").Start(t.Context(), "nobody will see it")
	span.End()
	require.NoError(t, app.Stop(t.Context()))
}
