package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs command lines against a server in memory.
type shell struct {
	t      testing.TB
	server *clienttest.Server
}

func newShell(t testing.TB) *shell {
	t.Helper()
	server, err := clienttest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	if t, ok := t.(*testing.T); ok {
		t.Setenv("SAMSA_ADDRESS", server.Address())
	}
	return &shell{t, server}
}

// run gives the exit code and what was printed.
func (s *shell) run(stdin string, args ...string) (code int, out, errs string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	code = Run(s.t.Context(), IO{In: strings.NewReader(stdin), Out: &stdout, Err: &stderr}, args)
	return code, stdout.String(), stderr.String()
}

// ok demands success and gives the output.
func (s *shell) ok(stdin string, args ...string) string {
	s.t.Helper()
	code, out, errs := s.run(stdin, args...)
	require.Equal(s.t, 0, code, "%v: %s", args, errs)
	return out
}

// fails demands an exit code and gives what stands on stderr.
func (s *shell) fails(code int, args ...string) string {
	s.t.Helper()
	got, out, errs := s.run("", args...)
	require.Equal(s.t, code, got, "%v: %s", args, errs)
	require.Empty(s.t, out)
	require.True(s.t, strings.HasPrefix(errs, "samsa: "), errs)
	return errs
}

// varying are times, ids and rates.
var varying = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|"timestamp":\d+|"last_timestamp":\d+| in \d.*MiB/s`)

func steady(s string) string { return varying.ReplaceAllString(s, "~") }

// golden is what the commands print, in order.
var golden = []struct{ line, want string }{
	{"bucket create my-bucket --auto-create-on-append --retention 36h", "Created bucket my-bucket\n"},
	{"bucket create other --format json", `{"name":"other","state":"active","created_at":"~"}` + "\n"},
	{"bucket list", "NAME       STATE   CREATED\nmy-bucket  active  ~\nother      active  ~\n"},
	{"bucket ls --prefix o --format json", `{"name":"other","state":"active","created_at":"~"}` + "\n"},
	{"bucket list --limit 1", "NAME       STATE   CREATED\nmy-bucket  active  ~\n"},
	{"bucket config my-bucket", `auto-create on append                 yes
auto-create on read                   no
new streams: storage class            standard
new streams: retention                36h
new streams: timestamping             client-prefer
new streams: allow future timestamps  no
new streams: delete on empty          never
`},
	{"bucket reconfigure my-bucket --auto-create-on-read --storage-class express --format json",
		`{"create_stream_on_append":true,"create_stream_on_read":true,"default_stream_config":{"storage_class":"express","retention_age_seconds":129600,"timestamping_mode":"client-prefer","allow_future_timestamps":false,"delete_on_empty_min_age_seconds":0}}` + "\n"},
	{"bucket delete other", "Deleted bucket other; its data goes in the background\n"},
	{"stream -b my-bucket create my-stream --retention 0 --timestamping arrival", "Created stream my-bucket/my-stream\n"},
	{"stream create -b my-bucket web/1 --format json", `{"name":"web/1","created_at":"~"}` + "\n"},
	{"stream -b my-bucket list", "NAME       CREATED               DELETED\nmy-stream  ~  -\nweb/1      ~  -\n"},
	{"stream -b my-bucket config my-stream", `storage class            express
retention                for ever
timestamping             arrival
allow future timestamps  no
delete on empty          never
`},
	{"stream -b my-bucket reconfigure my-stream --retention 30d --delete-on-empty 1h30m", `storage class            express
