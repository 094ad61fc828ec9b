package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

// data is a command line on the stream logs/web.
func data(args ...string) []string {
	return append([]string{"data", "-b", "logs", "-s", "web"}, args...)
}

// newLogs is a shell with the bucket that the stream is made in.
func newLogs(t testing.TB) *shell {
	t.Helper()
	s := newShell(t)
	s.ok("", "bucket", "create", "logs", "--auto-create-on-append", "--auto-create-on-read")
	return s
}

func TestData_StdinComesBackIdentical(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes)
	for name, in := range map[string]string{
		"nothing":               "",
		"one line":              "Hello, World!\n",
		"empty lines":           "\n\na\n\n",
		"carriage returns":      "a\r\nb\r\n",
		"bytes that are no UTF": "\xff\x00\xfe\n\x80\n",
		"the longest lines":     long + "\n" + long + "\nshort\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newLogs(t)
			s.ok(in, data("append", "--from-stdin")...)
			require.Equal(t, in, s.ok("", data("read", "--format", "text")...))
		})
	}
}

func TestAppend_LastLineNeedsNoNewline(t *testing.T) {
	s := newLogs(t)
	s.ok("a\nb", data("append", "--from-stdin")...)
	require.Equal(t, "a\nb\n", s.ok("", data("read", "--format", "text")...))
}

// The server fails again and again while 100,000 lines go in, and while they
// come back.
func TestData_HundredThousandLinesThroughFaults(t *testing.T) {
	s := newLogs(t)
	every := func(k int, f func() error) func(int) error {
		return func(n int) error {
			if n%k == 0 {
				return f()
			}
			return nil
		}
	}
	s.server.SetFaults(clienttest.Faults{
		BeforeAppend: every(17, func() error { return clienttest.Unavailable(nil) }),
		AfterAppend:  every(23, func() error { s.server.KillConnections(); return nil }),
		BeforeRead:   every(13, func() error { return clienttest.Unavailable(nil) }),
	})
	var in bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		_, _ = fmt.Fprintf(&in, "%d %s\n", i, strings.Repeat("z", random.IntN(100)))
	}
	code, _, errs := s.run(in.String(), data("append", "--from-stdin")...)
	require.Equal(t, 0, code, errs)
	require.Contains(t, errs, "appended 100000 records")
	require.Contains(t, errs, "seq_num 0 to 99999")
	require.True(t, in.String() == s.ok("", data("read", "--format", "text")...), "the lines differ")
}

func TestAppend_SaysWhatItDid(t *testing.T) {
	s := newLogs(t)
	code, out, errs := s.run("one\ntwo\n", data("append", "--from-stdin")...)
	require.Equal(t, 0, code)
	require.Empty(t, out)
	require.Equal(t, "appended 2 records (6 bytes)~; seq_num 0 to 1\n", steady(errs))
	_, _, errs = s.run("three\n", data("append", "--from-stdin", "--quiet")...)
	require.Empty(t, errs)
}

func TestAppend_LineThatIsTooLongIsNamed(t *testing.T) {
	s := newLogs(t)
	code, _, errs := s.run("fine\n"+strings.Repeat("x", maxLineBytes+1)+"\nnever\n", data("append", "--from-stdin")...)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "line 2 of stdin")
	require.Contains(t, errs, "1048568 bytes")
	require.Equal(t, "fine\n", s.ok("", data("read", "--format", "text")...))
}

func TestAppend_JSONLinesKeepEverything(t *testing.T) {
	s := newLogs(t)
	in := `{"body":"plain \"quoted\" \u0001\t","headers":[{"name":"k","value":"v"},{"name_base64":"/w==","value_base64":"/g=="}],"timestamp":1000}
{"body_base64":"/wA=","seq_num":7,"seq_id":"ignored"}
{}
`
	s.ok(in, data("append", "--from-stdin", "--format", "json", "--header", "h=all")...)
	out := s.ok("", data("read")...)
	var records []map[string]any
	for line := range strings.Lines(out) {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		records = append(records, r)
	}
	require.Len(t, records, 3)
	require.Equal(t, "plain \"quoted\" \u0001\t", records[0]["body"])
	require.EqualValues(t, 1000, records[0]["timestamp"])
	require.Equal(t, "/wA=", records[1]["body_base64"])
	require.Contains(t, out, `"headers":[{"name":"h","value":"all"},{"name":"k","value":"v"},{"name_base64":"/w==","value_base64":"/g=="}]`)

	s.ok("", "stream", "-b", "logs", "create", "copy")
	s.ok(out, "data", "-b", "logs", "-s", "copy", "append", "--from-stdin", "--format", "json")
	require.Equal(t, steady(out), steady(s.ok("", "data", "-b", "logs", "-s", "copy", "read")))
}

