//go:build compose

package compose

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func folder(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "deploy", name))
	require.NoError(t, err)
	return path
}

// image is the one that the running service has.
func (s stack) image(t *testing.T, service string) string {
	t.Helper()
	return strings.TrimSpace(docker(t, "inspect", "-f", "{{.Config.Image}}", s.containers(t, service)[0]))
}

func TestEnvoy_AcceptsItsConfiguration(t *testing.T) {
	s := newStack(t)
	certificates := t.TempDir()
	require.NoError(t, os.Chmod(certificates, 0o755)) //nolint:gosec // Envoy's user must see it
	validate := func() string {
		return docker(t, "run", "--rm", "--read-only", "-v", folder(t, "envoy")+":/etc/envoy:ro", "-v", certificates+":/certs:ro",
			"--entrypoint", "/bin/bash", s.image(t, "edge"), "-c", "/bin/bash /etc/envoy/start.sh --mode validate 2>&1")
	}
	plain := validate()
	require.Contains(t, plain, "no TLS")
	require.Contains(t, plain, "OK")

	run(t, "", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
		"-keyout", certificates+"/tls.key", "-out", certificates+"/tls.crt")
	require.NoError(t, os.Chmod(certificates+"/tls.key", 0o644)) //nolint:gosec // a key of this test alone
	secured := validate()
	require.Contains(t, secured, "TLS on 8443")
	require.Contains(t, secured, "loading 3 listener(s)")
}

func TestPrometheus_AcceptsItsConfigurationAndRules(t *testing.T) {
	s := newStack(t)
	out := docker(t, "exec", s.containers(t, "prometheus")[0], "promtool", "check", "config", "/etc/samsa/prometheus.yaml")
	require.Contains(t, out, "SUCCESS")
	require.Contains(t, out, "rules found")
}

// Names, types and helps of every metric that a program of ours shows.
func TestMetrics_KeepTheConventions(t *testing.T) {
	s := newStack(t)
	prometheus := s.containers(t, "prometheus")[0]
	for _, service := range []string{"account", "bucket", "router", "stream-reader", "stream-writer", "compactor"} {
		if len(s.containers(t, service)) == 0 {
			continue // absent here
		}
		metrics := docker(t, "exec", prometheus, "wget", "-q", "-O", "-", "http://"+service+":9090/metrics")
		require.Contains(t, metrics, "samsa_build_info")
		run(t, metrics, "docker", "exec", "-i", prometheus, "promtool", "check", "metrics")
	}
}

// query asks the running Prometheus.
func (s stack) query(t *testing.T, expression string) (results int) {
	t.Helper()
	response, err := http.Get("http://127.0.0.1:" + s.env["PROMETHEUS_PORT"] + "/api/v1/query?query=" + url.QueryEscape(expression))
	require.NoError(t, err)
	defer response.Body.Close() //nolint:errcheck // only read from
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", expression, answer.Error)
	return len(answer.Data.Result)
}

// dashboards requires that every panel's query parses, and returns data from a system
// under load. Only where nothing has gone wrong may a panel of what goes wrong be
// empty; and the compactor's may, where there is none.
func dashboards(t *testing.T, s stack) {
	files, err := filepath.Glob(folder(t, "grafana/dashboards") + "/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(body, &d))
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				got := s.query(t, target.Expr)
				if !mayBeEmpty(target.Expr) {
					require.Positive(t, got, "%s, %s: %s", filepath.Base(file), panel.Title, target.Expr)
				}
			}
		}
	}
}

func mayBeEmpty(expression string) bool {
	for _, part := range []string{`grpc_code!="OK"`, `job="compactor"`, "samsa_notify_dropped_total"} {
		if strings.Contains(expression, part) {
			return true
		}
	}
	return false
}
