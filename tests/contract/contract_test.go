package contract

import (
	"os"
	"testing"

	"github.com/samsa-io/samsa/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

func TestDev(t *testing.T) {
	Run(t, cluster.StartDev(t), Options{})
}

func TestSplit(t *testing.T) {
	Run(t, cluster.Start(t, cluster.Options{Writers: 2, Readers: 2, Routers: 1, Store: cluster.S3}), Options{Short: testing.Short()})
}
