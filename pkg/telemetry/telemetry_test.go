package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLevels(t *testing.T) {
	levels, err := ParseLevels("warn, writer=debug,writer.log=error")
	require.NoError(t, err)
	for logger, want := range map[string]zapcore.Level{
		"": zapcore.WarnLevel, "reader": zapcore.WarnLevel, "writers": zapcore.WarnLevel,
		"writer": zapcore.DebugLevel, "writer.chain": zapcore.DebugLevel, "writer.log": zapcore.ErrorLevel, "writer.log.put": zapcore.ErrorLevel,
	} {
		require.Equal(t, want, levels.Of(logger), logger)
	}
	levels, err = ParseLevels("writer=debug")
	require.NoError(t, err)
	require.Equal(t, zapcore.InfoLevel, levels.Of("reader"))
	require.Equal(t, zapcore.WarnLevel, levels.Of("etcd"), "its client is too talkative at info")
	for _, bad := range []string{"loud", "info,writer=loud", "info,=debug", "info,,", ""} {
		_, err := ParseLevels(bad)
		require.Error(t, err, bad)
	}
}

func TestLogger_WritesJSONByModuleLevel(t *testing.T) {
	var out bytes.Buffer
	c := Default()
	c.LogLevel, c.ServiceName = "info,writer=debug", "samsa-prod"
	log, err := NewLogger(c, &out)
	require.NoError(t, err)
	log.Debug("unseen")
	log.Named("writer").With(zap.Int("slot", 7)).Debug("seen")
	log.Named("reader").Debug("unseen")
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	require.Equal(t, "seen", line["msg"])
	require.Equal(t, "writer", line["logger"])
	require.Equal(t, "samsa-prod", line["service"])
	require.EqualValues(t, 7, line["slot"])
	require.NotEmpty(t, line["time"])
}

func TestLogger_WritesForPeopleWhenAsked(t *testing.T) {
	var out bytes.Buffer
	c := Default()
	c.LogFormat = FormatConsole
	log, err := NewLogger(c, &out)
	require.NoError(t, err)
	log.Info("hello", zap.Int("slot", 7))
	require.Contains(t, out.String(), "\thello\t{\"slot\": 7}")
}

func TestLogger_RefusesUnknownLevels(t *testing.T) {
	c := Default()
	c.LogLevel = "info,writer=loud"
	_, err := NewLogger(c, io.Discard)
	require.ErrorContains(t, err, `"loud"`)
	require.Len(t, c.Validate(), 1)
}

func TestConfig_ValidateNamesEveryProblem(t *testing.T) {
	d := Default()
	require.Empty(t, d.Validate())
	c := Config{MetricsPort: 70000, LogLevel: "x", LogFormat: "xml", EnableOtelTracing: true, OtelEndpoint: "otel:4317", TraceSampleRatio: 2}
	require.Len(t, c.Validate(), 5)
}

func TestRegistry_KnowsTheBuild(t *testing.T) {
	reg := NewRegistry("v1.2.3")
	require.Equal(t, 1, testutil.CollectAndCount(reg, "samsa_build_info"))
	require.Equal(t, 1, testutil.CollectAndCount(reg, "go_goroutines"))
	NewRegistry("v1.2.3") // two in one process do not collide
}

func TestTracer_NeedsNoCollector(t *testing.T) {
	off, stop, err := NewTracer(t.Context(), Default(), Process{})
	require.NoError(t, err)
	require.IsType(t, noop.TracerProvider{}, off)
	require.NoError(t, stop(t.Context()))

	c := Default()
	c.EnableOtelTracing, c.OtelEndpoint = true, "http://127.0.0.1:1"
	on, stop, err := NewTracer(t.Context(), c, Process{Service: "writer"})
	require.NoError(t, err)
	require.NotNil(t, on.Tracer("x"))
	require.NoError(t, stop(t.Context()))
}

func TestHealth_IsAsGoodAsItsWorstPart(t *testing.T) {
	h := NewHealth()
	require.True(t, h.Status().Ready())
	server, nats := h.Component("server"), h.Component("nats")
	require.False(t, h.Status().Ready(), "a part that has not reported is down")
	server.OK()
	nats.Report(errors.New("no servers"))
	require.Equal(t, Status{State: Degraded, Components: []ComponentStatus{
		{Name: "nats", State: Degraded, Reason: "no servers"}, {Name: "server", State: OK},
	}}, h.Status())
	require.True(t, h.Status().Ready())
	nats.Report(nil)
	require.Equal(t, OK, h.Status().State)

	var etcd error
	h.Watch("etcd", func() error { return etcd })
	require.Equal(t, OK, h.Status().State)
	etcd = errors.New("no leader")
	require.Equal(t, Degraded, h.Status().State)

	h.Stop()
	require.False(t, h.Status().Ready())
}

func TestAdmin_ServesMetricsHealthAndReadiness(t *testing.T) {
	h := NewHealth()
	admin := NewAdmin("127.0.0.1:0", NewRegistry("v1"), h, zap.NewNop())
	require.NoError(t, admin.Start(t.Context()))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		response, err := client.Get("http://" + admin.Address() + path)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, strings.TrimSpace(string(body))
	}
	code, body := get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "samsa_build_info{")
	require.Contains(t, body, "process_open_fds")

	h.Component("postgres").Degraded("does not answer")
	code, body = get("/readyz")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"degraded","components":[{"name":"postgres","status":"degraded","reason":"does not answer"}]}`, body)

	h.Component("server").Down("starting")
	code, _ = get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	code, body = get("/healthz")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"ok"}`, body)

	require.NoError(t, admin.Stop(t.Context()))
	_, err := client.Get("http://" + admin.Address() + "/healthz")
	require.Error(t, err)
}

func TestAdmin_SaysWhatToDoAboutATakenPort(t *testing.T) {
	first := NewAdmin("127.0.0.1:0", NewRegistry("v1"), NewHealth(), zap.NewNop())
	require.NoError(t, first.Start(t.Context()))
	second := NewAdmin(first.Address(), NewRegistry("v1"), NewHealth(), zap.NewNop())
	require.ErrorContains(t, second.Start(t.Context()), "observability.metrics_port")
	require.NoError(t, first.Stop(t.Context()))
}

func TestHealthCollector_TellsEachComponentsState(t *testing.T) {
	health := NewHealth()
	health.Component("nats").OK()
	health.Component("postgres").Degraded("gone")
	require.NoError(t, testutil.CollectAndCompare(NewHealthCollector(health), strings.NewReader(`
		# HELP samsa_component_state 1 for the state that a component of the program is in, such as its connection to Postgres, NATS or etcd.
		# TYPE samsa_component_state gauge
		samsa_component_state{component="nats",state="degraded"} 0
		samsa_component_state{component="nats",state="down"} 0
		samsa_component_state{component="nats",state="ok"} 1
		samsa_component_state{component="postgres",state="degraded"} 1
		samsa_component_state{component="postgres",state="down"} 0
		samsa_component_state{component="postgres",state="ok"} 0
	`)))
}
