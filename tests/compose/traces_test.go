//go:build compose

package compose

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// TestTraces_LeadFromTheEdgeToTheDelivery appends with a live session on the
// stream, and asks Jaeger for the trace: what package observe finds in the spans of
// our programs, it finds below those of the edge.
func TestTraces_LeadFromTheEdgeToTheDelivery(t *testing.T) {
	s := newStack(t)
	conn, err := grpc.NewClient("127.0.0.1:"+s.env["SAMSA_PORT"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	streams := samsav1.NewStreamServiceClient(conn)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.token()), 3*time.Minute)
	defer cancel()
	appendOne := func(ctx context.Context) {
		_, err := streams.Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: "traced", Records: []*samsav1.AppendRecord{{Body: []byte("x")}}})
		require.NoError(t, err)
	}
	appendOne(ctx)
	session, err := streams.ReadSession(ctx, &samsav1.ReadSessionRequest{Bucket: bucket, Stream: "traced"})
	require.NoError(t, err)
	for caughtUp := false; !caughtUp; {
		r, err := session.Recv()
		require.NoError(t, err)
		caughtUp = r.GetTail() != nil
	}
	// appendTraced appends, has the session get the record, and gives the trace's id.
	appendTraced := func() string {
		id := make([]byte, 24)
		_, _ = rand.Read(id) // never fails
		trace := hex.EncodeToString(id[:16])
		appendOne(metadata.AppendToOutgoingContext(ctx, "traceparent", fmt.Sprintf("00-%s-%x-01", trace, id[16:])))
		_, err := session.Recv()
		require.NoError(t, err)
		return trace
	}
	trace := appendTraced()

	require.Eventually(t, func() bool { return s.query(t, `otelcol_receiver_accepted_spans_total > 0`) > 0 },
		time.Minute, time.Second, "the collector gets no spans")
	if len(s.containers(t, "jaeger")) == 0 {
		t.Log("Jaeger is absent: nobody to ask for the trace")
		return
	}
	_, led := s.leads(t, trace, time.Minute, "objstore.put", "edge", "router", "stream-writer")
	require.True(t, led, "no path of services leads to the put")
	// A reader may find a record at the owner before its notification comes: then it has
	// no delivery of its own, and another one is tried.
	for try := 0; ; try++ {
		found, led := s.leads(t, trace, 10*time.Second, "reader.deliver", "edge", "router", "stream-writer", "stream-reader")
		if led {
			t.Logf("trace %s has %d spans: %s", trace, len(found.Spans), found)
			return
		}
		require.Less(t, try, 6, "no path of services leads to a delivery")
		trace = appendTraced()
	}
}

// leads tells whether that path of services leads to an operation of a trace before
// patience ends.
func (s stack) leads(t *testing.T, trace string, patience time.Duration, operation string, path ...string) (found jaegerTrace, led bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		found = s.trace(t, trace)
		if slices.Equal(found.path(operation), path) {
			return found, true
		}
	}
	return found, false
}

// jaegerTrace is a trace as Jaeger's pages get it.
type jaegerTrace struct {
	Spans     []jaegerSpan
	Processes map[string]struct{ ServiceName string }
}

type jaegerSpan struct {
	SpanID, OperationName, ProcessID string
	References                       []struct{ RefType, SpanID string }
}

// trace is what Jaeger has of a trace so far.
func (s stack) trace(t *testing.T, id string) jaegerTrace {
	t.Helper()
	response, err := http.Get("http://127.0.0.1:" + s.env["JAEGER_PORT"] + "/api/traces/" + id)
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct{ Data []jaegerTrace }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	if len(answer.Data) == 0 {
		return jaegerTrace{}
	}
	return answer.Data[0]
}

// path is the services from the first span of all down to that of an operation; nil
// while one between them is missing.
func (j jaegerTrace) path(operation string) (services []string) {
	at := slices.IndexFunc(j.Spans, func(s jaegerSpan) bool { return s.OperationName == operation })
	// A span may follow from one that follows from it: without its parent the way up
	// has no end.
	for range j.Spans {
		if at < 0 {
			break
		}
		services = append(services, j.Processes[j.Spans[at].ProcessID].ServiceName)
		at = j.parent(at)
	}
	slices.Reverse(services)
	return slices.Compact(services)
}

// parent is the index of a span's parent; -1: it is not there. A parent to which there
// is a link, too, Jaeger calls one that the span follows from.
func (j jaegerTrace) parent(of int) int {
	for _, kind := range []string{"CHILD_OF", "FOLLOWS_FROM"} {
		for _, r := range j.Spans[of].References {
			parent := slices.IndexFunc(j.Spans, func(s jaegerSpan) bool { return s.SpanID == r.SpanID })
			if r.RefType == kind && parent >= 0 {
				return parent
			}
		}
	}
	return -1
}

func (j jaegerTrace) String() string {
	var names []string
	for _, s := range j.Spans {
		names = append(names, j.Processes[s.ProcessID].ServiceName+":"+s.OperationName)
	}
	return strings.Join(names, ", ")
}