retention                30d
timestamping             arrival
allow future timestamps  no
delete on empty          1h30m
`},
	{"data -b my-bucket -s my-stream append --body hello --header k=v --quiet", ""},
	{"data -b my-bucket -s my-stream read", `{"seq_num":0,"seq_id":"~",~,"headers":[{"name":"k","value":"v"}],"body":"hello"}` + "\n"},
	{"stream -b my-bucket tail my-stream --format json", `{"next_seq_num":1,"next_seq_id":"~",~}` + "\n"},
	{"data -b my-bucket -s my-stream fence owner-1", "Fenced my-bucket/my-stream with \"owner-1\"\n"},
	{"data -b my-bucket -s my-stream trim 1 --fencing-token owner-1 --match-seq-num 2", "Trimmed my-bucket/my-stream before seq_num 1\n"},
	{"data -b my-bucket -s my-stream read --format text", ""},
	{"stream -b my-bucket delete web/1", "Deleted stream my-bucket/web/1; its data goes in the background\n"},
	{"token issue writer --op append,check-tail --buckets-exact my-bucket --streams-prefix web/ --auto-prefix-streams --expires-at 2033-05-18T03:33:20Z", "secret-of-writer\n"},
	{"token issue admin --op all --buckets-prefix= --streams-prefix= --access-tokens-prefix= --format json", `{"id":"admin","access_token":"secret-of-admin"}` + "\n"},
	{"token list", "ID      EXPIRES               BUCKETS    STREAMS  TOKENS  OPERATIONS\nadmin   -                     *          *        *       all\nwriter  ~  my-bucket  web/*    -       append,check-tail\n"},
	{"token list --prefix w --format json", `{"id":"writer","expires_at":"~","buckets":"my-bucket","streams":"web/*","access_tokens":"-","auto_prefix_streams":true,"operations":["append","check-tail"]}` + "\n"},
	{"token revoke writer", "Revoked access token writer\n"},
}

func TestCommands_PrintWhatTheyPrint(t *testing.T) {
	s := newShell(t)
	for _, g := range golden {
		require.Equal(t, g.want, steady(s.ok("", strings.Fields(g.line)...)), g.line)
	}
}

func TestExitCodes_UsageIsTwoFailureIsOne(t *testing.T) {
	s := newShell(t)
	for line, want := range map[string]string{
		"nope":                                        `unknown command "nope"`,
		"bucket nope":                                 `unknown command "nope" for "samsa bucket"`,
		"bucket create":                               "accepts 1 arg(s)",
		"bucket create a b":                           "accepts 1 arg(s)",
		"bucket list --nope":                          "unknown flag: --nope",
		"bucket list --format xml":                    "want table or json",
		"bucket create x --retention 1.5s":            "want whole seconds",
		"bucket create x --storage-class gold":        "want one of express, standard",
		"bucket reconfigure x":                        "nothing to change",
		"stream list":                                 "which bucket?",
		"data -b x read":                              "which stream?",
		"data -s x read":                              "which bucket?",
		"data -b x -s y append":                       "append what?",
		"data -b x -s y append --body b --header k":   "want name=value",
		"data -b x -s y append --body b --from-stdin": "none of the others can be",
		"data -b x -s y append --from-stdin --producer-seq 1":   "needs --producer-id",
		"data -b x -s y read --start-seq-id 7":                  "want the 36 characters",
		"data -b x -s y read --start-timestamp noon":            "want Unix milliseconds",
		"data -b x -s y read --start-seq-num 1 --tail-offset 1": "none of the others can be",
		"data -b x -s y trim first":                             "want a number",
		"token issue t":                                         "give --op",
		"token issue t --op fly":                                "want all, or one of append",
		"token issue t --op read --auto-prefix-streams":         "needs --streams-prefix",
		"bench --mode dance":                                    "want append, session, read or live",
		"bench --record-size 3":                                 "record size 3",
		"bench --rate=-1":                                       "rate of -1",
		"-a ftp://x bucket list":                                "want http:// or https://",
	} {
		require.Contains(t, s.fails(2, strings.Fields(line)...), want, line)
	}
	for line, want := range map[string]string{
		"bucket config nothing":                   "[NOT_FOUND, request req-1]",
		"bucket create Bad":                       "[INVALID_ARGUMENT]",
		"data -b nothing -s y read":               "not found",
		"data -b nothing -s y append --body b -q": "not found",
		"config validate --server.port=eighty":    "eighty",
	} {
		require.Contains(t, s.fails(1, strings.Fields(line)...), want, line)
	}
	errs := s.fails(1, "-a", "http://127.0.0.1:1", "--retry-for", "10ms", "bucket", "list")
	require.Contains(t, errs, "No answer from http://127.0.0.1:1")
}

func TestEveryCommand_HasHelpWithAnExample(t *testing.T) {
	a := &app{IO: IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}}
	leaves := 0
	for _, group := range a.root().Commands() {
		for _, c := range append(group.Commands(), group) {
			if c.HasSubCommands() || c.Name() == "help" || c.Name() == "completion" {
				continue
			}
			leaves++
			require.NotEmpty(t, c.Short, c.CommandPath())
			require.Contains(t, c.Example, "samsa ", c.CommandPath())
			require.Equal(t, 0, Run(t.Context(), a.IO, append(strings.Fields(c.CommandPath())[1:], "--help")))
		}
	}
	require.Equal(t, 29, leaves)
	require.Equal(t, 0, Run(t.Context(), a.IO, []string{"completion", "bash"}))
}

func TestToken_ComesFromFlagOrEnvironment(t *testing.T) {
	s := newShell(t)
	s.server.RequireToken("s3cret")
	require.Contains(t, s.fails(1, "bucket", "list"), "INVALID_ACCESS_TOKEN")
	s.ok("", "--token", "s3cret", "bucket", "list")
	t.Setenv("SAMSA_TOKEN", "s3cret")
	s.ok("", "bucket", "list")
	code, out, _ := s.run("", "bucket", "list", "--help")
	require.Equal(t, 0, code)
	require.NotContains(t, out, "s3cret")
}

func TestConfigShow_SaysWhereValuesComeFrom(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "samsa.toml")
	require.NoError(t, os.WriteFile(file, []byte("[server]\nport = 7\n"), 0o600))
	t.Setenv("LOG_LEVEL", "debug")
	out := s.ok("", "config", "show", "--config", file, "--server.zone=z1", "--changed")
	for _, want := range []string{"server.port", file, "LOG_LEVEL", "flag --server.zone"} {
		require.Contains(t, out, want)
	}
	require.Contains(t, s.ok("", "config", "show", "--format", "json"), `"origin":"default"`)
	require.Equal(t, "The configuration is valid.\n", s.ok("", "config", "validate"))
}

// What the command line itself takes from the environment is no key of the services,
// and no mistake of theirs.
func TestConfigValidate_KnowsTheCommandLinesVariables(t *testing.T) {
	s := newShell(t)
	root := (&app{IO: IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}}).root()
	variables := regexp.MustCompile(`SAMSA_\w+`).FindAllString(root.Long+root.PersistentFlags().FlagUsages(), -1)
	require.Subset(t, variables, []string{"SAMSA_ADDRESS", "SAMSA_TOKEN", "SAMSA_CA_FILE"})
	for _, variable := range variables {
		t.Setenv(variable, "x")
	}
	s.ok("", "config", "validate")
}

func TestVersion(t *testing.T) {
	s := newShell(t)
	require.Contains(t, s.ok("", "version"), "go1.")
	require.Contains(t, s.ok("", "version", "--format", "json"), `"platform"`)
}

func TestBench_PrintsAndVerifies(t *testing.T) {
	s := newShell(t)
	for _, mode := range []string{"append", "session", "read", "live"} {
		out := s.ok("", "bench", "--mode", mode, "--records", "200", "--record-size", "32")
		require.Contains(t, out, "verified    ", mode)
		require.Contains(t, out, "200 records: none lost", mode)
	}
	require.Contains(t, s.ok("", "bench", "--records", "10", "--format", "json"), `"verified_records":10`)
}

func TestRun_LeavesTheLastWordToACommandThatHasSaidAll(t *testing.T) {
	extra := command("dev", "x", "samsa dev", cobra.NoArgs, func(*cobra.Command, []string) error { return &ExitError{Code: 7} })
	var errs bytes.Buffer
	require.Equal(t, 7, Run(t.Context(), IO{In: strings.NewReader(""), Out: io.Discard, Err: &errs}, []string{"dev"}, extra))
	require.Empty(t, errs.String())
}

func TestRun_TakesExtraCommands(t *testing.T) {
	called := false
	extra := command("dev", "x", "samsa dev", cobra.NoArgs, func(*cobra.Command, []string) error { called = true; return nil })
	require.Equal(t, 0, Run(context.Background(), IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, []string{"dev"}, extra))
	require.True(t, called)
}
