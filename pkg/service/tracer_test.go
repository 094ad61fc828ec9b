package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/goleak"
)

func TestApp_StopsCleanlyWithoutACollector(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c := testConfig(t)
	c.Observability.EnableOtelTracing, c.Observability.TraceSampleRatio = true, 1
	c.Observability.OtelEndpoint = "http://127.0.0.1:1"
	var tracer trace.TracerProvider
	app := newApp(t, c, fx.Populate(&tracer))
	require.NoError(t, app.Start(t.Context()))
	_, span := tracer.Tracer("test").Start(t.Context(), "nobody will see it")
	span.End()
	require.NoError(t, app.Stop(t.Context()))
	// The exporter's last attempt outlives the stop, up to its own time-out.
	require.Eventually(t, func() bool { return goleak.Find(before) == nil }, 15*time.Second, 100*time.Millisecond)
}
