package observe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

const patience = 2 * time.Minute

// caller is the span of whoever calls: the edge, in compose.yaml.
type caller struct{ trace, span string }

func newCaller() caller {
	id := make([]byte, 24)
	_, _ = rand.Read(id) // never fails
	return caller{hex.EncodeToString(id[:16]), hex.EncodeToString(id[16:])}
}

// context has the caller's trace recorded, as W3C trace context says it.
func (c caller) context(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", fmt.Sprintf("00-%s-%s-01", c.trace, c.span))
}

// TestTrace_OneAppendIsOneChainUpToItsDelivery appends with a live session on the
// stream, and looks at what the split system exported.
func TestTrace_OneAppendIsOneChainUpToItsDelivery(t *testing.T) {
	spans := startCollector(t)
	c := cluster.Start(t, cluster.Options{Env: []string{
		"SAMSA_OBSERVABILITY_ENABLE_OTEL_TRACING=true",
		"SAMSA_OBSERVABILITY_OTEL_ENDPOINT=" + spans.endpoint,
		"SAMSA_OBSERVABILITY_TRACE_SAMPLE_RATIO=0", // only what the caller has recorded
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := cluster.Client(t, c).CreateBucket(ctx, "traces", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	streams := samsav1.NewStreamServiceClient(cluster.Dial(t, strings.TrimPrefix(c.Address(), "http://")))
	record := func(body string) *samsav1.AppendRequest {
		return &samsav1.AppendRequest{Bucket: "traces", Stream: "s", Records: []*samsav1.AppendRecord{{Body: []byte(body)}}}
	}
	_, err = streams.Append(ctx, record("first"))
	require.NoError(t, err)

	reading := newCaller()
	session, err := streams.ReadSession(reading.context(ctx), &samsav1.ReadSessionRequest{
		Bucket: "traces", Stream: "s", Start: &samsav1.ReadSessionRequest_SeqNum{SeqNum: 0},
	})
	require.NoError(t, err)
	awaitTail(t, session)

	// A slow reader may find records at the owner before their notification comes:
	// those have no delivery of their own. So it goes on until one has.
	known := []caller{reading}
	cluster.Eventually(t, patience, "an append was delivered by its notification", func() error {
		appending := newCaller()
		known = append(known, appending)
		_, err := streams.Append(appending.context(ctx), record("live"))
		require.NoError(t, err)
		_, err = session.Recv()
		require.NoError(t, err)
		return awaitDelivery(spans, appending)
	})
	cancel() // ends the session, and with it its spans

	appended := known[len(known)-1]
	chain := requireChain(t, spans, appended)
	requireSessionLink(t, spans, reading, chain)
	requireNothingElse(t, spans, known...)
}

// awaitDelivery gives the exporters time to tell of the append's delivery.
func awaitDelivery(spans *collector, appended caller) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if slices.ContainsFunc(spans.all(appended.trace), func(s span) bool { return s.GetName() == "reader.deliver" }) {
			return nil
		}
	}
	return errors.New("no span reader.deliver")
}

// awaitTail reads until the session says that it has caught up.
func awaitTail(t *testing.T, session samsav1.StreamService_ReadSessionClient) {
	t.Helper()
	for {
		r, err := session.Recv()
		require.NoError(t, err)
		if r.GetTail() != nil {
			return
		}
	}
}

// requireChain waits for the append's spans, each a child of the one before it but
// where several hang on one, and returns the session's delivery.
func requireChain(t *testing.T, spans *collector, appending caller) (delivery span) {
	t.Helper()
	const method = "samsa.v1.StreamService/Append"
	cluster.Eventually(t, patience, "the spans of the append form a chain", func() error {
		f := finder{all: spans.all(appending.trace)}
		in := f.child(appending.span, "router", method)
		out := f.child(in.id(), "router", method)
		served := f.child(out.id(), "stream-writer", method)
		segment := f.child(served.id(), "stream-writer", "writer.segment")
		f.links(segment, served)
		f.links(served, segment)
		put := f.child(segment.id(), "stream-writer", "objstore.put")
		f.thatf(strings.HasPrefix(put.attribute("objstore.key"), "log/"), "the put is not of a slot: %q", put.attribute("objstore.key"))
		published := f.child(segment.id(), "stream-writer", "notify.publish")
		received := f.child(published.id(), "stream-reader", "reader.receive")
		f.links(received, published)
		delivery = f.child(received.id(), "stream-reader", "reader.deliver")
		f.thatf(in.attribute("samsa.request_id") != "" && in.attribute("samsa.request_id") == served.attribute("samsa.request_id"),
			"router and writer have different request ids")
		return f.err
	})
	return delivery
}

// requireSessionLink requires that the delivery names the session's call.
func requireSessionLink(t *testing.T, spans *collector, reading caller, delivery span) {
	t.Helper()
	const method = "samsa.v1.StreamService/ReadSession"
	cluster.Eventually(t, patience, "the delivery links to the session", func() error {
		f := finder{all: spans.all(reading.trace)}
		in := f.child(reading.span, "router", method)
		out := f.child(in.id(), "router", method)
		f.links(delivery, f.child(out.id(), "stream-reader", method))
		return f.err
	})
}

// requireNothingElse requires that what nobody had recorded was not.
func requireNothingElse(t *testing.T, spans *collector, known ...caller) {
	t.Helper()
	spans.mu.Lock()
	defer spans.mu.Unlock()
	for _, s := range spans.spans {
		require.Condition(t, func() bool {
			for _, c := range known {
				if c.trace == s.trace() {
					return true
				}
			}
			return false
		}, "%s of %s was recorded", s.GetName(), s.service)
	}
}

// finder looks spans up and keeps the first thing that is wrong.
type finder struct {
	all []span
	err error
}

func (f *finder) thatf(ok bool, format string, args ...any) {
	if f.err == nil && !ok {
		f.err = fmt.Errorf(format, args...)
	}
}

func (f *finder) links(from, to span) {
	f.thatf(from.Span != nil && to.Span != nil && from.linksTo(to), "%s does not link to %s", from.GetName(), to.GetName())
}

// child finds the span of a name whose parent is given.
func (f *finder) child(parent, service, name string) span {
	for _, s := range f.all {
		if s.parent() == parent && s.service == service && s.GetName() == name {
			return s
		}
	}
	f.thatf(false, "no span %s of %s below %q among %s", name, service, parent, f.names())
	return span{}
}

func (f *finder) names() string {
	var names []string
	for _, s := range f.all {
		names = append(names, fmt.Sprintf("%s:%s(%s<%s)", s.service, s.GetName(), s.id(), s.parent()))
	}
	return strings.Join(names, " ")
}
