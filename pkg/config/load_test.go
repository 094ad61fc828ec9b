package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

type server struct {
	Address   string   `koanf:"address" about:"address to listen on"`
	Port      int      `koanf:"port"`
	Endpoints []string `koanf:"etcd_endpoints"`
	Verbose   bool     `koanf:"verbose"`
	Ratio     float64  `koanf:"ratio"`
	Shards    uint32   `koanf:"shards"`
	TLS       struct {
		File     string `koanf:"file"`
		Password string `koanf:"key" secret:"true"`
	} `koanf:"tls"`
}

func (s *server) Validate() []Problem {
	if s.Port == 13 {
		return []Problem{{Key: "server.port", What: "is unlucky", Remedy: "give 14"}}
	}
	return nil
}

type limits struct {
	Port  int   `koanf:"port"`
	Bytes int64 `koanf:"max_bytes"`
}

type setup struct {
	server server
	limits limits
	o      Options
}

func newSetup(t *testing.T, file string) *setup {
	t.Helper()
	s := &setup{server: server{Address: "localhost", Port: 1, Shards: 64}, limits: limits{Port: 1, Bytes: 5}}
	s.o = Options{
		Program: "p", Foreign: []string{"router", "server.other"}, DefaultFiles: []string{},
		Sections: []Section{{"server", &s.server}, {"server", &s.limits}},
	}
	if file != "" {
		s.o.File = filepath.Join(t.TempDir(), "app.toml")
		require.NoError(t, os.WriteFile(s.o.File, []byte(file), 0o600))
	}
	return s
}

func (s *setup) origin(t *testing.T, l *Loaded, key string) string {
	t.Helper()
	for _, v := range l.Values() {
		if v.Key == key {
			return v.Origin
		}
	}
	t.Fatalf("no key %s", key)
	return ""
}

func TestLoad_LaterLayersWin(t *testing.T) {
	s := newSetup(t, "# first\n[server]\naddress = \"file\"\nport = 2\nverbose = true\nratio = 1\n\n[server.tls]\nfile = \"f\"\n")
	s.o.Environ = []string{"SAMSA_SERVER_PORT=3", "SERVER_PORT=9", "SAMSA_SERVER_ETCD_ENDPOINTS=a, b,", "SAMSA_SERVER_RATIO=0.5"}
	s.o.Args = []string{"--server.port=4", "--server.verbose=false"}
	l, err := Load(s.o)
	require.NoError(t, err)
	require.Equal(t, "file", s.server.Address)
	require.Equal(t, 4, s.server.Port)
	require.Equal(t, 4, s.limits.Port, "every section that wants a key gets it")
	require.Equal(t, []string{"a", "b"}, s.server.Endpoints)
	require.Equal(t, 0.5, s.server.Ratio)
	require.False(t, s.server.Verbose)
	require.Equal(t, "f", s.server.TLS.File)
	require.Equal(t, int64(5), s.limits.Bytes)

	require.Equal(t, s.o.File+":3", s.origin(t, l, "server.address"))
	require.Equal(t, s.o.File+":9", s.origin(t, l, "server.tls.file"))
	require.Equal(t, "flag --server.port", s.origin(t, l, "server.port"))
	require.Equal(t, "env SAMSA_SERVER_RATIO", s.origin(t, l, "server.ratio"))
	require.Equal(t, "default", s.origin(t, l, "server.max_bytes"))
	require.Equal(t, s.o.File, l.File())
}

func TestLoad_PrototypeNamesStandBelowCanonicalOnes(t *testing.T) {
	s := newSetup(t, "[server]\nport = 2\n")
	s.o.Environ = []string{"SERVER_PORT=9", "SERVER_ADDRESS=", "ETCD_ENDPOINTS=x"}
	l, err := Load(s.o)
	require.NoError(t, err)
	require.Equal(t, 9, s.server.Port)
	require.Equal(t, "env SERVER_PORT", s.origin(t, l, "server.port"))
	require.Equal(t, []string{"x"}, s.server.Endpoints)
	require.Equal(t, "localhost", s.server.Address, "an empty prototype variable says nothing")
}

type observed struct {
	Level string `koanf:"log_level"`
}