// What is refused is what would else be stored as something that nobody wrote.
func TestAppend_JSONLinesThatAreMalformedAreNamedAndRefused(t *testing.T) {
	s := newLogs(t)
	lines := map[string]string{
		"no json":                                "invalid character",
		"":                                       "EOF",
		"null":                                   "there is no object",
		"[]":                                     "there is no object",
		`"text"`:                                 "there is no object",
		`{"body":"x"`:                            "EOF",
		`{"body":"x",}`:                          "invalid character",
		`{"body":"x"}}`:                          "something stands behind the object",
		`{"body":"x"}]`:                          "something stands behind the object",
		"{}{}":                                   "something stands behind the object",
		"{} x":                                   "something stands behind the object",
		`{"bodi":"x"}`:                           `field "bodi": unknown field`,
		`{"Body":"x"}`:                           `field "Body": unknown field`,
		`{"body":"x","body":"y"}`:                `field "body" stands there twice`,
		`{"seq_num":1,"seq_num":1}`:              `field "seq_num" stands there twice`,
		`{"body":"a","body_base64":"YQ=="}`:      "both body and body_base64",
		`{"body":1}`:                             "cannot unmarshal number",
		`{"body_base64":[1,2]}`:                  "cannot unmarshal array",
		`{"body_base64":"?"}`:                    "illegal base64",
		`{"body_base64":"YR=="}`:                 "illegal base64",
		`{"timestamp":-1}`:                       "cannot unmarshal number -1",
		`{"timestamp":1.5}`:                      "cannot unmarshal number 1.5",
		`{"timestamp":"1"}`:                      "cannot unmarshal string",
		`{"headers":{}}`:                         "there is no list",
		`{"headers":[null]}`:                     "there is no object",
		`{"headers":[{"name":"k","name":"l"}]}`:  `field "name" stands there twice`,
		`{"headers":[{"Value":"k"}]}`:            `field "Value": unknown field`,
		`{"headers":[{"name":"k","names":"l"}]}`: `field "names": unknown field`,
		`{"headers":[{"value":"","value_base64":""}]}`: "both value and value_base64",
		"{\"body\":\"\xff\"}":                          "it is not UTF-8",
		"{\"headers\":[{\"name\":\"\xc3\"}]}":          "it is not UTF-8",
		`{"body":"\ud800"}`:                            "half of a surrogate pair",
		`{"body":"\udc00\ud800"}`:                      "half of a surrogate pair",
		`{"body":"\ud800\u0041"}`:                      "half of a surrogate pair",
	}
	for bad, want := range lines {
		code, _, errs := s.run("{\"body\":\"fine\"}\n"+bad+"\n", data("append", "--from-stdin", "--format", "json")...)
		require.Equal(t, 1, code, bad)
		require.Contains(t, errs, "line 2 of stdin: bad line: ", bad)
		require.Contains(t, errs, want, bad)
	}
	require.Equal(t, strings.Repeat("fine\n", len(lines)), s.ok("", data("read", "--format", "text")...))
}

func TestAppend_JSONLinesMayLeaveOutAndEscape(t *testing.T) {
	s := newLogs(t)
	in := ` {"body":"\ud834\udd1e \\ud800 \ufffd\u00e9","timestamp":null} ` + "\r\n" +
		`{"body":null,"body_base64":"YQ==","headers":null,"timestamp":2000}` + "\n" + `{"headers":[{"name":"a","value":null}]}` + "\n"
	s.ok(in, data("append", "--from-stdin", "--format", "json", "--timestamp", "1000")...)
	out := s.ok("", data("read")...)
	for _, want := range []string{
		`"timestamp":1000,"body":"𝄞 \\ud800 �é"`, `"timestamp":2000,"body":"a"`, `"headers":[{"name":"a","value":""}],"body":""`,
	} {
		require.Contains(t, out, want)
	}
}

