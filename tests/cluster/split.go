package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/local/s3"
	"github.com/samsa-io/samsa/pkg/stream"
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
	// Compactors are none by default.
	Compactors int
	Store      Store
	// Links puts a Link between each process and each of its dependencies, and in
	// front of each process for the others, so that tests can break them; the
	// store has to be S3. Seed decides which requests meet StoreFaults.
	Links bool
	Seed  uint64
	// Programs gives the path of a service's program; nil: Program.
	Programs func(t testing.TB, name string) string
	// Secured has authentication on, certificates between the services, and TLS for
	// clients.
	Secured bool
	// Env is added to the environment of every program.
	Env []string
}

// Cluster is one process for each service, with servers of its own beside them.
// etcd and NATS run inside the test process and can be stopped and restarted.
type Cluster struct {
	Etcd *etcd.TestServer
	NATS *nats.TestServer
	// Store is the S3 server; nil with a store of files.
	Store *s3.Server
	// Access is how it lets clients in; nil: everybody may come.
	Access *Access
	// Folder is where the store of files is; "" with S3.
	Folder string

	postgres        *postgres.Server
	postgresOptions postgres.Options
	options         Options
	env             []string
	store           *storeProxy
	storeAddress    string // host:port of the S3 server
	links           map[string]map[Dependency]*Link
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
		postgresOptions: postgres.Options{Dir: postgres.TempDir(t), Fast: true, StopTimeout: time.Minute},
		processes:       map[string]*Process{}, ports: map[string]int{}, http: map[string]int{},
		options: o, links: map[string]map[Dependency]*Link{},
	}
	if c.options.Programs == nil {
		c.options.Programs = Program
	}
	c.StartPostgres(t)
	t.Cleanup(func() { c.StopPostgres(t) })
	if o.Secured {
		c.Access = NewAccess(t)
	}
	c.env = append(c.commonEnv(t, o.Store), o.Env...)
	c.add(t, "account", 1)
	c.add(t, "bucket", 1)
	c.add(t, "stream-writer", o.Writers)
	c.add(t, "stream-reader", o.Readers)
	c.add(t, "router", o.Routers)
	if o.Compactors > 0 {
		c.add(t, "compactor", o.Compactors)
	}
	for _, p := range c.processes {
		p.Start(t)
	}
	for _, p := range c.processes {
		p.WaitReady(t)
	}
	c.waitAcquainted(t)
	c.AwaitSpread(t)
	for name := range c.http {
		waitUsable(t, Connect(t, c, c.url(c.ports[name])), name)
	}
	return c
}

// waitAcquainted waits until everybody who places shards knows every writer: those
// that are taken before move when they do.
func (c *Cluster) waitAcquainted(t testing.TB) {
	t.Helper()
	for _, name := range c.Names() {
		if role := name[:strings.LastIndexByte(name, '-')]; role != "router" && role != "stream-writer" {
			continue
		}
		Eventually(t, startPatience, name+" knows every writer", func() error {
			figures, err := c.processes[name].Figures()
			if err != nil {
				return err
			}
			if known := figures[`samsa_discovery_members{role="stream-writer"}`]; known != float64(c.writers) {
				return fmt.Errorf("it knows %v of %d", known, c.writers)
			}
			return nil
		})
	}
}

// AwaitSpread waits until each shard has the owner that ranks first for it among all
// the writers. Until then planned moves go on, of which sessions are told.
func (c *Cluster) AwaitSpread(t testing.TB) {
	t.Helper()
	writers := map[string]clusterv1.WriterServiceClient{}
	var members []discovery.Member
	for i := range c.writers {
		name := writerName(i)
		writers[name] = clusterv1.NewWriterServiceClient(c.Behind(t, name, "router"))
		members = append(members, discovery.Member{Instance: name})
	}
	Eventually(t, startPatience, "each writer owns its share", func() error {
		owners := map[uint32]string{}
		for name, w := range writers {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			says, err := w.Describe(ctx, &clusterv1.DescribeRequest{})
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, s := range says.GetShards() {
				if other := owners[s.GetShard()]; other != "" {
					return fmt.Errorf("shard %d moves between %s and %s", s.GetShard(), other, name)
				}
				owners[s.GetShard()] = name
			}
		}
		for shard := range uint32(shards) {
			if want := discovery.Rank(stream.Shard(shard), members)[0].Instance; owners[shard] != want {
				return fmt.Errorf("shard %d is owned by %q, not by %s", shard, owners[shard], want)
			}
		}
		return nil
	})
}

