//go:build compose

package compose

import (
	"bufio"
	"cmp"
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
)

const root = "../.."

// stack is the running system, as an operator sees it.
type stack struct{ env map[string]string }

func newStack(t *testing.T) stack {
	t.Helper()
	file, err := os.Open(root + "/" + envFile())
	require.NoError(t, err)
	defer file.Close()
	s := stack{env: map[string]string{}}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), "="); found && !strings.HasPrefix(key, "#") {
			s.env[key] = value
		}
	}
	return s
}

func envFile() string { return cmp.Or(os.Getenv("SAMSA_TEST_ENV_FILE"), ".env.example") }

func (s stack) url() string { return "http://127.0.0.1:" + s.env["SAMSA_PORT"] }

func (s stack) token() string { return s.env["SAMSA_ROOT_TOKEN"] }

func (s stack) client(t *testing.T, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(s.url(), append([]client.Option{client.WithToken(s.token())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// request is one of REST.
func (s stack) request(ctx context.Context, t *testing.T, method, path, accept, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, s.url()+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+s.token())
	r.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// compose runs Docker Compose on the very file that users run.
func (s stack) compose(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	binary := cmp.Or(os.Getenv("SAMSA_TEST_COMPOSE"), root+"/bin/docker-compose")
	return run(t, stdin, binary, append([]string{
		"--project-name", cmp.Or(os.Getenv("COMPOSE_PROJECT_NAME"), "samsa-test"), "--project-directory", root, "--env-file", root + "/" + envFile(), "--profile", "full", "--profile", "cli"}, args...)...)
}

// cli runs the command line in its container.
func (s stack) cli(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	return s.compose(t, stdin, append([]string{"run", "--rm", "-T", "--no-deps", "--pull", "never", "samsa"}, args...)...)
}

func (s stack) containers(t *testing.T, service string) []string {
	t.Helper()
	return strings.Fields(s.compose(t, "", "ps", "-q", service))
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", "docker", args...)
}

func run(t *testing.T, stdin, program string, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	require.NoError(t, cmd.Run(), "%s %s: %s%s", program, strings.Join(args, " "), out.String(), errs.String())
	return out.String()
}

// awaitHealthy waits until a container's own health check is content.
func awaitHealthy(t *testing.T, container string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return strings.TrimSpace(docker(t, "inspect", "-f", "{{.State.Health.Status}}", container)) == "healthy"
	}, 2*time.Minute, 250*time.Millisecond, "%s does not get healthy", container)
}
