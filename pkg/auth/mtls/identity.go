package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
)

// URI is the identity of a role.
func URI(domain, role string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: domain, Path: "/samsa/" + role}
}

// DNSName is the identity of a role, for CAs that issue no URIs.
func DNSName(domain, role string) string { return role + "." + domain }

// HasRole tells whether the other side of a connection has proved to have one of
// the roles. Its certificate must have been verified.
func HasRole(state tls.ConnectionState, domain string, roles []string) bool {
	if len(state.VerifiedChains) == 0 {
		return false
	}
	return slices.ContainsFunc(Roles(state.VerifiedChains[0][0], domain), func(role string) bool {
		return slices.Contains(roles, role)
	})
}

// ServerHasRole is HasRole for clients. The connection must have been made with
// Source.Client, which verifies the certificate itself.
func ServerHasRole(state tls.ConnectionState, domain, role string) bool {
	return len(state.PeerCertificates) > 0 && slices.Contains(Roles(state.PeerCertificates[0], domain), role)
}

// Roles are those that a certificate gives its holder.
func Roles(c *x509.Certificate, domain string) []string {
	var roles []string
	for _, uri := range c.URIs {
		role, ok := strings.CutPrefix(uri.Path, "/samsa/")
		if ok && uri.Scheme == "spiffe" && uri.Host == domain && uri.RawQuery == "" && uri.Fragment == "" {
			roles = append(roles, role)
		}
	}
	for _, name := range c.DNSNames {
		if role, ok := strings.CutSuffix(name, "."+domain); ok && !strings.ContainsAny(role, ".*") {
			roles = append(roles, role)
		}
	}
	return roles
}
