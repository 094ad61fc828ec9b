package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Files are PEM files. CA may be empty where nobody's certificate is checked; Cert
// and Key where none is shown.
type Files struct {
	Cert, Key, CA string
}

// Options are a Source's settings; Open fills in what is zero.
type Options struct {
	Every time.Duration // between looks at the files; 10 s
	Log   *zap.Logger
}

// Source is a certificate, and the CAs that others' are checked with, as the files
// have them now.
type Source struct {
	files   Files
	options Options

	mu     sync.Mutex
	looked time.Time
	stamps [3]stamp // of the files when they were last read, well or not
	loaded *material
}

type material struct {
	cert *tls.Certificate // nil: none
	cas  *x509.CertPool   // nil: none
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the files, which must be fit for use.
func Open(files Files, o Options) (*Source, error) {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Source{files: files, options: o, looked: time.Now()}
	s.stamps = s.stampsNow()
	loaded, err := load(files)
	if err != nil {
		return nil, err
	}
	s.loaded = loaded
	return s, nil
}

func load(f Files) (*material, error) {
	m := &material{}
	if f.Cert != "" {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
		}
		m.cert = &cert
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("CA certificates: %w", err)
		}
		m.cas = x509.NewCertPool()
		if !m.cas.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA certificates: there is none in %s: give a PEM file", f.CA)
		}
	}
	return m, nil
}

func (s *Source) stampsNow() (stamps [3]stamp) {
	for i, name := range []string{s.files.Cert, s.files.Key, s.files.CA} {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// current is what the files have, or had when they last were fit for use.
func (s *Source) current() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.looked) < s.options.Every {
		return s.loaded
	}
	s.looked = now
	stamps := s.stampsNow()
	if stamps == s.stamps {
		return s.loaded
	}
	s.stamps = stamps
	loaded, err := load(s.files)
	if err != nil {
		s.options.Log.Warn("changed certificate files are not fit for use; going on with those before", zap.Error(err))
		return s.loaded
	}
	s.loaded = loaded
	s.options.Log.Info("certificates were read again", zap.String("cert_file", s.files.Cert), zap.String("ca_file", s.files.CA))
	return s.loaded
}

func (s *Source) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current().cert, nil
}

func (s *Source) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if cert := s.current().cert; cert != nil {
		return cert, nil
	}
	return new(tls.Certificate), nil // none
}

// Public is the configuration of a server that everybody may connect to.
func (s *Source) Public(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.certificate, NextProtos: protocols}
}

// Listen is a listener that everybody may connect to, for servers that know nothing
// of TLS themselves.
func (s *Source) Listen(ln net.Listener, protocols ...string) net.Listener {
	return tls.NewListener(ln, s.Public(protocols...))
}

// Server is the configuration of a server for holders of the CA's certificates.
func (s *Source) Server() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: s.certificate, NextProtos: []string{"h2"},
		ClientAuth: tls.RequireAndVerifyClientCert,
		// A resumed session would pass over a CA that has been replaced.
		SessionTicketsDisabled: true,
	}
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		each := c.Clone()
		each.GetConfigForClient, each.ClientCAs = nil, s.current().cas
		return each, nil
	}
	return c
}

// Client is the configuration for calling servers that have one of the roles. Which
// of them it is, ServerHasRole tells.
func (s *Source) Client(domain string, roles []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, GetClientCertificate: s.clientCertificate,
		// The identity is checked below, with the CAs as they are now, in place of the
		// address.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain and the role
		VerifyConnection: func(state tls.ConnectionState) error {
			chains, err := s.verify(state)
			if err != nil {
				return err
			}
			state.VerifiedChains = chains
			if !HasRole(state, domain, roles) {
				return fmt.Errorf("the server's certificate has none of the roles %q in %q", roles, domain)
			}
			return nil
		},
	}
}

func (s *Source) verify(state tls.ConnectionState) ([][]*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("the server shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	return state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: s.current().cas, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Outside is the configuration for calling a server that is no part of the cluster,
// such as a database, under its host's name.
func (s *Source) Outside() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetClientCertificate: s.clientCertificate, RootCAs: s.current().cas,
	}
}