func TestLoad_TakesThePrototypesRustLog(t *testing.T) {
	for name, c := range map[string]struct {
		environ      []string
		want, origin string
	}{
		"for all":         {[]string{"RUST_LOG=samsa=debug"}, "debug", "env RUST_LOG"},
		"for everything":  {[]string{"RUST_LOG=WARN"}, "warn", "env RUST_LOG"},
		"the most":        {[]string{"RUST_LOG=samsa"}, "debug", "env RUST_LOG"},
		"other crates":    {[]string{"RUST_LOG=samsa=debug,sqlx=trace"}, "debug", "env RUST_LOG"},
		"modules":         {[]string{"RUST_LOG=info, samsa::storage=debug,samsa::etcd_client::lease=trace"}, "info,storage=debug,etcd_client.lease=debug", "env RUST_LOG"},
		"nothing of ours": {[]string{"RUST_LOG=sqlx=trace,tower[span{a=1}]=debug"}, "notice", "default"},
		"no level":        {[]string{"RUST_LOG=samsa=loud,samsa::=debug"}, "notice", "default"},
		"empty":           {[]string{"RUST_LOG="}, "notice", "default"},
		"below LOG_LEVEL": {[]string{"LOG_LEVEL=error", "RUST_LOG=samsa=debug"}, "error", "env LOG_LEVEL"},
		"below ours":      {[]string{"SAMSA_OBSERVABILITY_LOG_LEVEL=error", "RUST_LOG=samsa=debug"}, "error", "env SAMSA_OBSERVABILITY_LOG_LEVEL"},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newSetup(t, ""), observed{Level: "notice"}
			s.o.Sections = append(s.o.Sections, Section{"observability", &o})
			s.o.Environ = c.environ
			l, err := Load(s.o)
			require.NoError(t, err)
			require.Equal(t, c.want, o.Level)
			require.Equal(t, c.origin, s.origin(t, l, "observability.log_level"))
		})
	}
}

func TestLoad_NamesUnknownKeysWithTheNearest(t *testing.T) {
	s := newSetup(t, "[server]\nprot = 2\nother = 1\n[servre]\nport = 2\n[router]\nanything = 1\n[zebra]\nx = 1\n")
	s.o.Environ = []string{
		"SAMSA_SERVER_PROT=1", "SAMSA_ROUTER_X=1", "SAMSA_TOKEN=t", "SAMSA_CA_FILE=c", "SAMSA_TEST_S3=1", "SAMSA_VERSITYGW=v",
		"SAMSA_SERVER_PORT=tcp://10.0.0.1:80", "SAMSA_SERVER_SERVICE_HOST=10.0.0.1", "SAMSA_SERVER_PORT_80_TCP_ADDR=10.0.0.1",
	}
	s.o.Args = []string{"--server.adress=x"}
	_, err := Load(s.o)
	var problems Problems
	require.ErrorAs(t, err, &problems)
	text := err.Error()
	require.Len(t, problems, 5, text)
	require.Contains(t, text, "server.prot ("+s.o.File+":2): no such key; did you mean server.port?")
	require.Contains(t, text, "servre.port ("+s.o.File+":5): no such section as [servre]; did you mean server.port?")
	require.Contains(t, text, "zebra.x")
	require.Contains(t, text, "SAMSA_SERVER_PROT (env): no such key; did you mean SAMSA_SERVER_PORT?")
	require.Contains(t, text, "--server.adress: no such flag; did you mean server.address?")
	require.Equal(t, 1, s.server.Port)
}

func TestLoad_ReportsAllProblemsTogether(t *testing.T) {
	s := newSetup(t, "[server]\nport = 13\naddress = 5\nverbose = \"perhaps\"\nshards = -1\nratio = \"half\"\netcd_endpoints = [1]\n[server.tls]\nkey = 7\n")
	_, err := Load(s.o)
	text := err.Error()
	for _, want := range []string{
		"configuration: 7 problems",
		"server.port = \"13\" (" + s.o.File + ":2): is unlucky; give 14",
		"server.address = \"5\"", "want text in quotes",
		"server.verbose = \"perhaps\"", "want true or false",
		"server.shards = \"-1\"", "server.ratio = \"half\"", "server.etcd_endpoints",
		"server.tls.key = \"(secret)\"",
	} {
		require.Contains(t, text, want)
	}
}

func TestLoad_TellsWhereTheFileIsWrong(t *testing.T) {
	s := newSetup(t, "[server]\nport = \n")
	_, err := Load(s.o)
	require.ErrorContains(t, err, "line 2")
	s.o.File = "/no/such/file.toml"
	_, err = Load(s.o)
	require.ErrorContains(t, err, "no such file")
}

func TestLoad_FindsItsFile(t *testing.T) {
	byFlag, byEnv, byDefault := newSetup(t, "[server]\nport = 2\n"), newSetup(t, "[server]\nport = 3\n"), newSetup(t, "[server]\nport = 4\n")
	s := newSetup(t, "")
	s.o.DefaultFiles = []string{"/no/such", byDefault.o.File}
	load := func() int {
		s.server.Port = 1
		_, err := Load(s.o)
		require.NoError(t, err)
		return s.server.Port
	}
	require.Equal(t, 4, load())
	s.o.Environ = []string{"SAMSA_CONFIG=" + byEnv.o.File}
	require.Equal(t, 3, load())
	s.o.Args = []string{"--config", byFlag.o.File}
	require.Equal(t, 2, load())
}

