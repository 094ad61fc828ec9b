package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/notify"
)

// Auth is the section [auth].
type Auth struct {
	Enabled         bool   `koanf:"enabled" about:"whether calls need an access token"`
	RootToken       string `koanf:"root_token" secret:"true" about:"a token that may do everything, to make the first one and for recovery; empty: none"`
	RootTokenSHA256 string `koanf:"root_token_sha256" about:"SHA-256 of the root token in hexadecimal, instead of it"`
	OutageTTLSecs   int    `koanf:"outage_ttl_secs" about:"seconds that tokens verified before go on while Postgres is unreachable"`
	PeerSecret      string `koanf:"peer_secret" secret:"true" about:"what all services share to know each other without certificates; empty: none"`
}

// TLS is the section [tls].
type TLS struct {
	CertFile       string `koanf:"cert_file" about:"certificate that shows this program's role to the other services; empty: connections between services are in clear text"`
	KeyFile        string `koanf:"key_file" about:"its key"`
	CAFile         string `koanf:"ca_file" about:"CAs that issue the services' certificates"`
	TrustDomain    string `koanf:"trust_domain" about:"domain of the roles in certificates: spiffe://domain/samsa/role"`
	PublicCertFile string `koanf:"public_cert_file" about:"router: certificate that clients see; empty: clients connect in clear text, or TLS ends before"`
	PublicKeyFile  string `koanf:"public_key_file" about:"router: its key"`
	ReloadSecs     int    `koanf:"reload_secs" about:"seconds between looks whether certificate files have changed"`
}

func defaultAuth() Auth { return Auth{Enabled: true, OutageTTLSecs: 300} }

func defaultTLS() TLS { return TLS{TrustDomain: "samsa.internal", ReloadSecs: 10} }

// minSecret is the least length of secrets that people make.
const minSecret = 32

// Validate returns every problem. It shows no secret.
func (a *Auth) Validate() []config.Problem {
	c := &checks{section: "auth"}
	const remedy = "give at least 32 random characters, such as those of: openssl rand -hex 32"
	for key, secret := range map[string]string{"root_token": a.RootToken, "peer_secret": a.PeerSecret} {
		if secret != "" && (len(secret) < minSecret || strings.ContainsAny(secret, " \t\r\n")) {
			c.report(key, "", "is too short, or has spaces", remedy)
		}
	}
	hash, err := hex.DecodeString(a.RootTokenSHA256)
	switch {
	case err != nil || len(hash) != 0 && len(hash) != sha256.Size:
		c.report("root_token_sha256", a.RootTokenSHA256, "is no SHA-256", "give its 64 hexadecimal digits, as of: printf %s TOKEN | sha256sum")
	case a.RootToken != "" && len(hash) != 0 && sha256.Sum256([]byte(a.RootToken)) != [sha256.Size]byte(hash):
		c.report("root_token_sha256", a.RootTokenSHA256, "is not that of auth.root_token", "give one of them")
	}
	if !a.Enabled && (a.RootToken != "" || a.RootTokenSHA256 != "") {
		c.report("enabled", "false", "lets everybody in, although there is a root token", "set it to true, or leave auth.root_token and auth.root_token_sha256 out")
	}
	c.within("outage_ttl_secs", int64(a.OutageTTLSecs), 0, 86_400)
	return c.problems
}

// root is the SHA-256 of the root token; nil: there is none.
func (a *Auth) root() *[sha256.Size]byte {
	var hash [sha256.Size]byte
	switch {
	case a.RootToken != "":
		hash = sha256.Sum256([]byte(a.RootToken))
	case a.RootTokenSHA256 != "":
		// Validated before.
		if n, err := hex.Decode(hash[:], []byte(a.RootTokenSHA256)); err != nil || n != len(hash) {
			return nil
		}
	default:
		return nil
	}
	return &hash
}

// published are the keys whose secrets stand in .env.example, for trials: they are let
// through, so that a trial starts at once.
func (a *Auth) published() (keys []string) {
	const placeholder = "change-me"
	if a.Enabled && strings.Contains(a.RootToken, placeholder) {
		keys = append(keys, "auth.root_token")
	}
	if a.Enabled && strings.Contains(a.PeerSecret, placeholder) {
		keys = append(keys, "auth.peer_secret")
	}
	return keys
}

