package contract

import (
	"os"
	"testing"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// patient lets a client take nothing for as long as a rule may need on a busy machine,
// in milliseconds.
const patient = "180000"

// patientRouter is what says so in the environment.
const patientRouter = "SAMSA_ROUTER_WRITE_TIMEOUT_MS=" + patient

func TestDev(t *testing.T) {
	Run(t, cluster.StartDev(t, "--router.write_timeout_ms", patient), Options{})
}

func TestSplit(t *testing.T) {
	Run(t, cluster.Start(t, cluster.Options{Writers: 2, Readers: 2, Routers: 1, Store: cluster.S3, Env: append(cluster.PatientOwners(), patientRouter)}), Options{Short: testing.Short()})
}

// TestSecured is the split system as it is to be run: access tokens asked for,
// certificates between the services, TLS for clients. Its rules go through gRPC; what
// REST has of its own is checked too.
func TestSecured(t *testing.T) {
	Run(t, cluster.Start(t, cluster.Options{Writers: 2, Readers: 2, Routers: 1, Store: cluster.File, Secured: true, Env: append(cluster.PatientOwners(), patientRouter)}), Options{Short: true})
}
