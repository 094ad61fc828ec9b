package deploy

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/samsa-io/samsa/pkg/config"
)

const root = "../.."

func read(t *testing.T, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return body
}

// composeFile is what these tests look at in compose.yaml, anchors resolved.
type composeFile struct {
	Services map[string]struct {
		Image       string            `json:"image"`
		User        string            `json:"user"`
		ReadOnly    bool              `json:"read_only"`
		Profiles    []string          `json:"profiles"`
		CapDrop     []string          `json:"cap_drop"`
		Environment map[string]string `json:"environment"`
		Healthcheck map[string]any    `json:"healthcheck"`
		DependsOn   map[string]any    `json:"depends_on"`
		Deploy      struct {
			Resources struct {
				Limits map[string]any `json:"limits"`
			} `json:"resources"`
		} `json:"deploy"`
	} `json:"services"`
}

func compose(t *testing.T) (c composeFile) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal(read(t, "compose.yaml"), &c))
	return c
}

func TestCompose_EveryServiceIsPinnedBoundedAndUnprivileged(t *testing.T) {
	unchecked := []string{"otel-collector", "jaeger", "volumes", "certificates", "samsa"} // compose.yaml says why
	for name, s := range compose(t).Services {
		require.NotEmpty(t, s.Profiles, name)
		require.Regexp(t, regexp.MustCompile(`:[^:]+$`), s.Image, name)
		require.NotContains(t, s.Image, ":latest", name)
		require.True(t, s.ReadOnly, "%s may write its root file system", name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Len(t, s.Deploy.Resources.Limits, 3, "%s needs limits of cpus, memory and pids", name)
		require.Equal(t, name == "volumes", strings.HasPrefix(s.User, "0"), "%s runs as %q", name, s.User)
		require.Equal(t, slices.Contains(unchecked, name), s.Healthcheck == nil, "health check of %s", name)
	}
}

// requireMemoryLimit checks that Go is told of a container's memory: nine tenths of it,
// so that what is not Go's heap has room.
func requireMemoryLimit(t *testing.T, name, told string, bytes int64) {
	t.Helper()
	mebibytes, err := strconv.ParseInt(strings.TrimSuffix(told, "MiB"), 10, 64)
	require.NoError(t, err, "GOMEMLIMIT of %s: %q", name, told)
	require.InDelta(t, 0.9, float64(mebibytes<<20)/float64(bytes), 0.01, "GOMEMLIMIT of %s", name)
}

func TestCompose_GoIsToldOfItsMemory(t *testing.T) {
	found := 0
	for name, s := range compose(t).Services {
		if _, ours := s.Environment["SAMSA_STORAGE_URL"]; ours {
			found++
			memory := strings.NewReplacer("M", "Mi", "G", "Gi").Replace(s.Deploy.Resources.Limits["memory"].(string))
			limit, err := resource.ParseQuantity(memory)
			require.NoError(t, err, name)
			requireMemoryLimit(t, name, s.Environment["GOMEMLIMIT"], limit.Value())
		}
	}
	require.Equal(t, 6, found)
}

// examples is every key of example.toml with its default.
func examples(t *testing.T) map[string]string {
	t.Helper()
	values, section := map[string]string{}, ""
	for line := range strings.Lines(string(read(t, "deploy/config/example.toml"))) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(name, "]") {
			section = strings.TrimSuffix(name, "]")
		} else if key, value, ok := strings.Cut(line, " = "); ok && !strings.HasPrefix(line, "#") {
			values[section+"."+key] = value
		}
	}
	return values
}

