package dev

import (
	"bytes"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/service"
	router "github.com/samsa-io/samsa/services/router/app"
	"github.com/samsa-io/samsa/services/samsa/internal/settings"
)

// loaded is the settings that a samsa dev runs with, and what it says about them.
func loaded(t *testing.T, environ []string, args ...string) (settings.All, []string) {
	t.Helper()
	all := defaults()
	flags := pflag.NewFlagSet("dev", pflag.ContinueOnError)
	config.AddFlags(flags, all.Sections())
	require.NoError(t, flags.Parse(args))
	l, err := load(flags, &all, "/data", environ)
	require.NoError(t, err)
	lines := unused(l)
	point(&all, &dependencies{
		etcd: &etcd.Server{Endpoint: "http://127.0.0.1:1"}, nats: &nats.Server{URL: "nats://127.0.0.1:2"},
		postgres: &postgres.Server{URL: "postgres://127.0.0.1:3/samsa"},
	})
	return all, lines
}

func TestLoad_KeepsWhatIsSetOnPurpose(t *testing.T) {
	all, lines := loaded(t, nil)
	require.Empty(t, lines)
	require.Equal(t, "file:///data/store", all.Platform.Storage.URL)
	require.Equal(t, "dev", all.Platform.Server.NodeID)

	all, lines = loaded(t, []string{"NODE_ID=mine"}, "--storage.url", service.Default().Storage.URL)
	require.Empty(t, lines)
	require.Equal(t, service.Default().Storage.URL, all.Platform.Storage.URL, "although it is the default of the separate programs")
	require.Equal(t, "mine", all.Platform.Server.NodeID)
}

func TestLoad_SaysWhatItDoesNotUse(t *testing.T) {
	all, lines := loaded(t, []string{"DATABASE_URL=postgres://db/x", "ETCD_ENDPOINTS=http://localhost:2379"},
		"--nats.urls=tls://nats:4222", "--nats.ca_file=/ca", "--database.max_connections=7")
	require.Equal(t, []string{
		"samsa dev starts its own etcd: server.etcd_endpoints (env ETCD_ENDPOINTS) is not used",
		"samsa dev starts its own Postgres: database.url (env DATABASE_URL) is not used",
		"samsa dev starts its own NATS: nats.urls (flag --nats.urls) is not used",
		"samsa dev starts its own NATS: nats.ca_file (flag --nats.ca_file) is not used",
	}, lines)
	p := all.Platform
	require.Equal(t, service.Database{URL: "postgres://127.0.0.1:3/samsa", MaxConnections: 7}, p.Database)
	require.Equal(t, service.NATS{URLs: []string{"nats://127.0.0.1:2"}}, p.NATS)
	require.Equal(t, []string{"http://127.0.0.1:1"}, p.Server.EtcdEndpoints)
}

// Every key that point changes is one that unused tells of.
func TestPoint_ReplacesOnlyWhatIsToldOf(t *testing.T) {
	values := func(change func(*settings.All)) map[string]string {
		all := defaults()
		change(&all)
		l, err := config.Load(config.Options{Program: "test", Sections: all.Sections(), DefaultFiles: []string{}, Environ: []string{"SAMSA_STORAGE_URL=mem://"}})
		require.NoError(t, err)
		byKey := map[string]string{}
		for _, v := range l.Values() {
			byKey[v.Key] = v.Value
		}
		return byKey
	}
	before := values(func(*settings.All) {})
	after := values(func(all *settings.All) {
		point(all, &dependencies{etcd: &etcd.Server{Endpoint: "http://x:1"}, nats: &nats.Server{URL: "nats://x:1"}, postgres: &postgres.Server{URL: "postgres://x:1/y"}})
	})
	for key := range before {
		if before[key] != after[key] {
			require.NotEmpty(t, replacement(key), key)
		}
	}
}

func TestReady_TellsWhereEachServerListens(t *testing.T) {
	for name, c := range map[string]struct {
		tls   service.TLS
		at    router.Listening
		admin string
		want  string
	}{
		"as usual": {
			service.TLS{}, router.Listening{GRPC: "127.0.0.1:50052", HTTP: "127.0.0.1:8080"}, "127.0.0.1:9090",
			"HTTP and gRPC on http://127.0.0.1:8080, gRPC on http://127.0.0.1:50052, metrics and health on http://127.0.0.1:9090. Try:\n  bin/samsa bucket",
		},
		"no metrics, another port": {
			service.TLS{}, router.Listening{GRPC: "127.0.0.1:7", HTTP: "127.0.0.1:8"}, "",
			"HTTP and gRPC on http://127.0.0.1:8, gRPC on http://127.0.0.1:7. Try:\n  bin/samsa -a http://127.0.0.1:7 bucket",
		},
		"TLS": {
			service.TLS{PublicCertFile: "x"}, router.Listening{GRPC: "127.0.0.1:50052", HTTP: "127.0.0.1:8080"}, "127.0.0.1:9090",
			"HTTP and gRPC on https://127.0.0.1:8080, gRPC on https://127.0.0.1:50052, metrics and health on http://127.0.0.1:9090. Try:\n  bin/samsa -a https://127.0.0.1:50052 bucket",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			ready(&out, c.tls, c.at, c.admin)
			require.Contains(t, out.String(), "Samsa is ready: "+c.want)
		})
	}
}
