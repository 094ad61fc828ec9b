package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/auth/mtls"
)

func TestAdminCerts_MakesACertificateForEachRole(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "certs")
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Run(t.Context(), IO{In: &bytes.Buffer{}, Out: &out, Err: &out}, append([]string{"admin", "certs", "--dir", folder}, args...))
		return code, out.String()
	}
	code, out := run("--host", "samsa.example,10.0.0.1")
	require.Zero(t, code, out)
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	for _, role := range []string{"account", "bucket", "stream-writer", "stream-reader", "compactor", "router", "public"} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(folder, role+".pem"), filepath.Join(folder, role+"-key.pem"))
		require.NoError(t, err)
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots})
		require.NoError(t, err)
		info, err := os.Stat(filepath.Join(folder, role+"-key.pem"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		if role == "public" {
			require.NoError(t, pair.Leaf.VerifyHostname("samsa.example"))
			require.NoError(t, pair.Leaf.VerifyHostname("10.0.0.1"))
			require.Empty(t, mtls.Roles(pair.Leaf, "samsa.internal"))
		} else {
			require.Contains(t, mtls.Roles(pair.Leaf, "samsa.internal"), role)
		}
	}

	code, _ = run()
	require.Zero(t, code)
	again, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	require.NoError(t, err)
	require.Equal(t, ca, again, "the CA stays")
	code, _ = run("--valid-for", "-1h")
	require.Equal(t, 2, code)
}
