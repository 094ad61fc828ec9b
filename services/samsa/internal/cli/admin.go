package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/service"
)

func (a *app) adminCommand() *cobra.Command {
	return a.group("admin", "Prepare a cluster, look after its writers, check it, repair its index", "",
		a.adminCerts(), a.adminShards(), a.adminWriters(), a.adminDrain(), a.adminVerify(), a.adminRebuildIndex())
}

type certFlags struct {
	folder, domain string
	hosts          []string
	validFor       time.Duration
}

// publicName is the name of the router's certificate for clients.
const publicName = "public"

func (a *app) adminCerts() *cobra.Command {
	flags := certFlags{folder: "certs", domain: service.Default().TLS.TrustDomain, hosts: []string{"localhost", "127.0.0.1", "::1"}, validFor: 365 * 24 * time.Hour}
	c := command("certs", "Make a CA for development, and a certificate for each role",
		"  samsa admin certs\n  samsa admin certs --dir /tmp/certs --host samsa.example --valid-for 720h", cobra.NoArgs,
		func(*cobra.Command, []string) error { return a.makeCerts(flags) })
	c.Long = "Makes a CA, unless the folder has one, and new certificates in place of those there: one for each role\n" +
		"(tls.cert_file, tls.key_file), with the CA (tls.ca_file), and public.pem for the router's clients\n" +
		"(tls.public_cert_file, tls.public_key_file). Running programs take them up by themselves.\n" +
		"The CA's key lies beside them: for production use a CA that keeps its own."
	c.Flags().StringVar(&flags.folder, "dir", flags.folder, "`folder` for the files")
	c.Flags().StringVar(&flags.domain, "trust-domain", flags.domain, "`domain` of the roles, as tls.trust_domain")
	c.Flags().StringSliceVar(&flags.hosts, "host", flags.hosts, "names and `addresses` that clients call the router by")
	c.Flags().DurationVar(&flags.validFor, "valid-for", flags.validFor, "how `long` the certificates are valid; the CA is ten times as long")
	return c
}

func (a *app) makeCerts(f certFlags) error {
	if f.validFor <= 0 {
		return usagef("--valid-for %s: want a time from now on", f.validFor)
	}
	ca, err := mtls.OpenCA(f.folder, 10*f.validFor)
	if err != nil {
		return err
	}
	for _, role := range []string{discovery.RoleAccount, discovery.RoleBucket, discovery.RoleStreamWriter,
		discovery.RoleStreamReader, discovery.RoleCompactor, discovery.RoleRouter} {
		files, err := ca.IssueRole(f.domain, role, f.validFor)
		if err != nil {
			return err
		}
		if err := a.tellCert(files); err != nil {
			return err
		}
	}
	files, err := ca.IssueHosts(publicName, f.hosts, f.validFor)
	if err != nil {
		return err
	}
	if err := a.tellCert(files); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "CA: %s\n", ca.File())
	return err
}

func (a *app) tellCert(files mtls.Files) error {
	_, err := fmt.Fprintf(a.Out, "Made %s with key %s\n", files.Cert, files.Key)
	return err
}
