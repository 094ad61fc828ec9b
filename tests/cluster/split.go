package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/local/s3"
)

// Store is the kind of object store that a Cluster uses.
type Store int

// The stores: a real S3 server, or a folder that all programs share.
const (
	S3 Store = iota
	File
)

// Options say what a Cluster is made of. There is always one account and one
// bucket service; zero counts mean one.
type Options struct {
	Writers, Readers, Routers int
	Store                     Store
	// Env is added to the environment of every program.
	Env []string
}

// Cluster is one process for each service, with servers of its own beside them.
// etcd and NATS run inside the test process and can be stopped and restarted.
type Cluster struct {
	Etcd *etcd.TestServer
	NATS *nats.TestServer

	postgres        *postgres.Server
	postgresOptions postgres.Options
	env             []string
	processes       map[string]*Process
	ports           map[string]int // gRPC, by process
	http            map[string]int // routers'
	writers         int
}

// Start starts a cluster and waits until it can be used.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{
		Etcd: etcd.ForTest(t), NATS: nats.ForTest(t), writers: max(o.Writers, 1),
		postgresOptions: postgres.Options{Dir: postgres.TempDir(t), Fast: true},
		processes:       map[string]*Process{}, ports: map[string]int{}, http: map[string]int{},
	}
	c.StartPostgres(t)
	t.Cleanup(func() { c.StopPostgres(t) })
	c.env = append(c.commonEnv(t, o.Store), o.Env...)
	c.add(t, "account", 1)
	c.add(t, "bucket", 1)
	c.add(t, "stream-writer", o.Writers)
	c.add(t, "stream-reader", o.Readers)
	c.add(t, "router", o.Routers)
	for _, p := range c.processes {
		p.Start(t)
	}
	for _, p := range c.processes {
		p.WaitReady(t)
	}
	for name := range c.http {
		waitUsable(t, loopback(c.ports[name]))
	}
	return c
}

// commonEnv is what all programs are told.
func (c *Cluster) commonEnv(t testing.TB, store Store) []string {
	env := []string{
		"SAMSA_SERVER_ADDRESS=127.0.0.1",
		"SAMSA_AUTH_ENABLED=false", // Options.Env may turn it on
		"SAMSA_SERVER_ETCD_ENDPOINTS=" + c.Etcd.Endpoint,
		"SAMSA_DATABASE_URL=" + c.postgres.URL,
		"SAMSA_NATS_URLS=" + c.NATS.URL,
		"SAMSA_STORAGE_SHARD_COUNT=16",
		"SAMSA_OBSERVABILITY_LOG_FORMAT=json",
	}
	if store == File {
		return append(env, "SAMSA_STORAGE_URL=file://"+filepath.ToSlash(t.TempDir()))
	}
	config := s3.ForTest(t).Config("")
	return append(env,
		"SAMSA_STORAGE_URL="+config.URL,
		"SAMSA_STORAGE_S3_ENDPOINT="+config.S3.Endpoint,
		"SAMSA_STORAGE_S3_REGION="+config.S3.Region,
		"SAMSA_STORAGE_S3_PATH_STYLE="+strconv.FormatBool(config.S3.PathStyle),
		"SAMSA_STORAGE_S3_ACCESS_KEY_ID="+config.S3.AccessKeyID,
		"SAMSA_STORAGE_S3_SECRET_ACCESS_KEY="+config.S3.SecretAccessKey,
	)
}

// add describes the processes of a role: role-0, role-1, …
func (c *Cluster) add(t testing.TB, role string, count int) {
	for i := range max(count, 1) {
		name := fmt.Sprintf("%s-%d", role, i)
		admin := freePort(t)
		c.ports[name] = freePort(t)
		env := append([]string{
			"SAMSA_SERVER_NODE_ID=" + name,
			"SAMSA_SERVER_PORT=" + strconv.Itoa(c.ports[name]),
			"SAMSA_OBSERVABILITY_METRICS_PORT=" + strconv.Itoa(admin),
		}, quickDeletion(role)...)
		if role == "router" {
			c.http[name] = freePort(t)
			env = append(env, "SAMSA_SERVER_HTTP_PORT="+strconv.Itoa(c.http[name]))
		}
		c.processes[name] = newProcess(t, name, Program(t, role), loopback(admin), nil, append(env, c.env...))
	}
}

// Name implements Target.
func (c *Cluster) Name() string { return "split" }

// Address implements Target: it is router-0's.
func (c *Cluster) Address() string { return "http://" + loopback(c.ports["router-0"]) }

// HTTP implements Target.
func (c *Cluster) HTTP() string { return "http://" + loopback(c.http["router-0"]) }

// Process is the process of a name such as "stream-writer-0".
func (c *Cluster) Process(t testing.TB, name string) *Process {
	t.Helper()
	p, ok := c.processes[name]
	if !ok {
		t.Fatalf("there is no %s in this cluster", name)
	}
	return p
}

// Kill ends a process with SIGKILL.
func (c *Cluster) Kill(t testing.TB, name string) { t.Helper(); c.Process(t, name).Kill(t) }

// Pause stops a process where it is, with SIGSTOP.
func (c *Cluster) Pause(t testing.TB, name string) {
	t.Helper()
	c.Process(t, name).Signal(t, syscall.SIGSTOP)
}

// Resume lets a paused process go on.
func (c *Cluster) Resume(t testing.TB, name string) {
	t.Helper()
	c.Process(t, name).Signal(t, syscall.SIGCONT)
}

// Restart starts a process that has ended, where it was before, and waits until it
// is ready.
func (c *Cluster) Restart(t testing.TB, name string) {
	t.Helper()
	p := c.Process(t, name)
	p.Start(t)
	p.WaitReady(t)
}

// StopPostgres is an outage of Postgres, if it runs.
func (c *Cluster) StopPostgres(t testing.TB) {
	t.Helper()
	if c.postgres == nil {
		return
	}
	if err := c.postgres.Stop(context.Background()); err != nil {
		t.Errorf("stopping Postgres: %v", err)
	}
	c.postgres = nil
}

// StartPostgres ends the outage, on the same port.
func (c *Cluster) StartPostgres(t testing.TB) {
	t.Helper()
	server, err := postgres.Start(context.Background(), c.postgresOptions)
	if err != nil {
		t.Fatalf("starting Postgres: %v", err)
	}
	c.postgres = server
}

// OwnerOf is the writer that owns a stream's shard now, and "" if none does.
func (c *Cluster) OwnerOf(t testing.TB, bucket, stream string) string {
	t.Helper()
	for i := range c.writers {
		name := fmt.Sprintf("stream-writer-%d", i)
		if c.processes[name].Running() && c.owns(t, name, bucket, stream) {
			return name
		}
	}
	return ""
}

// owns asks a writer for a stream that it can only know of as the owner.
func (c *Cluster) owns(t testing.TB, name, bucket, stream string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := clusterv1.NewWriterServiceClient(Dial(t, loopback(c.ports[name]))).
		Locate(ctx, &clusterv1.LocateRequest{Bucket: bucket, Stream: stream, ProveTail: true})
	if err == nil {
		return true
	}
	for _, detail := range status.Convert(err).Details() {
		if _, not := detail.(*clusterv1.NotOwner); not {
			return false
		}
	}
	t.Logf("asking %s whether it owns %s/%s: %v", name, bucket, stream, err)
	return false
}
