package objstore_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// openAt opens an S3 store whose server is handler.
func openAt(t *testing.T, handler http.HandlerFunc) objstore.Store { return openPlain(t, handler) }

func openPlain(t testing.TB, handler http.Handler) objstore.Store {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return openEndpoint(t, server.URL)
}

func openTLS(t testing.TB, handler http.Handler) objstore.Store {
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(bundle, encoded, 0o644))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	return openEndpoint(t, server.URL)
}

func openEndpoint(t testing.TB, endpoint string) objstore.Store {
	return openConfig(t, objstore.Config{URL: "s3://bucket/some/prefix", S3: objstore.S3Config{
		Endpoint: endpoint, PathStyle: true, AccessKeyID: "id", SecretAccessKey: "secret",
	}})
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func xmlError(code string) string {
	return "<Error><Code>" + code + "</Code><Message>m</Message></Error>"
}

func TestS3_SendsAPutOnce(t *testing.T) {
	for _, test := range []struct {
		status  int
		code    string
		outcome string
	}{
		{200, "", "ok"},
		{412, "PreconditionFailed", "exists"},
		{409, "ConditionalRequestConflict", "conflict"},
		{500, "InternalError", "error"},
		{503, "SlowDown", "error"},
		{400, "RequestTimeout", "error"},
		{403, "AccessDenied", "refused"},
		{404, "NoSuchBucket", "refused"},
		{501, "NotImplemented", "refused"},
		{307, "TemporaryRedirect", "error"},
	} {
		t.Run(test.code, func(t *testing.T) {
			var calls atomic.Int32
			store := openAt(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				w.Header().Set("Location", "/elsewhere")
				if r.Header.Get("If-None-Match") != "*" || r.URL.Path != "/bucket/some/prefix/log/0" || r.Method != http.MethodPut {
					t.Errorf("%s %s with If-None-Match %q", r.Method, r.URL.Path, r.Header.Get("If-None-Match"))
				}
				answer(test.status, xmlError(test.code))(w, r)
			})
			err := store.PutIfAbsent(t.Context(), "log/0", []byte("body"))
			require.Equal(t, test.outcome, objstore.Outcome(err), "%v", err)
			require.EqualValues(t, 1, calls.Load())
		})
	}
}

func TestS3_SendsAPutOnceWhenTheReplyIsLost(t *testing.T) {
	var calls atomic.Int32
	store := openAt(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			answer(200, "")(w, r) // leaves a connection that the next put uses again
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/0", []byte("body")))
	err := store.PutIfAbsent(t.Context(), "log/1", []byte("body"))
	require.Equal(t, "error", objstore.Outcome(err), "%v", err)
	require.EqualValues(t, 2, calls.Load())
}

func TestS3_SendsTheBodyAsItIs(t *testing.T) {
	store := openAt(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != "body" || r.ContentLength != 4 {
			t.Errorf("got %q of %d bytes", body, r.ContentLength)
		}
		for _, name := range []string{"X-Amz-Trailer", "Content-Encoding", "Expect", "X-Amz-Sdk-Checksum-Algorithm"} {
			if value := r.Header.Get(name); value != "" {
				t.Errorf("%s: %s, which servers like S3 may not know", name, value)
			}
		}
		w.WriteHeader(http.StatusOK)
	})
	require.NoError(t, store.PutIfAbsent(t.Context(), "log/0", []byte("body")))
}

// TLS protects the body already; without it the signature has to.
func TestS3_HashesTheBodyOnlyWithoutTLS(t *testing.T) {
	for _, test := range []struct {
		open func(testing.TB, http.Handler) objstore.Store
		want string
	}{
		{openTLS, "UNSIGNED-PAYLOAD"},
		{openPlain, "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"}, // SHA-256 of "body"
	} {
		store := test.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("X-Amz-Content-Sha256"); got != test.want {
				t.Errorf("X-Amz-Content-Sha256: %s, want %s", got, test.want)
			}
			answer(200, "")(w, r)
		}))
		require.NoError(t, store.PutIfAbsent(t.Context(), "log/0", []byte("body")))
	}
}

func TestS3_ReadsTryAgain(t *testing.T) {
	var calls atomic.Int32
	store := openAt(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			answer(503, xmlError("SlowDown"))(w, r)
			return
		}
		answer(200, "body")(w, r)
	})
	object, err := store.Get(t.Context(), "log/0", objstore.Whole)
	require.NoError(t, err)
	require.Equal(t, "body", string(object.Body))
}

func TestS3_CutsARangeThatTheServerIgnored(t *testing.T) {
	store := openAt(t, answer(200, "0123456789"))
	object, err := store.Get(t.Context(), "log/0", objstore.Suffix(4))
	require.NoError(t, err)
	require.Equal(t, "6789", string(object.Body))
	require.EqualValues(t, 10, object.Size)
}

func TestS3_RefusesAnotherRangeThanItAskedFor(t *testing.T) {
	for _, contentRange := range []string{"bytes 0-3/10", "bytes 6-9/*", "bytes 5-8/9999", "nonsense"} {
		store := openAt(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			answer(206, "6789")(w, r)
		})
		_, err := store.Get(t.Context(), "log/0", objstore.Suffix(4))
		require.ErrorContains(t, err, "Content-Range", contentRange)
	}
}

func TestS3_NoticesACutBody(t *testing.T) {
	store := openAt(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
	})
	_, err := store.Get(t.Context(), "log/0", objstore.Whole)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestS3_MissingBucketIsNotAMissingObject(t *testing.T) {
	store := openAt(t, answer(404, xmlError("NoSuchBucket")))
	_, err := store.Get(t.Context(), "log/0", objstore.Whole)
	require.ErrorIs(t, err, objstore.ErrRefused)
	require.NotErrorIs(t, err, objstore.ErrNotFound)
}

func TestS3_RefusesAListingOutOfOrder(t *testing.T) {
	store := openAt(t, answer(200, `<ListBucketResult><IsTruncated>false</IsTruncated>
		<Contents><Key>some/prefix/b</Key><Size>1</Size></Contents><Contents><Key>some/prefix/a</Key><Size>1</Size></Contents>
		</ListBucketResult>`))
	var keys []string
	var failure error
	for info, err := range store.List(t.Context(), "", "") {
		if failure = err; err == nil {
			keys = append(keys, info.Key)
		}
	}
	require.Equal(t, []string{"b"}, keys)
	require.ErrorIs(t, failure, objstore.ErrRefused)
}