func TestLoad_HidesSecrets(t *testing.T) {
	s := newSetup(t, "")
	s.o.Environ = []string{"SAMSA_SERVER_TLS_KEY=hunter2", "SAMSA_SERVER_ETCD_ENDPOINTS=http://me:hunter2@etcd:2379"}
	l, err := Load(s.o)
	require.NoError(t, err)
	require.Equal(t, "hunter2", s.server.TLS.Password)
	var all strings.Builder
	for _, v := range l.Changed() {
		all.WriteString(v.Key + "=" + v.Value + "\n")
	}
	require.Equal(t, "server.etcd_endpoints=http://(secret)@etcd:2379\nserver.tls.key=(secret)\n", all.String())
}

// A secret is not shown either where its name has a letter wrong, or none.
func TestLoad_HidesWhatMayBeASecret(t *testing.T) {
	s := newSetup(t, "[server]\nkye = \"hunter2\"\n[server.tls]\nkeys = [\"hunter2\"]\n[sever]\npassword = {is = \"hunter2\"}\n")
	s.o.Environ = []string{"SAMSA_SERVER_TLS_KYE=hunter2", "SAMSA_TLS_KEY=hunter2"}
	s.o.Args = []string{"--server.tls.key=", "hunter2", "server.tls.key=hunter2"}
	_, err := Load(s.o)
	require.ErrorContains(t, err, "SAMSA_SERVER_TLS_KYE (env): no such key; did you mean SAMSA_SERVER_TLS_KEY?")
	require.ErrorContains(t, err, "flags: 2 words too many")
	require.NotContains(t, err.Error(), "hunter2")
	s.o.Args = []string{"--server.tls.kye=hunter2"}
	_, err = Load(s.o)
	require.ErrorContains(t, err, "--server.tls.kye: no such flag")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestRedactURLs_HidesAllBeforeTheHost(t *testing.T) {
	for text, want := range map[string]string{
		"nats://hunter2@h:1":               "nats://(secret)@h:1",
		"nats://a:hunter2@h,nats://i:2":    "nats://(secret)@h,nats://i:2",
		"nats://h,nats://hunter2@i":        "nats://h,nats://(secret)@i",
		"postgres://u:hunt/er@2@h/d?x=y":   "postgres://(secret)@h/d?x=y",
		`is no "http://hunter2@h", give 1`: `is no "http://(secret)@h", give 1`,
		"http://h:1/path":                  "http://h:1/path",
		"someone@example.com":              "someone@example.com",
	} {
		require.Equal(t, want, RedactURLs(text))
	}
}

func TestLoad_TakesFlagsThatOthersParsed(t *testing.T) {
	s := newSetup(t, "")
	s.o.Flags = pflag.NewFlagSet("cli", pflag.ContinueOnError)
	s.o.Flags.Bool("json", false, "")
	AddFlags(s.o.Flags, s.o.Sections)
	require.NoError(t, s.o.Flags.Parse([]string{"--json", "--server.verbose", "--server.port", "8", "word"}))
	_, err := Load(s.o)
	require.NoError(t, err)
	require.Equal(t, 8, s.server.Port)
	require.True(t, s.server.Verbose)
}

func TestLoad_Help(t *testing.T) {
	s := newSetup(t, "")
	s.o.Args = []string{"--help"}
	l, err := Load(s.o)
	require.ErrorIs(t, err, pflag.ErrHelp)
	require.Contains(t, l.Usage(), "--server.address")
	require.Contains(t, l.Usage(), "address to listen on (default localhost)")
}

func TestCheckExample_FindsMissingAndOutdatedKeys(t *testing.T) {
	s := newSetup(t, "[server]\naddress = \"elsewhere\"\nport = 1\netcd_endpoints = []\nverbose = false\nratio = 0.0\nmax_bytes = 5\n[server.tls]\nfile = \"\"\nkey = \"\"\n")
	problems := CheckExample(s.o.File, s.o.Sections)
	require.Len(t, problems, 2)
	require.Contains(t, Problems(problems).Error(), "server.address")
	require.Contains(t, Problems(problems).Error(), "server.shards")
}

func TestNearest(t *testing.T) {
	require.Equal(t, "server.port", nearest("server.prot", []string{"server.port", "storage.url"}))
	require.Empty(t, nearest("zebra", []string{"server.port", "storage.url"}))
	require.Equal(t, 3, distance("kitten", "sitting"))
}

func FuzzLoad_NeverPanics(f *testing.F) {
	f.Add("[server]\nport = 1\n", "SAMSA_SERVER_PORT=1")
	f.Add("server.port = 1\n[[server.tls]]\n", "SAMSA_SERVER=x")
	f.Add("server = 3\n[a]\n'b.c' = {d = 1}", "SERVER_PORT")
	f.Fuzz(func(t *testing.T, body, variable string) {
		s := newSetup(t, body)
		s.o.Environ = []string{variable}
		// Only a panic is a failure.
		_, _ = Load(s.o)
	})
}