// requireBudget checks that what a program may hold by its limits, and a little for
// itself, is within what Go is told to use. deploy/README.md has the formulas.
func requireBudget(t *testing.T, program string, environment map[string]string) {
	t.Helper()
	const mebibyte = 1 << 20
	defaults := examples(t)
	value := func(key string) int64 {
		text, given := environment[config.Variable(key)]
		if !given {
			text = defaults[key]
		}
		n, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err, key)
		return n
	}
	budget := int64(50 * mebibyte)
	switch program {
	case "stream-writer":
		budget += value("storage.max_inflight_bytes")*5/4 + value("storage.recent_bytes") + value("stream_writer.index_bytes")
	case "stream-reader":
		for _, key := range []string{"cache_bytes", "fetch_bytes", "footer_cache_bytes", "live_bytes", "catch_up_bytes"} {
			budget += value("stream_reader." + key)
		}
		budget += value("stream_reader.max_sessions") * 2 * mebibyte / 5
	case "compactor":
		budget += value("compactor.parallel") * value("compactor.job_bytes") * 5
	case "router":
		budget += value("router.max_inflight_bytes")*2 + value("router.token_sessions")*6*mebibyte/5
	}
	told, err := strconv.ParseInt(strings.TrimSuffix(environment["GOMEMLIMIT"], "MiB"), 10, 64)
	require.NoError(t, err, program)
	require.LessOrEqual(t, budget/mebibyte, told, "%s may hold more MiB than GOMEMLIMIT", program)
}

func TestCompose_LimitsFitTheMemory(t *testing.T) {
	for name, s := range compose(t).Services {
		if _, ours := s.Environment["SAMSA_STORAGE_URL"]; ours {
			requireBudget(t, name, s.Environment)
		}
	}
}

func TestCompose_ProgramsKnowEachOtherByCertificatesOfTheirRoles(t *testing.T) {
	for name, s := range compose(t).Services {
		if _, ours := s.Environment["SAMSA_STORAGE_URL"]; ours {
			require.Equal(t, "/etc/samsa/tls/"+name+".pem", s.Environment["SAMSA_TLS_CERT_FILE"], name)
			require.Equal(t, "/etc/samsa/tls/"+name+"-key.pem", s.Environment["SAMSA_TLS_KEY_FILE"], name)
			require.Equal(t, "/etc/samsa/tls/ca.pem", s.Environment["SAMSA_TLS_CA_FILE"], name)
			require.Contains(t, s.DependsOn, "certificates", name)
		}
	}
}

// The root token is taken out once there is another one that may issue tokens.
func TestCompose_ComesUpWithoutARootToken(t *testing.T) {
	for name, s := range compose(t).Services {
		if token, ok := s.Environment["SAMSA_AUTH_ROOT_TOKEN"]; ok {
			require.Equal(t, "${SAMSA_ROOT_TOKEN:-}", token, name)
		}
	}
}

// What make writes into .env: what stands in .env.example is known to everybody.
func TestMake_MakesSecretsOfItsOwn(t *testing.T) {
	folder := t.TempDir()
	for _, file := range []string{"Makefile", ".env.example"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, file), read(t, file), 0o600))
	}
	secrets := func() map[string]string {
		out, err := exec.CommandContext(t.Context(), "make", "-s", "-C", folder, ".env").CombinedOutput()
		require.NoError(t, err, "%s", out)
		body, err := os.ReadFile(filepath.Join(folder, ".env"))
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(folder, ".env")))
		found := map[string]string{}
		given := strings.Split(string(read(t, ".env.example")), "\n")
		for i, line := range strings.Split(string(body), "\n") {
			if line != given[i] {
				name, secret, _ := strings.Cut(line, "=")
				require.True(t, strings.HasPrefix(given[i], name+"="), line)
				require.Regexp(t, "^[0-9a-f]{64}$", secret)
				found[name] = secret
			}
		}
		return found
	}
	first, second := secrets(), secrets()
	for _, name := range []string{"SAMSA_ROOT_TOKEN", "POSTGRES_PASSWORD", "S3_SECRET_ACCESS_KEY", "GRAFANA_PASSWORD"} {
		require.NotEmpty(t, first[name], name)
		require.NotEqual(t, first[name], second[name], name)
	}
	require.Len(t, first, 4)
}