func TestAppend_ConditionsAndProducer(t *testing.T) {
	s := newLogs(t)
	s.ok("a\nb\n", data("append", "--from-stdin", "--match-seq-num", "0", "--producer-id", "p")...)
	s.ok("a\nb\n", data("append", "--from-stdin", "--producer-id", "p")...) // the same again
	require.Equal(t, "a\nb\n", s.ok("", data("read", "--format", "text")...))
	s.ok("c\n", data("append", "--from-stdin", "--producer-id", "p", "--producer-seq", "2")...)
	code, _, errs := s.run("d\n", data("append", "--from-stdin", "--match-seq-num", "9")...)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "next seq_num is 3")
	require.Contains(t, errs, "appended 0 records")

	var tail struct {
		ID string `json:"next_seq_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.ok("", "stream", "-b", "logs", "tail", "web", "--format", "json")), &tail))
	s.ok("", data("append", "--body", "d", "--body", "e", "--match-seq-id", tail.ID)...)
	s.ok("", data("fence", "me")...)
	require.Contains(t, s.fails(1, data("append", "--body", "f", "--fencing-token", "you", "-q")...), `fencing token is "me"`)
	require.Equal(t, "a\nb\nc\nd\ne\n", s.ok("", data("read", "--format", "text")...))
}

func TestRead_StartsAndLimits(t *testing.T) {
	s := newLogs(t)
	for i := range 10 {
		s.ok("", data("append", "--body", fmt.Sprint(i), "--timestamp", fmt.Sprint(1000+i), "-q")...)
	}
	for flags, want := range map[string]string{
		"--start-seq-num 8":                          "89",
		"--tail-offset 3":                            "789",
		"--start-timestamp 1007":                     "789",
		"--start-timestamp 1970-01-01T00:00:01.009Z": "9",
		"--limit 2":                                  "01",
		"--max-bytes 18":                             "01",
		"--max-bytes 1":                              "0",
		"--until 1003":                               "012",
		"--start-seq-num 99 --clamp":                 "",
	} {
		got := s.ok("", data(append([]string{"read", "--format", "text"}, strings.Fields(flags)...)...)...)
		require.Equal(t, want, strings.ReplaceAll(got, "\n", ""), flags)
	}
	require.Contains(t, s.fails(1, data("read", "--start-seq-num", "99")...), "past the tail")
}

// brokenPipe fails as a pipe does whose reader has gone.
type brokenPipe struct{ left int }

func (p *brokenPipe) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestRead_EndsQuietlyWhenItsReaderHasGone(t *testing.T) {
	s := newLogs(t)
	s.ok(strings.Repeat("line\n", 200_000), data("append", "--from-stdin")...)
	for _, command := range [][]string{{"read"}, {"subscribe", "--start-seq-num", "0"}} {
		var errs bytes.Buffer
		code := Run(t.Context(), IO{In: strings.NewReader(""), Out: &brokenPipe{left: 1000}, Err: &errs}, data(command...))
		require.Equal(t, 0, code)
		require.Empty(t, errs.String())
	}
}

// A subscription shows each line at once, and ends well when it is interrupted.
func TestSubscribe_FollowsUntilInterrupted(t *testing.T) {
	s := newLogs(t)
	s.ok("old\n", data("append", "--from-stdin")...)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		code <- Run(ctx, IO{In: strings.NewReader(""), Out: writer, Err: &errs}, data("subscribe", "--format", "text", "--tail-offset", "1"))
		_ = writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	require.True(t, lines.Scan())
	require.Equal(t, "old", lines.Text())
	for i := range 3 {
		s.ok(fmt.Sprintf("new %d\n", i), data("append", "--from-stdin")...)
		require.True(t, lines.Scan())
		require.Equal(t, fmt.Sprintf("new %d", i), lines.Text())
	}
	interrupt()
	require.False(t, lines.Scan())
	require.Equal(t, 0, <-code)
	require.Empty(t, errs.String())
}

// Whoever takes the output for all there is must not be told that it is.
func TestRead_FailsWhenItIsInterrupted(t *testing.T) {
	s := newLogs(t)
	s.ok("old\n", data("append", "--from-stdin")...)
	ctx, interrupt := context.WithCancel(t.Context())
	s.server.SetFaults(clienttest.Faults{BeforeRead: func(int) error {
		interrupt()
		return clienttest.Unavailable(nil)
	}})
	var errs bytes.Buffer
	require.Equal(t, 1, Run(ctx, IO{In: strings.NewReader(""), Out: io.Discard, Err: &errs}, data("read")))
	require.Equal(t, "samsa: interrupted\n", errs.String())
}

func TestCommands_TakeTheTimestampThatAStreamDemands(t *testing.T) {
	s := newLogs(t)
	s.ok("", "stream", "-b", "logs", "create", "web", "--timestamping", "client-require")
	require.Contains(t, s.fails(1, data("fence", "me")...), "timestamp")
	s.ok("", data("fence", "me", "--timestamp", "1000")...)
	s.ok("", data("trim", "0", "--timestamp", "1970-01-01T00:00:02Z")...)
	out := s.ok("", data("read")...)
	require.Contains(t, out, `"timestamp":1000,`)
	require.Contains(t, out, `"timestamp":2000,`)
}

func TestSubscribe_StartsAtTheTail(t *testing.T) {
	s := newLogs(t)
	s.ok("old\n", data("append", "--from-stdin")...)
	out := make(chan string, 1)
	go func() { out <- s.ok("", data("subscribe", "--format", "text", "--limit", "1")...) }()
	var got string
	require.Eventually(t, func() bool {
		s.ok("", data("append", "--body", "new", "-q")...)
		select {
		case got = <-out:
			return true
		default:
			return false
		}
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, "new\n", got)
}

// An interrupt ends reading stdin; what was read is appended.
func TestAppend_InterruptKeepsWhatWasRead(t *testing.T) {
	s := newLogs(t)
	ctx, interrupt := context.WithCancel(t.Context())
	in, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	code := make(chan int, 1)
	var errs bytes.Buffer
	go func() { code <- Run(ctx, IO{In: in, Out: io.Discard, Err: &errs}, data("append", "--from-stdin")) }()
	_, err := io.WriteString(feed, "one\ntwo\nhalf a li")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return s.ok("", data("read", "--format", "text")...) == "one\ntwo\n"
	}, 10*time.Second, time.Millisecond)
	interrupt()
	require.Equal(t, 1, <-code)
	require.Contains(t, errs.String(), "interrupted after 2 records")
}

func TestAppendJSON_IsWhatEncodingJSONReads(t *testing.T) {
	var body []byte
	for i := range 256 {
		body = append(body, []byte(string(rune(i)))...)
	}
	body = append(body, "\u2028 ✓ 𝄞"...)
	var got struct {
		Body string `json:"body"`
	}
	require.NoError(t, json.Unmarshal(appendJSON(nil, client.Record{Body: body}), &got))
	require.Equal(t, string(body), got.Body)
}

func TestValues(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "90": 90 * time.Second, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "1h30m": 90 * time.Minute} {
		got, err := parseAge(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", "-1s", "1.5s", "xd", "99999999999d"} {
		_, err := parseAge(bad)
		require.Error(t, err, bad)
	}
	require.Equal(t, "1,234,567", grouped(1234567))
	require.Equal(t, "12", grouped(12))
}

func TestProgress_WipesItsLine(t *testing.T) {
	reader, writer := io.Pipe()
	done := make(chan struct{})
	go func() {
		showProgress(writer, func() string { return "42 records" }, done)
		_ = writer.Close()
	}()
	buffer := make([]byte, 100)
	n, err := reader.Read(buffer)
	require.NoError(t, err)
	require.Contains(t, string(buffer[:n]), "42 records")
	close(done)
	rest, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(rest, []byte("\r\x1b[K")))
}
