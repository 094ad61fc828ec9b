package access

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

// secrets looks through everything that the programs have emitted by now, after wrong
// tokens, outages and deaths, for anything secret.
func secrets(t *testing.T, s *site) {
	// A token in a place where it does not belong.
	misplaced := s.issue(t, &samsav1.AccessTokenInfo{})
	_, err := s.account().GetBucketConfig(as(misplaced+"x"), &samsav1.GetBucketConfigRequest{Bucket: "a-bucket"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), misplaced)

	hidden := append([]string{s.Access.RootToken}, s.secrets...)
	for _, entry := range s.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.Contains(name, "SECRET") || strings.Contains(name, "PASSWORD") {
			hidden = append(hidden, value)
		}
	}
	hidden = append(hidden, passwordOf(s.Environ())...)
	for _, key := range []string{"public-key.pem", "router-key.pem"} {
		pem, err := os.ReadFile(filepath.Join(s.Access.Folder, key))
		require.NoError(t, err)
		hidden = append(hidden, strings.Split(string(pem), "\n")[1])
	}
	emitted := map[string]string{}
	for _, name := range s.Names() {
		p := s.Process(t, name)
		log, err := os.ReadFile(p.Log)
		require.NoError(t, err)
		printed, err := os.ReadFile(p.Stdout)
		require.NoError(t, err)
		emitted[name+"'s log"], emitted[name+"'s output"] = string(log), string(printed)
		emitted[name+"'s metrics"] = string(p.Metrics(t))
		arguments, err := exec.Command("ps", "-o", "args=", "-p", fmt.Sprint(p.PID())).Output()
		require.NoError(t, err)
		emitted[name+"'s arguments"] = string(arguments)
	}
	emitted["config show"] = s.configShow(t)
	emitted["traces"] = s.traces.all()
	for _, of := range []string{"GetBucketConfig", "INSERT", "objstore."} {
		require.Contains(t, emitted["traces"], of, "calls, SQL and the store are traced")
	}
	for where, text := range emitted {
		require.NotEmpty(t, where)
		for i, secret := range hidden {
			require.NotContains(t, text, secret, "secret %d in %s", i, where)
			if len(secret) >= 24 { // half of less may be a word
				require.NotContains(t, text, secret[len(secret)/2:], "half of secret %d in %s", i, where)
			}
		}
	}
	t.Logf("%d secrets looked for in %d places", len(hidden), len(emitted))
}

// passwordOf is the password in the database's URL.
func passwordOf(env []string) (passwords []string) {
	for _, entry := range env {
		if url, ok := strings.CutPrefix(entry, "SAMSA_DATABASE_URL="); ok {
			_, rest, _ := strings.Cut(url, "://")
			who, _, has := strings.Cut(rest, "@")
			if _, password, ok := strings.Cut(who, ":"); has && ok && len(password) > 3 {
				passwords = append(passwords, password)
			}
		}
	}
	return passwords
}

func (s *site) configShow(t *testing.T) string {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, cluster.Program(t, "samsa"), "config", "show")
	command.Env = append(append(os.Environ(), s.Environ()...),
		"SAMSA_AUTH_ROOT_TOKEN="+s.Access.RootToken, "SAMSA_DATABASE_PASSWORD=distinctive-database-password", "SAMSA_AUTH_PEER_SECRET=distinctive-peer-secret-0123456789abcdef")
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.NotContains(t, string(output), "distinctive")
	return string(output)
}
