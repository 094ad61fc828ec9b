package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
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
	unchecked := []string{"otel-collector", "jaeger", "volumes", "samsa"} // compose.yaml says why
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
		"deploy/envoy/envoy.yaml", "deploy/otel/collector.yaml", "deploy/prometheus/prometheus.yaml", "deploy/prometheus/alerts.yaml",
		"deploy/grafana/provisioning/datasources/samsa.yaml", "deploy/grafana/provisioning/dashboards/samsa.yaml",
	}
	for _, file := range files {
		var decoded map[string]any
		require.NoError(t, yaml.Unmarshal(read(t, file), &decoded), file)
		require.NotEmpty(t, decoded, file)
	}
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
	known := map[string]bool{}
	section := ""
	for line := range strings.Lines(string(read(t, "deploy/config/example.toml"))) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "["); ok && strings.HasSuffix(name, "]") {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		if key, _, ok := strings.Cut(line, " = "); ok {
			known[section+"."+key] = true
		}
	}
	named := regexp.MustCompile("`((?:server|storage|database|nats|auth|observability|router|account|bucket|stream_writer|stream_reader|compactor)\\.[a-z0-9_.]+|tls\\.[a-z]+_[a-z_]+)`")
	for _, m := range named.FindAllStringSubmatch(string(read(t, "deploy/README.md")), -1) {
		require.True(t, known[m[1]], "deploy/config/example.toml has no %s", m[1])
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
