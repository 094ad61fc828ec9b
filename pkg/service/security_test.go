package service

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func TestAuth_RefusesWhatMakesNoSense(t *testing.T) {
	sum := sha256.Sum256([]byte(testSecret))
	hash := hex.EncodeToString(sum[:])
	for key, change := range map[string]func(*Auth){
		"":                                      func(*Auth) {},
		"auth.root_token: is too short":         func(a *Auth) { a.RootToken = testSecret[1:] },
		"auth.root_token: is too short, or":     func(a *Auth) { a.RootToken = testSecret + " " },
		"auth.peer_secret: is too short":        func(a *Auth) { a.PeerSecret = "secret" },
		"is no SHA-256":                         func(a *Auth) { a.RootTokenSHA256 = "abc" },
		"is not that of auth.root_token":        func(a *Auth) { a.RootToken, a.RootTokenSHA256 = testSecret+"x", hash },
		"lets everybody in, although there is":  func(a *Auth) { a.Enabled, a.RootToken = false, testSecret },
		"lets everybody in, although there is ": func(a *Auth) { a.Enabled, a.RootTokenSHA256 = false, hash },
		"auth.outage_ttl_secs":                  func(a *Auth) { a.OutageTTLSecs = -1 },
	} {
		a := defaultAuth()
		change(&a)
		problems := config.Problems(a.Validate())
		if key == "" {
			require.Empty(t, problems)
			continue
		}
		require.Len(t, problems, 1, key)
		require.Contains(t, problems.Error(), strings.TrimSpace(key))
		require.NotContains(t, problems.Error(), testSecret[1:])
	}
	both := Auth{Enabled: true, RootToken: testSecret, RootTokenSHA256: hash}
	require.Empty(t, both.Validate())
	require.Equal(t, sum, *both.root())
	require.Equal(t, sum, *(&Auth{RootTokenSHA256: hash}).root())
	require.Nil(t, new(Auth).root())
}

func TestSecurity_WarnsOfTheSecretsOfTheExample(t *testing.T) {
	const root, peer = "trial-root-token-change-me-0123456789abcdef", "trial-peer-secret-change-me-0123456789abcdef"
	for _, x := range []struct {
		auth Auth
		keys []any
	}{
		{Auth{Enabled: true, RootToken: root, PeerSecret: peer}, []any{"auth.root_token", "auth.peer_secret"}},
		{Auth{Enabled: true, RootToken: testSecret, PeerSecret: peer}, []any{"auth.peer_secret"}},
		{Auth{Enabled: true, RootToken: testSecret, PeerSecret: testSecret}, nil},
		{Auth{PeerSecret: peer}, nil},
	} {
		core, lines := observer.New(zap.WarnLevel)
		p := &platform{config: Default()}
		p.config.Auth = x.auth
		_, err := p.security(zap.New(core), nil)
		require.NoError(t, err)
		if x.keys == nil {
			require.Zero(t, lines.Len())
			continue
		}
		require.Equal(t, 1, lines.Len())
		require.Equal(t, map[string]any{"keys": x.keys}, lines.All()[0].ContextMap())
	}
}

func TestTLS_RefusesHalfOfAPair(t *testing.T) {
	c := defaultTLS()
	require.Empty(t, c.Validate())
	c.CertFile, c.PublicKeyFile = "cert.pem", "key.pem"
	problems := config.Problems(c.Validate()).Error()
	require.Contains(t, problems, `tls.key_file: is empty, although tls.cert_file = "cert.pem"`)
	require.Contains(t, problems, `tls.ca_file: is empty, although tls.cert_file = "cert.pem"`)
	require.Contains(t, problems, `tls.public_cert_file: is empty, although tls.public_key_file = "key.pem"`)
}

