package contract

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// answer is what a plain HTTP request got, as curl would show it.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// curl makes a plain HTTP request. headers are "Name: value".
func (s *Suite) curl(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(call(t), method, s.target.HTTP()+path, strings.NewReader(body))
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := s.web.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{t, response.StatusCode, response.Header, content}
}

// ok is the JSON object of a good answer.
func (a answer) ok() map[string]any {
	a.t.Helper()
	require.Equal(a.t, http.StatusOK, a.status, "%s", a.body)
	var object map[string]any
	require.NoError(a.t, json.Unmarshal(a.body, &object))
	return object
}

// fails checks a bad answer and returns its detail.
func (a answer) fails(status int, code samsav1.ErrorCode) *samsav1.ErrorDetail {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	require.Equal(a.t, "application/json", a.header.Get("Content-Type"))
	detail := &samsav1.ErrorDetail{}
	require.NoError(a.t, protojson.Unmarshal(a.body, detail), "%s", a.body)
	require.Equal(a.t, code, detail.GetCode())
	require.NotEmpty(a.t, detail.GetMessage())
	require.Equal(a.t, a.header.Get("X-Request-Id"), detail.GetRequestId())
	return detail
}

// dig goes down a decoded JSON value.
func dig(value any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// path is a stream's path.
func (a *at) path(rest string) string {
	return "/api/v1/buckets/" + a.bucket + "/streams/" + escape(a.stream) + rest
}

// TestREST_QuickStart: what a newcomer does with curl.
func (s *Suite) TestREST_QuickStart(t *testing.T) {
	bucket := s.unique()
	made := s.curl(t, "POST", "/api/v1/buckets", `{"bucket": "`+bucket+`", "config": {"create_stream_on_append": true}}`).ok()
	require.Equal(t, bucket, dig(made, "info", "name"))
	require.Equal(t, "BUCKET_STATE_ACTIVE", dig(made, "info", "state"))
	a := &at{bucket: bucket, stream: "a/b"}
	ack := s.curl(t, "POST", a.path("/records?text=true"), `{"records": [{"body": "hello ü", "headers": [{"name": "k", "value": "v"}]}]}`).ok()
	require.Equal(t, "0", dig(ack, "start_seq_num"), "64-bit numbers are strings")
	require.Equal(t, "1", dig(ack, "next_seq_num"))
	read := s.curl(t, "GET", a.path("/records?text=true&seq_num=0&limit.count=10"), "").ok()
	require.Equal(t, "hello ü", dig(read, "batch", "records", 0, "body"))
	require.Equal(t, "k", dig(read, "batch", "records", 0, "headers", 0, "name"))
	require.Equal(t, dig(ack, "start_seq_id"), dig(read, "batch", "records", 0, "seq_id"))
	plain := s.curl(t, "GET", a.path("/records"), "").ok()
	require.Equal(t, base64.StdEncoding.EncodeToString([]byte("hello ü")), dig(plain, "batch", "records", 0, "body"), "as protojson has it")
	tail := s.curl(t, "GET", a.path("/tail"), "").ok()
	require.Equal(t, "1", dig(tail, "next_seq_num"))
	config := s.curl(t, "PATCH", a.path(""), `{"config": {"storage_class": "STORAGE_CLASS_EXPRESS"}, "mask": "storage_class"}`).ok()
	require.Equal(t, "STORAGE_CLASS_EXPRESS", dig(config, "config", "storage_class"))
	config = s.curl(t, "PATCH", "/api/v1/buckets/"+bucket, `{"config": {"create_stream_on_append": false}}`).ok()
	require.Equal(t, false, dig(config, "config", "create_stream_on_append"))
	s.curl(t, "DELETE", a.path(""), "").ok()
	s.curl(t, "DELETE", "/api/v1/buckets/"+bucket, "").ok()
}

// TestREST_NamesPassPercentEncoded: %2F and dot segments are part of the name.
func (s *Suite) TestREST_NamesPassPercentEncoded(t *testing.T) {
	bucket := s.bucket(t, &samsav1.BucketConfig{CreateStreamOnAppend: new(true)})
	for encoded, name := range map[string]string{
		"a%2Fb": "a/b", "a%2fb%2F": "a/b/", "%2F..%2Fx": "/../x", "a%252Fb": "a%2Fb", "%C3%BC": "ü", "a+b": "a+b", "a%20b": "a b", "x:y": "x:y",
	} {
		s.curl(t, "POST", "/api/v1/buckets/"+bucket+"/streams/"+encoded+"/records?text=true", `{"records": [{"body": "x"}]}`).ok()
		_, err := s.grpc.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: bucket, Stream: name})
		require.NoError(t, err, "%s", encoded)
	}
	for _, bad := range []string{"%2E%2E", "%2e", "..%00", "%FF", "a%2"} {
		request := "/api/v1/buckets/" + bucket + "/streams/" + bad + "/records"
		if bad == "a%2" { // Go's client does not send it
			continue
		}
		s.curl(t, "POST", request, `{"records": [{"body": ""}]}`).fails(http.StatusBadRequest, invalid.code)
	}
}

