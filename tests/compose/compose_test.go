//go:build compose

package compose

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
)

const bucket = "compose"

// TestCompose is one story: each part goes on with what the one before left.
func TestCompose(t *testing.T) {
	s := newStack(t)
	t.Run("QuickStartByCommandLineAndCurl", func(t *testing.T) { quickStart(t, s) })
	t.Run("NamesWithSlashesPassTheEdge", func(t *testing.T) { slashes(t, s) })
	t.Run("WithoutTokenNothing", func(t *testing.T) { withoutToken(t, s) })
	t.Run("ATokenMayWhatItSaysUntilItIsRevoked", func(t *testing.T) { limitedToken(t, s) })
	t.Run("LiveOverEachProtocol", func(t *testing.T) { live(t, s) })
	t.Run("ShardsSpread", func(t *testing.T) { spread(t, s) })

	l := startLoad(t, s.client(t), bucket)
	l.requireUnharmed(t, "the start")
	for _, dependency := range []string{"postgres", "nats", "etcd"} {
		t.Run("StopAndStartOf_"+dependency, func(t *testing.T) { outage(t, s, l, dependency) })
	}
	t.Run("KillOfAWriter", func(t *testing.T) { killWriter(t, s, l) })
	// Before the restarts: a program that has had no call yet counts none.
	t.Run("DashboardsReturnData", func(t *testing.T) { dashboards(t, s) })
	for _, service := range []string{"router", "stream-reader", "stream-writer", "account", "bucket", "compactor"} {
		t.Run("RollingRestartOf_"+service, func(t *testing.T) { rollingRestart(t, s, l, service) })
	}
	t.Run("TLSWithCertificates", func(t *testing.T) { withTLS(t, s) })
	l.requireUnharmed(t, "another edge")
	t.Run("NothingAcknowledgedIsLost", l.finish)
}

func quickStart(t *testing.T, s stack) {
	s.cli(t, "", "bucket", "create", bucket, "--auto-create-on-append")
	s.cli(t, "", "stream", "-b", bucket, "create", "my-stream")
	s.cli(t, "Hello, World!\n", "data", "-b", bucket, "-s", "my-stream", "append", "--from-stdin")
	require.Contains(t, s.cli(t, "", "data", "-b", bucket, "-s", "my-stream", "read"), `"body":"Hello, World!"`)

	records := s.url() + "/api/v1/buckets/" + bucket + "/streams/my-stream/records?text=true"
	authorization := "Authorization: Bearer " + s.token()
	run(t, "", "curl", "-fsS", "-H", authorization, "-X", "POST", records, "-d", `{"records":[{"body":"from curl"}]}`)
	require.Contains(t, run(t, "", "curl", "-fsS", "-H", authorization, records), "from curl")
}

func slashes(t *testing.T, s stack) {
	path := "/api/v1/buckets/" + bucket + "/streams/a%2Fb%2F%2Fc/"
	response := s.request(t.Context(), t, http.MethodPost, path+"records?text=true", "application/json", `{"records":[{"body":"deep"}]}`)
	require.Equal(t, http.StatusOK, response.StatusCode)
	tail, err := s.client(t).Bucket(bucket).Stream("a/b//c").CheckTail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), tail.SeqNum)
}

func withoutToken(t *testing.T, s stack) {
	response, err := http.Get(s.url() + "/api/v1/buckets")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}

// limitedToken issues a token that may read one bucket, by the command line, and takes
// it back.
func limitedToken(t *testing.T, s stack) {
	var issued struct {
		Secret string `json:"access_token"`
	}
	out := s.cli(t, "", "token", "issue", "compose-reader", "--op", "read", "--buckets-exact", bucket, "--streams-prefix", "", "--format", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &issued), out)
	token := issued.Secret
	call := func(token, method, path, body string) int {
		r, err := http.NewRequestWithContext(t.Context(), method, s.url()+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	records := "/api/v1/buckets/" + bucket + "/streams/my-stream/records"
	require.Equal(t, http.StatusOK, call(token, http.MethodGet, records, ""))
	require.Equal(t, http.StatusForbidden, call(token, http.MethodPost, records, `{"records":[{"body":"eA=="}]}`))
	require.Equal(t, http.StatusUnauthorized, call(token+"0", http.MethodGet, records, ""))
	s.cli(t, "", "token", "revoke", "compose-reader")
	require.Eventually(t, func() bool { return call(token, http.MethodGet, records, "") == http.StatusUnauthorized },
		time.Minute, 100*time.Millisecond, "a revoked token goes on")
}

// live follows one stream by gRPC, lines and events at once, all through the edge.
func live(t *testing.T, s stack) {
	const records = 20
	stream := s.client(t).Bucket(bucket).Stream("live")
	_, err := stream.Append(t.Context(), client.AppendInput{Records: []client.AppendRecord{{Body: []byte("live 0")}}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := "/api/v1/buckets/" + bucket + "/streams/live/session?text=true&seq_num=0"
	lines := s.request(ctx, t, http.MethodGet, path, "application/x-ndjson", "").Body
	events := s.request(ctx, t, http.MethodGet, path, "text/event-stream", "").Body
	session := stream.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)})
	defer session.Close()
	for n := 1; n < records; n++ {
		_, err := stream.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: fmt.Appendf(nil, "live %d", n)}}})
		require.NoError(t, err)
	}
	n := 0
	for record, err := range session.Records() {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("live %d", n), string(record.Body))
		if n++; n == records {
			break
		}
	}
	requireBodies(t, lines, "", records)
	requireBodies(t, events, "data:", records)
}

