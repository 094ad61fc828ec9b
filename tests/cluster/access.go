package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/samsa-io/samsa/pkg/client"
)

// Access is how a cluster with Options.Secured lets clients in: authentication is on,
// its services know each other by certificates, and its router shows one to clients.
type Access struct {
	// RootToken may do everything.
	RootToken string
	// Folder has the certificates, as `samsa admin certs` makes them.
	Folder string
}

// rootToken is that of all tests.
const rootToken = "root-token-of-the-tests-0123456789abcdef"

// NewAccess makes a CA and certificates.
func NewAccess(t testing.TB) *Access {
	t.Helper()
	a := &Access{RootToken: rootToken, Folder: t.TempDir()}
	a.MakeCerts(t)
	return a
}

// MakeCerts makes new certificates in place of those there, by the same CA.
func (a *Access) MakeCerts(t testing.TB) {
	t.Helper()
	output, err := exec.Command(Program(t, "samsa"), "admin", "certs", "--dir", a.Folder).CombinedOutput()
	if err != nil {
		t.Fatalf("making certificates: %v\n%s", err, output)
	}
}

// CAFile is what clients check the router's certificate with.
func (a *Access) CAFile() string { return filepath.Join(a.Folder, "ca.pem") }

// env is what a program of a role is told.
func (a *Access) env(role string) []string {
	if a == nil {
		return []string{"SAMSA_AUTH_ENABLED=false"}
	}
	file := func(name string) string { return filepath.Join(a.Folder, name) }
	env := []string{
		"SAMSA_AUTH_ENABLED=true", "SAMSA_AUTH_ROOT_TOKEN=" + a.RootToken, "SAMSA_TLS_RELOAD_SECS=1",
		"SAMSA_TLS_CERT_FILE=" + file(role+".pem"), "SAMSA_TLS_KEY_FILE=" + file(role+"-key.pem"), "SAMSA_TLS_CA_FILE=" + a.CAFile(),
	}
	if role == "router" {
		env = append(env, "SAMSA_TLS_PUBLIC_CERT_FILE="+file("public.pem"), "SAMSA_TLS_PUBLIC_KEY_FILE="+file("public-key.pem"))
	}
	return env
}

// TLS is a client's configuration. With a role it shows that role's certificate.
func (a *Access) TLS(t testing.TB, role string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(a.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if role != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(a.Folder, role+".pem"), filepath.Join(a.Folder, role+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// accessOf is how a target lets clients in; nil: everybody may come.
func accessOf(target Target) *Access {
	if c, ok := target.(*Cluster); ok {
		return c.Access
	}
	return nil
}

// bearer sends a token with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// Connect opens a plain gRPC connection to one of a target's URLs for as long as the
// test runs. Where the target asks for a token it has the root token.
func Connect(t testing.TB, target Target, url string) *grpc.ClientConn {
	t.Helper()
	if a := accessOf(target); a != nil {
		return a.Connect(t, url, a.RootToken)
	}
	return connect(t, url, insecure.NewCredentials())
}

// Connect is the function Connect with a token; "": none.
func (a *Access) Connect(t testing.TB, url, token string) *grpc.ClientConn {
	t.Helper()
	return connect(t, url, credentials.NewTLS(a.TLS(t, "")), withToken(token)...)
}

// ConnectWith opens a gRPC connection to host:port with any credentials.
func ConnectWith(t testing.TB, address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	return connect(t, "any://"+address, creds)
}

func withToken(token string) []grpc.DialOption {
	if token == "" {
		return nil
	}
	return []grpc.DialOption{grpc.WithPerRPCCredentials(bearer(token))}
}

func connect(t testing.TB, url string, creds credentials.TransportCredentials, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	_, address, _ := strings.Cut(url, "://")
	conn, err := grpc.NewClient("passthrough:///"+address, append(options, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// HTTPClient is a client for a target's REST; where the target asks for a token it
// sends the root token.
func HTTPClient(t testing.TB, target Target) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	a := accessOf(target)
	if a == nil {
		return &http.Client{Transport: transport}
	}
	transport.TLSClientConfig = a.TLS(t, "")
	return &http.Client{Transport: authorized{transport, a.RootToken}}
}

// authorized adds a token to requests that have none.
type authorized struct {
	http.RoundTripper
	token string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.RoundTripper.RoundTrip(r)
}

// clientOptions are what a Client of a target needs.
func clientOptions(target Target) []client.Option {
	a := accessOf(target)
	if a == nil {
		return nil
	}
	return []client.Option{client.WithToken(a.RootToken), client.WithCAFile(a.CAFile())}
}
