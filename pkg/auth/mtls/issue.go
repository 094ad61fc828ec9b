package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA issues certificates for development. Its key lies in a file beside them.
type CA struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

const (
	caName = "ca"
	// slack is for clocks that differ.
	slack = time.Hour
)

// OpenCA reads the CA of a folder, or makes one that is valid for so long.
func OpenCA(folder string, validFor time.Duration) (*CA, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile(folder, caName), keyFile(folder, caName))
	if errors.Is(err, fs.ErrNotExist) {
		return newCA(folder, validFor)
	}
	if err != nil {
		return nil, fmt.Errorf("CA in %s: %w", folder, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("CA in %s: want a CA's certificate with an ECDSA key", folder)
	}
	return &CA{folder: folder, cert: pair.Leaf, key: key}, nil
}

func certFile(folder, name string) string { return filepath.Join(folder, name+".pem") }
func keyFile(folder, name string) string  { return filepath.Join(folder, name+"-key.pem") }

func newCA(folder string, validFor time.Duration) (*CA, error) {
	template, err := newTemplate("Samsa development CA", validFor)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &CA{folder: folder, cert: template, key: key}
	der, err := ca.write(caName, template, key)
	if err != nil {
		return nil, err
	}
	ca.cert, err = x509.ParseCertificate(der)
	return ca, err
}

func newTemplate(name string, validFor time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-slack), NotAfter: now.Add(validFor),
	}, nil
}

// File is the CA's certificate.
func (ca *CA) File() string { return certFile(ca.folder, caName) }

// IssueRole makes a certificate that proves a role, to clients and to servers.
func (ca *CA) IssueRole(domain, role string, validFor time.Duration) (Files, error) {
	return ca.IssueRoles(domain, role, []string{role}, validFor)
}

// IssueRoles makes a certificate for a program that has several roles.
func (ca *CA) IssueRoles(domain, name string, roles []string, validFor time.Duration) (Files, error) {
	template, err := newTemplate(name, validFor)
	if err != nil {
		return Files{}, err
	}
	for _, role := range roles {
		template.URIs = append(template.URIs, URI(domain, role))
		template.DNSNames = append(template.DNSNames, DNSName(domain, role))
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return ca.issue(name, template)
}

// IssueHosts makes a certificate for servers under the given names and addresses.
func (ca *CA) IssueHosts(name string, hosts []string, validFor time.Duration) (Files, error) {
	template, err := newTemplate(name, validFor)
	if err != nil {
		return Files{}, err
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return ca.issue(name, template)
}

func (ca *CA) issue(name string, template *x509.Certificate) (Files, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, err
	}
	_, err = ca.write(name, template, key)
	return Files{Cert: certFile(ca.folder, name), Key: keyFile(ca.folder, name), CA: ca.File()}, err
}

// write signs a certificate and puts it and its key into files, each replaced as a
// whole.
func (ca *CA) write(name string, template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		replace(keyFile(ca.folder, name), &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}, 0o600),
		replace(certFile(ca.folder, name), &pem.Block{Type: "CERTIFICATE", Bytes: der}, 0o644),
	)
	return der, err
}

func replace(path string, block *pem.Block, mode fs.FileMode) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, pem.EncodeToMemory(block), mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
