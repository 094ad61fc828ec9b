//go:build compose

package compose

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
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
	certificates, inside := t.TempDir(), t.TempDir()
	validate := func() string {
		return docker(t, "run", "--rm", "--read-only", "-v", folder(t, "envoy")+":/etc/envoy:ro", "-v", certificates+":/certs:ro", "-v", inside+":/etc/samsa/tls:ro",
			"--entrypoint", "/bin/bash", s.image(t, "edge"), "-c", "/bin/bash /etc/envoy/start.sh --mode validate 2>&1")
	}
	plain := validate()
	require.Contains(t, plain, "no TLS")
	require.Contains(t, plain, "OK")

	require.Contains(t, plain, "clear text to the routers")

	certificates, inside = newCertificates(t), newCertificates(t)
	require.NoError(t, os.Rename(inside+"/tls.crt", inside+"/ca.pem"))
	secured := validate()
	require.Contains(t, secured, "TLS on 8443")
	require.Contains(t, secured, "TLS to the routers")
	require.Contains(t, secured, "loading 3 listener(s)")
}

// newCertificates is a folder with tls.crt and tls.key for localhost.
func newCertificates(t *testing.T) string {
	t.Helper()
	certificates := t.TempDir()
	run(t, "", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
		"-addext", "subjectAltName=DNS:localhost", "-keyout", certificates+"/tls.key", "-out", certificates+"/tls.crt")
	// The edge's user has to read them.
	require.NoError(t, os.Chmod(certificates, 0o755))
	require.NoError(t, os.Chmod(certificates+"/tls.key", 0o644))
	return certificates
}

func TestPrometheus_AcceptsItsConfigurationAndRules(t *testing.T) {
	s := newStack(t)
	prometheus := s.containers(t, "prometheus")[0]
	out := docker(t, "exec", prometheus, "promtool", "check", "config", "/etc/samsa/prometheus.yaml")
	require.Contains(t, out, "SUCCESS")
	require.Contains(t, out, "rules found")
	out = docker(t, "run", "--rm", "--read-only", "--tmpfs", "/tmp:mode=1777", "-v", folder(t, "prometheus")+":/etc/samsa:ro",
		"--entrypoint", "/bin/promtool", s.image(t, "prometheus"), "test", "rules", "/etc/samsa/alerts_test.yaml")
	require.Contains(t, out, "SUCCESS")
}

// An alert about a figure that nobody shows would never fire.
func TestAlerts_GoByFiguresThatThereAre(t *testing.T) {
	s := newStack(t)
	rules, err := os.ReadFile(folder(t, "prometheus") + "/alerts.yaml")
	require.NoError(t, err)
	names := regexp.MustCompile(`\b(?:samsa|grpc_server|envoy_http_downstream|process|go)_[a-z0-9_]+`).FindAllString(string(rules), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.Positive(t, s.query(t, name), name)
	}
}

// Names, types and helps of every metric that a program of ours shows.
func TestMetrics_KeepTheConventions(t *testing.T) {
	s := newStack(t)
	prometheus := s.containers(t, "prometheus")[0]
	for _, service := range []string{"account", "bucket", "router", "stream-reader", "stream-writer", "compactor"} {
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
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", expression, answer.Error)
	return len(answer.Data.Result)
}

// dashboards requires that every panel's query parses, and returns data from a system
// under load in which each service has refused a call.
func dashboards(t *testing.T, s stack) {
	refusedCalls(t, s)
	files, err := filepath.Glob(folder(t, "grafana/dashboards") + "/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	queries := 0
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
				// A rate takes two looks of Prometheus.
				require.Eventually(t, func() bool { return s.query(t, target.Expr) > 0 }, 30*time.Second, time.Second,
					"%s, %s is empty: %s", filepath.Base(file), panel.Title, target.Expr)
				queries++
			}
		}
	}
	t.Logf("%d queries of %d dashboards return data", queries, len(files))
}

// refusedCalls has each service refuse something.
func refusedCalls(t *testing.T, s stack) {
	t.Helper()
	c := s.client(t)
	stream := c.Bucket(bucket).Stream("my-stream")
	for service, call := range map[string]func(context.Context) error{
		"account": func(ctx context.Context) error { _, err := c.BucketConfig(ctx, "no-such-bucket"); return err },
		"bucket": func(ctx context.Context) error {
			_, err := c.Bucket(bucket).StreamConfig(ctx, "no-such-stream")
			return err
		},
		"stream-writer": func(ctx context.Context) error {
			_, err := stream.Append(ctx, client.AppendInput{
				Records: []client.AppendRecord{{Body: []byte("x")}}, Conditions: client.Conditions{MatchSeqNum: new(uint64(1 << 40))}})
			return err
		},
		"stream-reader": func(ctx context.Context) error {
			_, err := stream.Read(ctx, client.Read{Start: client.FromSeqNum(1 << 40)})
			return err
		},
	} {
		require.Error(t, call(t.Context()), service)
	}
}