// TestREST_MalformedInputIsRefusedAndChangesNothing.
func (s *Suite) TestREST_MalformedInputIsRefusedAndChangesNothing(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	unchanged := a.unchanged(t)
	for what, body := range map[string]string{
		"no JSON":            `hello`,
		"cut JSON":           `{"records": [{"body": "YQ=="}`,
		"two values":         `{"records": [{"body": "YQ=="}]} {}`,
		"unknown field":      `{"records": [{"body": "YQ=="}], "match_seqnum": "0"}`,
		"unknown in record":  `{"records": [{"body": "YQ==", "text": "x"}]}`,
		"no base64":          `{"records": [{"body": "%"}]}`,
		"wrong type":         `{"records": {"body": "YQ=="}}`,
		"a list":             `[]`,
		"negative":           `{"records": [{"body": "YQ=="}], "match_seq_num": -1}`,
		"too large a number": `{"records": [{"body": "YQ=="}], "match_seq_num": "18446744073709551616"}`,
		"no UTF-8":           "{\"records\": [{\"body\": \"YQ==\"}], \"fencing_token\": \"\xff\"}",
		"empty batch":        `{"records": []}`,
		"empty body":         ``,
		"another bucket":     `{"records": [{"body": "YQ=="}], "bucket": "another-bucket"}`,
	} {
		answer := s.curl(t, "POST", a.path("/records"), body)
		require.Equal(t, http.StatusBadRequest, answer.status, "%s: %s", what, answer.body)
		answer.fails(http.StatusBadRequest, invalid.code)
	}
	for _, query := range []string{"seqnum=0", "seq_num=x", "seq_num=-1", "limit.count=1.5", "text=maybe", "clamp=2", "seq_num=0&timestamp=0", "limit=5", "until=%FF"} {
		answer := s.curl(t, "GET", a.path("/records?"+query), "")
		require.Equal(t, http.StatusBadRequest, answer.status, "%s: %s", query, answer.body)
		answer.fails(http.StatusBadRequest, invalid.code)
	}
	s.curl(t, "POST", "/api/v1/buckets", `{"bucket": "`+s.unique()+`", "config": {"default_stream_config": {"storage_class": "FAST"}}}`).fails(http.StatusBadRequest, invalid.code)
	unchanged()
}

// TestREST_OversizedBodyIsRefused.
func (s *Suite) TestREST_OversizedBodyIsRefused(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	unchanged := a.unchanged(t)
	body := `{"records": [{"body": "` + strings.Repeat("A", 9<<20) + `"}]}`
	answer := s.curl(t, "POST", a.path("/records"), body)
	require.Contains(t, []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest}, answer.status)
	unchanged()
}