func TestCompose_EveryVariableHasAnExample(t *testing.T) {
	given := string(read(t, ".env.example"))
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)`).FindAllStringSubmatch(string(read(t, "compose.yaml")), -1) {
		if m[1] != "SAMSA_TOKEN" { // of whoever runs the command line
			require.Regexp(t, regexp.MustCompile(`(?m)^#? ?#?`+m[1]+`=|\b`+m[1]+`=`), given, "%s is not in .env.example", m[1])
		}
	}
}

func TestYAML_Decodes(t *testing.T) {
	files := []string{
		"deploy/envoy/envoy.yaml", "deploy/envoy/certificate.yaml", "deploy/otel/collector.yaml", "deploy/prometheus/prometheus.yaml", "deploy/prometheus/alerts.yaml",
		"deploy/grafana/provisioning/datasources/samsa.yaml", "deploy/grafana/provisioning/dashboards/samsa.yaml",
	}
	for _, file := range files {
		var decoded map[string]any
		require.NoError(t, yaml.Unmarshal(read(t, file), &decoded), file)
		require.NotEmpty(t, decoded, file)
	}
}

// envoyFile is what these tests look at in envoy.yaml.
type envoyFile struct {
	OverloadManager struct {
		Monitors []struct {
			Name   string         `json:"name"`
			Config map[string]any `json:"typed_config"`
		} `json:"resource_monitors"`
		Actions []struct {
			Name string `json:"name"`
		} `json:"actions"`
	} `json:"overload_manager"`
	StaticResources struct {
		Listeners []struct {
			Name   string `json:"name"`
			Bypass bool   `json:"bypass_overload_manager"`
			Buffer int    `json:"per_connection_buffer_limit_bytes"`
			Chains []struct {
				Filters []struct {
					Config struct {
						StreamIdle  string `json:"stream_idle_timeout"`
						StreamFlush string `json:"stream_flush_timeout"`
						HTTP2       struct {
							Window int `json:"initial_stream_window_size"`
						} `json:"http2_protocol_options"`
					} `json:"typed_config"`
				} `json:"filters"`
			} `json:"filter_chains"`
		} `json:"listeners"`
	} `json:"static_resources"`
}

// Sessions may be silent for ever, so it takes other bounds on what the edge keeps for
// clients that take nothing, all of them below its container's memory.
func TestEnvoy_BoundsWhatItKeepsForStalledClients(t *testing.T) {
	var e envoyFile
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/envoy/envoy.yaml"), &e))
	for _, l := range e.StaticResources.Listeners {
		require.Equal(t, l.Name == "metrics", l.Bypass, "whoever looks at the edge must see it when it is full")
		if l.Name != "metrics" {
			http := l.Chains[0].Filters[0].Config
			require.Equal(t, "0s", http.StreamIdle, l.Name)
			require.Equal(t, "60s", http.StreamFlush, l.Name)
			require.Equal(t, 256<<10, http.HTTP2.Window, l.Name)
			require.Equal(t, 256<<10, l.Buffer, l.Name)
		}
	}
	limits := map[string]any{}
	for _, m := range e.OverloadManager.Monitors {
		limits[m.Name] = cmp.Or(m.Config["max_heap_size_bytes"], m.Config["max_active_downstream_connections"])
	}
	require.EqualValues(t, 400<<20, limits["envoy.resource_monitors.fixed_heap"])
	require.Equal(t, "512M", compose(t).Services["edge"].Deploy.Resources.Limits["memory"])
	require.Contains(t, limits, "envoy.resource_monitors.global_downstream_max_connections")
	actions := []string{}
	for _, a := range e.OverloadManager.Actions {
		actions = append(actions, a.Name)
	}
	require.Subset(t, actions, []string{"envoy.overload_actions.reset_high_memory_stream", "envoy.overload_actions.stop_accepting_requests"})
}