// Every key whose value is secret is hidden wherever configurations are shown.
func TestSecrets_AreNotShown(t *testing.T) {
	c := Default()
	loaded, err := config.Load(config.Options{Sections: c.Sections(), DefaultFiles: []string{}, Environ: []string{
		"SAMSA_AUTH_ROOT_TOKEN=" + testSecret, "SAMSA_AUTH_PEER_SECRET=" + testSecret, "SAMSA_DATABASE_PASSWORD=" + testSecret,
		"SAMSA_STORAGE_S3_ACCESS_KEY_ID=id", "SAMSA_STORAGE_S3_SECRET_ACCESS_KEY=" + testSecret,
		"SAMSA_DATABASE_URL=postgres://u:" + testSecret + "@h/d",
		"SAMSA_NATS_URLS=nats://u:" + testSecret + "@h:1,nats://" + testSecret + "@i:1",
		"SAMSA_SERVER_ETCD_ENDPOINTS=http://" + testSecret + "@h:1",
	}})
	require.NoError(t, err)
	require.Len(t, loaded.Changed(), 8)
	for _, v := range loaded.Values() {
		require.NotContains(t, v.Value, testSecret[:8], v.Key)
	}
	require.NotContains(t, loaded.Usage(), testSecret[:8])

	// Nor where a name is wrong, such as those of compose.yaml's own variables.
	for variable, meant := range map[string]string{
		"SAMSA_AUTH_ROT_TOKEN=" + testSecret: "SAMSA_AUTH_ROOT_TOKEN", "SAMSA_ROOT_TOKEN=" + testSecret: "SAMSA_AUTH_ROOT_TOKEN",
		"SAMSA_PEER_SECRET=" + testSecret: "SAMSA_AUTH_PEER_SECRET", "SAMSA_NATS_URL=nats://" + testSecret + "@h": "SAMSA_NATS_URLS",
		"SAMSA_DATABASE_URL=postgres://h:port/d?password=" + testSecret: "postgres://user:password@host:port/name",
	} {
		c := Default()
		_, err := config.Load(config.Options{Sections: c.Sections(), DefaultFiles: []string{}, Environ: []string{variable}})
		require.ErrorContains(t, err, meant)
		require.NotContains(t, err.Error(), testSecret[:8])
	}
}

func TestNATS_AddressesAreLoggedWithoutTheirSecrets(t *testing.T) {
	core, lines := observer.New(zap.DebugLevel)
	p := &platform{config: Default()}
	p.config.NATS.URLs = []string{"nats://" + testSecret + "@127.0.0.1:1"}
	lc := fxtest.NewLifecycle(t)
	_, err := p.nats(lc, telemetry.NewHealth(), zap.New(core))
	require.NoError(t, err)
	defer lc.RequireStart().RequireStop()
	line := lines.FilterMessage("NATS does not answer; trying again").All()
	require.Len(t, line, 1)
	require.Equal(t, map[string]any{"urls": []any{"nats://(secret)@127.0.0.1:1"}}, line[0].ContextMap())
}

func TestSecurity_RefusesToServeWherePeersCannotBeKnown(t *testing.T) {
	guard, err := auth.NewGuard(auth.GuardConfig{})
	require.NoError(t, err)
	for _, x := range []struct {
		listen, secret string
		front, ok      bool
	}{
		{"127.0.0.1:0", "", false, false},
		{"127.0.0.1:0", testSecret, false, true},
		{"127.0.0.1:0", "", true, true},
		{"inproc:x", "", false, true},
	} {
		ln, err := rpc.Listen(t.Context(), x.listen, rpc.NewInproc())
		require.NoError(t, err)
		s := &Security{auth: Auth{Enabled: true, PeerSecret: x.secret}, guard: guard, log: zaptest.NewLogger(t)}
		_, err = s.serverOptions(Endpoint{Listener: ln, Front: x.front})
		require.NoError(t, ln.Close())
		if x.ok {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "auth.peer_secret: is empty, and so is tls.cert_file")
		}
	}
}

func TestSecurity_AuthorizesByTheTokenAlone(t *testing.T) {
	sum := sha256.Sum256([]byte(testSecret))
	verifier := auth.NewVerifier(auth.VerifierConfig{Root: &sum})
	defer verifier.Close()
	guard, err := auth.NewGuard(auth.GuardConfig{Verifier: verifier})
	require.NoError(t, err)
	s := &Security{guard: guard}
	authorize := func(authorization ...string) error {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{"authorization": authorization})
		return s.Authorize(ctx, samsav1.StreamService_Append_FullMethodName)
	}
	require.NoError(t, authorize("Bearer "+testSecret))
	for _, given := range [][]string{nil, {"Bearer x"}, {"Bearer " + testSecret, "Bearer " + testSecret}} {
		require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, rpc.Detail(authorize(given...)).GetCode(), given)
	}
	require.NoError(t, new(Security).Authorize(t.Context(), samsav1.StreamService_Append_FullMethodName), "authentication is off")
}

func TestSecurity_RefusesAServerWithAMethodWithoutARule(t *testing.T) {
	guard, err := auth.NewGuard(auth.GuardConfig{})
	require.NoError(t, err)
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "samsa.v1.Other", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Do"}}}, nil)
	require.ErrorContains(t, (&Security{guard: guard}).covered(server), "samsa.v1.Other.Do has no access rule")
	require.NoError(t, (&Security{}).covered(server), "authentication is off")
}