// TestREST_UnknownPathsAndMethodsAreTyped.
func (s *Suite) TestREST_UnknownPathsAndMethodsAreTyped(t *testing.T) {
	for _, path := range []string{"/api/v1/nothing", "/api/v1/buckets/a-b-c/nothing", "/api/v2/buckets", "/api/v1/buckets/"} {
		s.curl(t, "GET", path, "").fails(http.StatusNotFound, notFound.code)
	}
	wrong := s.curl(t, "PUT", "/api/v1/buckets", "{}")
	wrong.fails(http.StatusMethodNotAllowed, invalid.code)
	require.Contains(t, wrong.header.Get("Allow"), "GET")
	require.Contains(t, wrong.header.Get("Allow"), "POST")
}

// TestREST_ErrorsHaveTheFittingStatus: 412 for a failed condition, 416 past the
// tail, and so on, with the actual values.
func (s *Suite) TestREST_ErrorsHaveTheFittingStatus(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	failed := s.curl(t, "POST", a.path("/records"), `{"records": [{"body": ""}], "match_seq_num": 5}`).
		fails(http.StatusPreconditionFailed, conditionFailed.code)
	require.Equal(t, "0", failed.GetMetadata()["next_seq_num"])
	past := s.curl(t, "GET", a.path("/records?seq_num=5"), "").fails(http.StatusRequestedRangeNotSatisfiable, pastTail.code)
	require.Equal(t, "0", past.GetMetadata()["next_seq_num"])
	s.curl(t, "GET", a.path("/session?seq_num=5"), "").fails(http.StatusRequestedRangeNotSatisfiable, pastTail.code)
	s.curl(t, "GET", a.named("other").path("/session"), "").fails(http.StatusNotFound, notFound.code)
	s.curl(t, "POST", "/api/v1/buckets", `{"bucket": "`+a.bucket+`"}`).fails(http.StatusConflict, exists.code)
}

// TestREST_RequestIDIsTheClientsOrANewOne.
func (s *Suite) TestREST_RequestIDIsTheClientsOrANewOne(t *testing.T) {
	mine := s.curl(t, "GET", "/api/v1/buckets/no-such-bucket/config", "", "X-Request-Id: mine-42")
	require.Equal(t, "mine-42", mine.fails(http.StatusNotFound, notFound.code).GetRequestId())
	require.NotEmpty(t, s.curl(t, "GET", "/api/v1/buckets?limit=1", "").header.Get("X-Request-Id"))
}

// TestREST_TextCarriesWhatIsNoTextAsBase64 in a field of its own.
func (s *Suite) TestREST_TextCarriesWhatIsNoTextAsBase64(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{{Body: []byte("a\xff"), Headers: []*samsav1.Header{{Name: []byte("n"), Value: []byte{0xfe}}}}}})
	record := dig(s.curl(t, "GET", a.path("/records?text=true"), "").ok(), "batch", "records", 0)
	require.Nil(t, dig(record, "body"))
	require.Equal(t, base64.StdEncoding.EncodeToString([]byte("a\xff")), dig(record, "body_base64"))
	require.Equal(t, "/g==", dig(record, "headers", 0, "value_base64"))
	s.curl(t, "POST", a.path("/records?text=true"), `{"records": [{"body_base64": "Yf8="}]}`).ok()
	require.Equal(t, []string{"a\xff", "a\xff"}, bodies(a.all(t)))
}

// TestREST_OpenAPIDocumentIsServed.
func (s *Suite) TestREST_OpenAPIDocumentIsServed(t *testing.T) {
	document := s.curl(t, "GET", "/api/v1/openapi.json", "").ok()
	for _, path := range []string{"/api/v1/buckets", "/api/v1/buckets/{bucket}/streams/{stream}/records", "/api/v1/access-tokens/{id}"} {
		require.NotNil(t, dig(document, "paths", path), path)
	}
}

// open begins a session over plain HTTP.
func (s *Suite) open(t testing.TB, path string, headers ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	request, err := http.NewRequestWithContext(call(t), "GET", s.target.HTTP()+path, nil)
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := s.web.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response, bufio.NewReader(response.Body)
}

// event is a server-sent event.
type event struct{ name, id, data string }