type dashboard struct {
	UID    string `json:"uid"`
	Title  string `json:"title"`
	Panels []struct {
		Type       string `json:"type"`
		Title      string `json:"title"`
		Datasource struct {
			UID string `json:"uid"`
		} `json:"datasource"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
}

func TestGrafana_DashboardsNameSourcesThatAreProvisioned(t *testing.T) {
	var sources struct {
		Datasources []struct {
			UID string `json:"uid"`
		} `json:"datasources"`
	}
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/grafana/provisioning/datasources/samsa.yaml"), &sources))
	known := map[string]bool{}
	for _, s := range sources.Datasources {
		known[s.UID] = true
	}
	files, err := filepath.Glob(root + "/deploy/grafana/dashboards/*.json")
	require.NoError(t, err)
	require.Len(t, files, 8)
	seen := map[string]bool{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		var d dashboard
		require.NoError(t, json.Unmarshal(body, &d), file)
		require.False(t, seen[d.UID], "%s is used twice", d.UID)
		seen[d.UID] = true
		for _, p := range d.Panels {
			if p.Type != "row" {
				require.True(t, known[p.Datasource.UID], "%s: %s", file, p.Title)
				require.NotEmpty(t, p.Targets, "%s: %s", file, p.Title)
			}
		}
	}
}

// Each alert has its heading in the guide, which says what to do, and each such
// heading its alert.
func TestPrometheus_EachAlertIsExplained(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string            `json:"alert"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/prometheus/alerts.yaml"), &rules))
	guide := string(read(t, "deploy/README.md"))
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			require.Contains(t, guide, "\n### "+rule.Alert+"\n\n", "the guide has no heading for the alert")
			guide = strings.Replace(guide, "### "+rule.Alert+"\n", "", 1)
			require.NotEmpty(t, rule.Labels["severity"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		}
	}
	require.NotContains(t, guide, "\n### Samsa", "the guide explains an alert that there is not")
}

func TestGuide_NamesSettingsThatThereAre(t *testing.T) {
	known := examples(t)
	named := regexp.MustCompile("`((?:server|storage|database|nats|auth|observability|router|account|bucket|stream_writer|stream_reader|compactor)\\.[a-z0-9_.]+|tls\\.[a-z]+_[a-z_]+)`")
	for _, m := range named.FindAllStringSubmatch(string(read(t, "deploy/README.md")), -1) {
		require.Contains(t, known, m[1], "deploy/config/example.toml has no such key")
	}
}

func TestPrometheus_EachAlertIsTested(t *testing.T) {
	tests := string(read(t, "deploy/prometheus/alerts_test.yaml"))
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)`).FindAllStringSubmatch(string(read(t, "deploy/prometheus/alerts.yaml")), -1) {
		quiet := regexp.MustCompile(`\{eval_time: \w+, alertname: ` + m[1] + `\}`)
		require.Regexp(t, quiet, tests, "no test that the alert keeps quiet")
		fires := regexp.MustCompile(`(?s)alertname: ` + m[1] + `\n +exp_alerts:`)
		require.Regexp(t, fires, tests, "no test that the alert fires")
	}
}

// The image's build downloads modules before it sees the code: it needs the go.mod of
// each module in the workspace.
func TestDockerfile_CopiesEveryModule(t *testing.T) {
	dockerfile := string(read(t, "deploy/Dockerfile"))
	modules := regexp.MustCompile(`(?m)^\s+\./(\S+)$`).FindAllStringSubmatch(string(read(t, "go.work")), -1)
	require.NotEmpty(t, modules)
	for _, m := range modules {
		require.Contains(t, dockerfile, "\nCOPY "+m[1]+"/go.* "+m[1]+"/\n")
	}
	for _, image := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		require.True(t, image[1] == "scratch" || strings.Contains(image[1], ":"), "%s is not pinned", image[1])
	}
}