// PatientOwners, in Options.Env, takes nobody for gone who is only slow, as on a busy
// machine: what is not tried again fails when a log is lost.
func PatientOwners() []string {
	return []string{"SAMSA_ROUTER_SLOW_ANSWER_MS=20000", "SAMSA_STREAM_WRITER_OWNER_TIMEOUT_MS=20000"}
}

// shards is how many a Cluster has.
const shards = 16

func writerName(i int) string { return fmt.Sprintf("stream-writer-%d", i) }

// commonEnv is what all programs are told.
func (c *Cluster) commonEnv(t testing.TB, store Store) []string {
	env := []string{
		"SAMSA_SERVER_ADDRESS=127.0.0.1",
		"SAMSA_SERVER_ETCD_ENDPOINTS=" + c.Etcd.Endpoint,
		"SAMSA_DATABASE_URL=" + c.postgres.URL,
		"SAMSA_NATS_URLS=" + c.NATS.URL,
		"SAMSA_STORAGE_SHARD_COUNT=" + strconv.Itoa(shards),
		"SAMSA_OBSERVABILITY_LOG_FORMAT=json",
	}
	if store == File {
		c.Folder = filepath.ToSlash(t.TempDir())
		return append(env, "SAMSA_STORAGE_URL=file://"+c.Folder)
	}
	server := s3.ForTest(t)
	c.Store, c.storeAddress = server, strings.TrimPrefix(server.Endpoint, "http://")
	config := server.Config("")
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
		}, quickUpkeep(role)...)
		if role == "router" {
			c.http[name] = freePort(t)
			env = append(env, "SAMSA_SERVER_HTTP_PORT="+strconv.Itoa(c.http[name]))
		}
		env = append(append(env, c.Access.env(role)...), c.env...)
		if c.options.Links {
			env = append(env, c.linkedEnv(t, name)...)
		}
		c.processes[name] = newProcess(t, name, c.options.Programs(t, role), loopback(admin), nil, env)
	}
}

// Name implements Target.
func (c *Cluster) Name() string { return "split" }

// Address implements Target: it is router-0's.
func (c *Cluster) Address() string { return c.url(c.ports["router-0"]) }

func (c *Cluster) url(port int) string {
	if c.Access != nil {
		return "https://" + loopback(port)
	}
	return "http://" + loopback(port)
}

// HTTP implements Target.
func (c *Cluster) HTTP() string { return c.url(c.http["router-0"]) }

// Environ is what all programs are told beside what is each one's own.
func (c *Cluster) Environ() []string { return c.env }

// At is where a process such as "stream-writer-0" speaks gRPC: host:port.
func (c *Cluster) At(name string) string { return loopback(c.ports[name]) }

// Process is the process of a name such as "stream-writer-0".
func (c *Cluster) Process(t testing.TB, name string) *Process {
	t.Helper()
	p, ok := c.processes[name]
	if !ok {
		t.Fatalf("there is no %s in this cluster", name)
	}
	return p
}

// Names are the names of all processes, in order.
func (c *Cluster) Names() []string { return slices.Sorted(maps.Keys(c.processes)) }

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

// PostgresURL is the database's, for tests that look into it.
func (c *Cluster) PostgresURL() string { return c.postgres.URL }

// OwnerOf waits until a writer owns a stream's shard, and says which. Those that are
// paused are not asked.
func (c *Cluster) OwnerOf(t testing.TB, bucket, stream string, paused ...string) (owner string) {
	t.Helper()
	Eventually(t, startPatience, bucket+"/"+stream+" has an owner", func() error {
		for i := range c.writers {
			owner = writerName(i)
			if !slices.Contains(paused, owner) && c.processes[owner].Running() && c.owns(t, owner, bucket, stream) {
				return nil
			}
		}
		return errors.New("nobody owns it")
	})
	return owner
}

// Behind opens a connection to one of the processes, as a service of a role has it.
func (c *Cluster) Behind(t testing.TB, name, role string) *grpc.ClientConn {
	t.Helper()
	if c.Access == nil {
		return Dial(t, c.At(name))
	}
	config := c.Access.TLS(t, role)
	config.InsecureSkipVerify = true // names of services are roles, not addresses
	return ConnectWith(t, c.At(name), credentials.NewTLS(config))
}

// owns asks a writer for a stream that it can only know of as the owner.
func (c *Cluster) owns(t testing.TB, name, bucket, stream string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := clusterv1.NewWriterServiceClient(c.Behind(t, name, "stream-reader")).
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