// nextEvent skips comments.
func nextEvent(t testing.TB, r *bufio.Reader) event {
	t.Helper()
	var e event
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && e != (event{}):
			return e
		case field == "event":
			e.name = value
		case field == "id":
			e.id = value
		case field == "data":
			e.data += value
		}
	}
}

// eventBodies reads events until there are so many records, as texts.
func eventBodies(t testing.TB, r *bufio.Reader, count int) (got []string, id string) {
	t.Helper()
	for len(got) < count {
		e := nextEvent(t, r)
		require.Empty(t, e.name, "%v", e)
		var response map[string]any
		require.NoError(t, json.Unmarshal([]byte(e.data), &response))
		list, _ := dig(response, "output", "batch", "records").([]any)
		for _, record := range list {
			got = append(got, fmt.Sprint(dig(record, "body")))
		}
		id = e.id
	}
	return got, id
}

// TestREST_SessionAsServerSentEvents follows live, and goes on from Last-Event-ID.
func (s *Suite) TestREST_SessionAsServerSentEvents(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	a.fill(t, "a", "b")
	response, events := s.open(t, a.path("/session?text=true&seq_num=0"), "Accept: text/event-stream")
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "text/event-stream", strings.Split(response.Header.Get("Content-Type"), ";")[0])
	got, _ := eventBodies(t, events, 2)
	require.Equal(t, []string{"a", "b"}, got)
	a.fill(t, "c\nd", "e")
	got, id := eventBodies(t, events, 2)
	require.Equal(t, []string{"c\nd", "e"}, got)
	require.Equal(t, "4", id, "the seq_num to go on from")
	_ = response.Body.Close()
	a.fill(t, "f")
	_, events = s.open(t, a.path("/session?text=true&seq_num=0"), "Accept: text/event-stream", "Last-Event-ID: "+id)
	got, _ = eventBodies(t, events, 1)
	require.Equal(t, []string{"f"}, got)
}

// TestREST_SessionAsServerSentEventsEndsWithAnEvent at its limit.
func (s *Suite) TestREST_SessionAsServerSentEventsEndsWithAnEvent(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	a.fill(t, "a", "b")
	_, events := s.open(t, a.path("/session?text=true&seq_num=0&limit.count=1"), "Accept: text/event-stream")
	got, _ := eventBodies(t, events, 1)
	require.Equal(t, []string{"a"}, got)
	require.Equal(t, "end", nextEvent(t, events).name)
}

// TestREST_SessionAsLines: one JSON object a line, as the records come.
func (s *Suite) TestREST_SessionAsLines(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	response, lines := s.open(t, a.path("/session?text=true&seq_num=0"))
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "application/x-ndjson", response.Header.Get("Content-Type"))
	for i := range 5 {
		a.fill(t, fmt.Sprint(i))
		for found := false; !found; {
			line, err := lines.ReadBytes('\n')
			require.NoError(t, err)
			var object map[string]any
			require.NoError(t, json.Unmarshal(bytes.TrimSpace(line), &object))
			body := dig(object, "output", "batch", "records", 0, "body")
			if found = body != nil; found {
				require.Equal(t, fmt.Sprint(i), body)
			}
		}
	}
}

// TestREST_TimeIsInMilliseconds: what REST shows is what gRPC has.
func (s *Suite) TestREST_TimeIsInMilliseconds(t *testing.T) {
	a := s.stream(t, s.grpc, nil)
	stamp := time.Now().Add(-time.Hour).UnixMilli()
	s.curl(t, "POST", a.path("/records?text=true"), fmt.Sprintf(`{"records": [{"body": "x", "timestamp": %d}]}`, stamp)).ok()
	require.EqualValues(t, stamp, a.all(t)[0].GetTimestamp())
	read := s.curl(t, "GET", a.path(fmt.Sprintf("/records?timestamp=%d", stamp)), "").ok()
	require.Equal(t, fmt.Sprint(stamp), dig(read, "batch", "records", 0, "timestamp"))
}