// Validate returns every problem.
func (t *TLS) Validate() []config.Problem {
	c := &checks{section: "tls"}
	c.pair("cert_file", t.CertFile, "key_file", t.KeyFile)
	c.pair("cert_file", t.CertFile, "ca_file", t.CAFile)
	c.pair("public_cert_file", t.PublicCertFile, "public_key_file", t.PublicKeyFile)
	if !isHostname(t.TrustDomain) {
		c.report("trust_domain", t.TrustDomain, "is no domain", "give that of the certificates, such as samsa.internal")
	}
	c.within("reload_secs", int64(t.ReloadSecs), 1, 86_400)
	return c.problems
}

// pair reports one of two keys that is set without the other.
func (c *checks) pair(a, valueA, b, valueB string) {
	if (valueA == "") != (valueB == "") {
		missing, present, value := a, b, valueB
		if valueB == "" {
			missing, present, value = b, a, valueA
		}
		c.report(missing, "", fmt.Sprintf("is empty, although %s.%s = %q", c.section, present, value), "give both or neither")
	}
}

// Mutual tells whether services show each other certificates.
func (t *TLS) Mutual() bool { return t.CertFile != "" }

func (t *TLS) options(log *zap.Logger) mtls.Options {
	return mtls.Options{Every: time.Duration(t.ReloadSecs) * time.Second, Log: log.Named("tls")}
}

// Security is how a program's servers and connections are protected.
type Security struct {
	auth   Auth
	tls    TLS
	guard  *auth.Guard  // nil: authentication is off
	mutual *mtls.Source // nil: services talk in clear text
	public *mtls.Source // nil: clients do
	log    *zap.Logger
}

// security reads the certificates.
func (p *platform) security(log *zap.Logger, guard *auth.Guard) (*Security, error) {
	c := p.config
	s := &Security{auth: c.Auth, tls: c.TLS, guard: guard, log: log.Named("security")}
	if keys := c.Auth.published(); len(keys) > 0 {
		s.log.Warn("secrets are those of .env.example, which everybody knows: change them before anybody else reaches this program", zap.Strings("keys", keys))
	}
	var errs []error
	if c.TLS.Mutual() {
		source, err := mtls.Open(mtls.Files{Cert: c.TLS.CertFile, Key: c.TLS.KeyFile, CA: c.TLS.CAFile}, c.TLS.options(log))
		if err != nil {
			errs = append(errs, fmt.Errorf("section [tls], cert_file: %w", err))
		}
		s.mutual = source
	}
	if c.TLS.PublicCertFile != "" {
		source, err := mtls.Open(mtls.Files{Cert: c.TLS.PublicCertFile, Key: c.TLS.PublicKeyFile}, c.TLS.options(log))
		if err != nil {
			errs = append(errs, fmt.Errorf("section [tls], public_cert_file: %w", err))
		}
		s.public = source
	}
	return s, errors.Join(errs...)
}

type guardIn struct {
	fx.In
	Lifecycle  fx.Lifecycle
	Catalog    *catalog.Catalog
	Bus        *notify.Bus
	Registerer prometheus.Registerer
	Log        *zap.Logger
}

// noGuard lets everybody in; it asks for nothing, so that nothing is built.
func (p *platform) noGuard(log *zap.Logger) *auth.Guard {
	if ip := net.ParseIP(p.config.Server.Address); ip == nil || !ip.IsLoopback() {
		log.Warn("authentication is off: everybody who reaches this program may do everything")
	}
	return nil
}

// newGuard checks calls with tokens from the catalog.
func (p *platform) newGuard(in guardIn) (*auth.Guard, error) {
	c, metrics := p.config, auth.NewMetrics(in.Registerer)
	verifier := auth.NewVerifier(auth.VerifierConfig{
		Tokens: in.Catalog, Root: c.Auth.root(), OutageTTL: time.Duration(c.Auth.OutageTTLSecs) * time.Second,
		Metrics: metrics, Log: in.Log.Named("auth"),
	})
	changes, err := in.Bus.OnCatalogChanges(notify.Handler[*clusterv1.CatalogChange]{Message: verifier.Change, Gap: verifier.Missed})
	if err != nil {
		verifier.Close()
		return nil, err
	}
	in.Lifecycle.Append(fx.StopHook(func() {
		changes.Close()
		verifier.Close()
	}))
	peers := auth.Peers{Secret: c.Auth.PeerSecret}
	if c.TLS.Mutual() {
		peers.TrustDomain = c.TLS.TrustDomain
	}
	return auth.NewGuard(auth.GuardConfig{Verifier: verifier, Peers: peers, Audit: in.Log.Named("audit"), Metrics: metrics})
}