// requireBodies reads responses as JSON from lines with a prefix.
func requireBodies(t *testing.T, from io.Reader, prefix string, want int) {
	t.Helper()
	n := 0
	for in := bufio.NewScanner(from); n < want && in.Scan(); {
		data, found := strings.CutPrefix(in.Text(), prefix)
		if !found || strings.TrimSpace(data) == "" {
			continue
		}
		var response struct {
			Output struct {
				Batch struct{ Records []struct{ Body string } }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(data), &response), data)
		for _, record := range response.Output.Batch.Records {
			require.Equal(t, fmt.Sprintf("live %d", n), record.Body)
			n++
		}
	}
	require.Equal(t, want, n)
}

// spread looks into each writer's log: its latest word on what it owns.
func spread(t *testing.T, s stack) {
	for _, writer := range s.containers(t, "stream-writer") {
		require.Eventually(t, func() bool { return owned(t, writer) > 0 }, time.Minute, time.Second, "%s owns no shard", writer)
		t.Logf("stream-writer %.12s owns %d shards", writer, owned(t, writer))
	}
}

func owned(t *testing.T, writer string) (shards int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "logs", writer).CombinedOutput()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		var entry struct {
			Message string `json:"msg"`
			Shards  int    `json:"shards"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "owns shards" {
			shards = entry.Shards
		}
	}
	return shards
}

// outage stops what appends, tails and reads of known streams do not need.
func outage(t *testing.T, s stack, l *load, dependency string) {
	finish := startStrict(t, s)
	s.compose(t, "", "stop", dependency)
	l.requireUnharmed(t, dependency+" stopping")
	until := time.After(10 * time.Second)
	<-until
	l.requireUnharmed(t, "ten seconds without "+dependency)
	s.compose(t, "", "start", dependency)
	for _, container := range s.containers(t, dependency) {
		awaitHealthy(t, container)
	}
	l.requireUnharmed(t, dependency+" coming back")
	finish()
}

// withTLS starts the edge anew with certificates, as an operator would who got some.
func withTLS(t *testing.T, s stack) {
	certificates := newCertificates(t)
	t.Setenv("SAMSA_CERTIFICATES", certificates)
	s.compose(t, "", "up", "-d", "--no-build", "--pull", "never", "--no-deps", "edge")
	awaitHealthy(t, s.containers(t, "edge")[0])
	address := "https://localhost:" + s.env["SAMSA_TLS_PORT"]
	run(t, "", "curl", "-fsS", "--tlsv1.3", "--cacert", certificates+"/tls.crt", "-H", "Authorization: Bearer "+s.token(), address+"/api/v1/buckets")
	c, err := client.New(address, client.WithToken(s.token()), client.WithCAFile(certificates+"/tls.crt"))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Bucket(bucket).Stream("my-stream").CheckTail(t.Context())
	require.NoError(t, err)
	renewCertificate(t, certificates, strings.TrimPrefix(address, "https://"))
}

// renewCertificate puts another certificate in the place of the edge's, which takes it
// up without a restart.
func renewCertificate(t *testing.T, folder, address string) {
	t.Helper()
	next := newCertificates(t)
	pair, err := tls.LoadX509KeyPair(next+"/tls.crt", next+"/tls.key")
	require.NoError(t, err)
	for _, file := range []string{"/tls.key", "/tls.crt"} {
		require.NoError(t, os.Rename(next+file, folder+file))
	}
	require.Eventually(t, func() bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Equal(pair.Leaf)
	}, time.Minute, 100*time.Millisecond, "the edge goes on showing the certificate of before")
}

func killWriter(t *testing.T, s stack, l *load) {
	victim := s.containers(t, "stream-writer")[0]
	docker(t, "kill", victim)
	l.requireUnharmed(t, "the kill of a writer")
	docker(t, "start", victim)
	awaitHealthy(t, victim)
	l.requireUnharmed(t, "its return")
}

// rollingRestart restarts one instance after the other, as an upgrade would.
func rollingRestart(t *testing.T, s stack, l *load, service string) {
	for _, container := range s.containers(t, service) {
		docker(t, "stop", "-t", "65", container)
		require.Equal(t, "0", strings.TrimSpace(docker(t, "inspect", "-f", "{{.State.ExitCode}}", container)), "%s ends cleanly", service)
		docker(t, "start", container)
		awaitHealthy(t, container)
		l.requireUnharmed(t, "a restart of "+service)
	}
}
