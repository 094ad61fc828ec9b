package service

import (
	"bytes"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap/zaptest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/samsa-io/samsa/pkg/telemetry"
)

// healthOf runs the health command against a port of this host.
func healthOf(t *testing.T, port string) (code int, stdout, stderr string) {
	t.Helper()
	c := Default()
	var out, errs bytes.Buffer
	p := Program{Name: "test", Config: &c, Module: func() fx.Option { panic("the program itself must not start") }}
	code = p.Run([]string{"health", "--observability.metrics_port", port}, []string{"SERVER_ADDRESS=0.0.0.0"}, &out, &errs)
	return code, out.String(), errs.String()
}

func serveAdmin(t *testing.T, h *telemetry.Health) (port string) {
	t.Helper()
	server := httptest.NewServer(telemetry.AdminHandler(prometheus.NewRegistry(), h, zaptest.NewLogger(t)))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	return u.Port()
}

func TestHealthCommand_TellsWhetherTheProgramIsReady(t *testing.T) {
	h := telemetry.NewHealth()
	port := serveAdmin(t, h)
	h.Component("nats").Degraded("not connected")
	code, stdout, _ := healthOf(t, port)
	require.Equal(t, ExitOK, code, "degraded is not dead")
	require.Contains(t, stdout, "not connected")

	h.Component("store").Down("gone")
	code, stdout, _ = healthOf(t, port)
	require.Equal(t, ExitFailed, code)
	require.Contains(t, stdout, "gone")
}

func TestHealthCommand_FailsWhenNobodyAnswers(t *testing.T) {
	code, _, stderr := healthOf(t, "1")
	require.Equal(t, ExitFailed, code)
	require.Contains(t, stderr, "refused")
}

func TestHealthCommand_NeedsAKnownPort(t *testing.T) {
	code, _, stderr := healthOf(t, "0")
	require.Equal(t, ExitUsage, code)
	require.Contains(t, stderr, "observability.metrics_port")
}