// serverOptions protect the server of an endpoint.
func (s *Security) serverOptions(e Endpoint) ([]grpc.ServerOption, error) {
	var options []grpc.ServerOption
	switch {
	case e.Front && s.public != nil:
		options = append(options, grpc.Creds(mtls.Credentials(s.public.Public("h2"))))
	case !e.Front && s.mutual != nil:
		options = append(options, grpc.Creds(mtls.Credentials(s.mutual.Server())))
	}
	if s.guard == nil {
		return options, nil
	}
	if err := s.fits(e); err != nil {
		return nil, err
	}
	if e.Front {
		return append(options, grpc.ChainStreamInterceptor(s.guard.Front), grpc.ChainUnaryInterceptor(s.guard.FrontUnary)), nil
	}
	return append(options, s.guard.ServerOptions()...), nil
}

// Authorize checks the token that ctx brings for a call to a front, before anything of
// the call's messages is there; what the token covers is checked with those.
func (s *Security) Authorize(ctx context.Context, fullMethod string) error {
	if s.guard == nil {
		return nil
	}
	return s.guard.Front(nil, &announced{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: fullMethod},
		func(any, grpc.ServerStream) error { return nil })
}

// announced is a call that has no messages yet.
type announced struct {
	grpc.ServerStream
	ctx context.Context
}

func (a *announced) Context() context.Context { return a.ctx }

// fits refuses to serve where tokens are checked and services can't know each other.
func (s *Security) fits(e Endpoint) error {
	at := e.Listener.Addr()
	if mtls.IsInProcess(at) {
		return nil
	}
	if e.Front {
		if s.public == nil && !isLoopback(at) {
			s.log.Warn("access tokens come in clear text: set tls.public_cert_file, or let TLS end before the router", zap.Stringer("address", at))
		}
		return nil
	}
	if s.mutual == nil && s.auth.PeerSecret == "" {
		return config.Problems{{
			Key: "auth.peer_secret", What: "is empty, and so is tls.cert_file: with auth.enabled = true services must know each other",
			Remedy: "give tls.cert_file, tls.key_file and tls.ca_file (`samsa admin certs` makes some), or one secret to all services, or set auth.enabled = false",
		}}
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// covered refuses a server with a method that nobody thought about.
func (s *Security) covered(server *grpc.Server) error {
	if s.guard == nil {
		return nil
	}
	return s.guard.Covers(server)
}

// dialCredentials are shown to the other services, which may be any at this point;
// callCredentials look closer. nil: none.
func (s *Security) dialCredentials() credentials.TransportCredentials {
	if s.mutual == nil {
		return nil
	}
	servers := []string{discovery.RoleAccount, discovery.RoleBucket, discovery.RoleStreamReader, discovery.RoleStreamWriter, discovery.RoleCompactor}
	return mtls.Credentials(s.mutual.Client(s.tls.TrustDomain, servers))
}

// callCredentials go with every call to another service; nil: none.
func (s *Security) callCredentials() (credentials.PerRPCCredentials, error) {
	peers := auth.Peers{}
	if s.auth.Enabled {
		peers.Secret = s.auth.PeerSecret
	}
	if s.mutual != nil {
		peers.TrustDomain = s.tls.TrustDomain
	}
	if peers == (auth.Peers{}) {
		return nil, nil
	}
	return auth.NewPeerCredentials(peers)
}

// PublicTLS protects a listener that clients connect to, such as the router's for
// HTTP, if certificates are configured.
func (s *Security) PublicTLS(ln net.Listener) net.Listener {
	if s.public == nil {
		return ln
	}
	return s.public.Listen(ln, "h2", "http/1.1")
}
