package service

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/config"
)

func load(t *testing.T, body string, environ []string, args ...string) (Config, *config.Loaded, error) {
	t.Helper()
	file := t.TempDir() + "/app.toml"
	writeFile(t, file, body)
	c := Default()
	loaded, err := config.Load(config.Options{
		Program: "stream-writer", Sections: c.Sections(), Foreign: Foreign(),
		File: file, Environ: environ, Args: args,
	})
	return c, loaded, err
}

const prototypeExample = `
[server]
address = "0.0.0.0"
port = 50052
etcd_endpoints = ["http://localhost:2379"]
heartbeat_interval_secs = 30
lease_ttl_secs = 60

[storage]
batch_size = 100
batch_max_bytes = 1048576
batch_flush_interval_ms = 5000

[observability]
metrics_port = 9090
log_level = "info"
enable_otel_tracing = false

[database]
host = "localhost"
port = 5432
username = "postgres"
database_name = "samsa_metadata"
`

func TestConfig_TakesThePrototypesExample(t *testing.T) {
	c, _, err := load(t, prototypeExample, nil)
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0", c.Server.Address)
	require.Equal(t, 30, c.Server.HeartbeatIntervalSecs)
	require.Equal(t, 100, c.Storage.BatchSize)
	require.Equal(t, 1<<20, c.Storage.BatchMaxBytes)
	require.Equal(t, "samsa_metadata", c.Database.DatabaseName)
}

func TestConfig_TakesThePrototypesVariables(t *testing.T) {
	c, _, err := load(t, "", []string{
		"SERVER_ADDRESS=0.0.0.0", "SERVER_PORT=6000", "ETCD_ENDPOINTS=http://a:2379,http://b:2379",
		"HEARTBEAT_INTERVAL_SECS=3", "LEASE_TTL_SECS=9", "LOG_LEVEL=warn", "SERVICE_NAME=samsa-prod",
		"DATABASE_URL=postgres://me:pw@db/x", "DATABASE_HOST=db", "METRICS_PORT=9191",
		"ENABLE_OTEL_TRACING=true", "OTEL_ENDPOINT=http://otel:4317", "STORAGE_BATCH_SIZE=7", "RUST_LOG=samsa=debug",
	})
	require.NoError(t, err)
	require.Equal(t, 6000, c.Server.Port)
	require.Equal(t, []string{"http://a:2379", "http://b:2379"}, c.Server.EtcdEndpoints)
	require.Equal(t, 9, c.Server.LeaseTTLSecs)
	require.Equal(t, "warn", c.Observability.LogLevel)
	require.Equal(t, "samsa-prod", c.Observability.ServiceName)
	require.Equal(t, "postgres://me:pw@db/x", c.Database.DSN())
	require.Equal(t, 9191, c.Observability.MetricsPort)
	require.True(t, c.Observability.EnableOtelTracing)
	require.Equal(t, 7, c.Storage.BatchSize)
}

func TestConfig_NamesEveryProblemAtOnce(t *testing.T) {
	_, _, err := load(t, "[server]\nport = 70000\nlease_ttl_secs = 1\n[database]\nsslmode = \"maybe\"\n[nats]\nurls = [\"localhost\"]\n",
		[]string{"LOG_LEVEL=info,writer=loud"}, "--storage.window=0", "--storage.url=s3://")
	require.Error(t, err)
	for _, key := range []string{
		"server.port = \"70000\"", "server.lease_ttl_secs", "database.sslmode = \"maybe\"", "nats.urls = \"localhost\"",
		"observability.log_level", "(env LOG_LEVEL)", "\"loud\"", "storage.window = \"0\" (flag --storage.window)", "storage.url",
	} {
		require.Contains(t, err.Error(), key)
	}
}

func TestConfig_TellsWhereTheStoresProblemsComeFrom(t *testing.T) {
	_, loaded, err := load(t, "[storage]\nurl = \"s4://me:hunter2@bucket\"\n[storage.s3]\nendpoint = \"nowhere\"\naccess_key_id = \"id\"\nsecret_access_key = \"\"\n", nil)
	var problems config.Problems
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, 3)
	for i, want := range []string{
		`storage.url = "s4://(secret)@bucket" (` + loaded.File() + `:2): names no store`,
		`storage.s3.endpoint = "nowhere" (` + loaded.File() + `:4): is no address`,
		`storage.s3.secret_access_key (` + loaded.File() + `:6): is empty, although storage.s3.access_key_id is not; give both`,
	} {
		require.Contains(t, problems[i].String(), want)
	}
}

func TestConfig_NeverShowsAPassword(t *testing.T) {
	_, loaded, err := load(t, "[database]\nurl = \"postgres://me:hunter2@db:no-port/x\"\npassword = \"hunter2\"\n",
		[]string{"SAMSA_NATS_URLS=nats://u:hunter2@nats:4222", "SAMSA_STORAGE_S3_SECRET_ACCESS_KEY=hunter2"})
	require.ErrorContains(t, err, "database.url")
	require.NotContains(t, err.Error(), "hunter2")
	for _, v := range append(loaded.Values(), loaded.Changed()...) {
		require.NotContains(t, v.Value, "hunter2", v.Key)
	}
}

func TestServer_Advertised(t *testing.T) {
	s := Server{Address: "0.0.0.0"}
	require.Equal(t, hostname()+":50052", s.Advertised("0.0.0.0:50052"))
	require.Equal(t, hostname()+":50052", s.Advertised("[::]:50052"))
	require.Equal(t, "127.0.0.1:7", s.Advertised("127.0.0.1:7"))
	require.Equal(t, "inproc:writer", s.Advertised("inproc:writer"))
	s.AdvertiseAddress = "writer-0"
	require.Equal(t, "writer-0:50052", s.Advertised("0.0.0.0:50052"))
	s.AdvertiseAddress = "edge:1"
	require.Equal(t, "edge:1", s.Advertised("0.0.0.0:50052"))
}

func TestProgram_ExitsWith2OnBadConfiguration(t *testing.T) {
	c := Default()
	p := Program{Name: "stream-writer", Config: &c, Module: func() fx.Option { return fx.Options() }}
	var stdout, stderr bytes.Buffer
	require.Equal(t, ExitUsage, p.Run([]string{"--server.port=x"}, nil, &stdout, &stderr))
	require.Contains(t, stderr.String(), "server.port")
	require.Equal(t, ExitOK, p.Run([]string{"--help"}, nil, &stdout, &stderr))
	require.True(t, strings.Contains(stdout.String(), "--storage.batch_max_bytes"), stdout.String())
}
