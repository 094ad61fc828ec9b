package notify

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	local "github.com/samsa-io/samsa/pkg/local/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	soon = 30 * time.Second
	tick = 5 * time.Millisecond
)

// newBus is a Bus on a connection of its own that comes back by itself.
func newBus(t *testing.T, server *local.TestServer, o Options) *Bus {
	t.Helper()
	o.Cluster = "c1"
	conn := server.Connect(nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond), nats.ReconnectBufSize(-1))
	b, err := New(conn, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// inbox collects what a subscriber gets.
type inbox[M proto.Message] struct {
	messages chan M
	contexts chan context.Context
	gaps     chan struct{}
}

func newInbox[M proto.Message]() inbox[M] {
	return inbox[M]{make(chan M, 10000), make(chan context.Context, 10000), make(chan struct{}, 10000)}
}

func (i inbox[M]) handler() Handler[M] {
	return Handler[M]{
		Message: func(ctx context.Context, m M) { i.contexts <- ctx; i.messages <- m },
		Gap:     func() { i.gaps <- struct{}{} },
	}
}

// subscribed waits until NATS knows of the subscriptions.
func subscribed(t *testing.T, b *Bus) {
	t.Helper()
	require.NoError(t, b.conn.Flush())
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		require.FailNow(t, "nothing arrived")
		panic("unreachable")
	}
}

func notification(shard uint32, slot uint64, data []byte) *clusterv1.AppendNotification {
	return &clusterv1.AppendNotification{
		Incarnation: []byte("0123456789abcdef"), Shard: shard, Epoch: 3, Slot: slot, PreviousSlotPlusOne: slot,
		Appends: []*clusterv1.StreamAppend{{
			StreamId: []byte("fedcba9876543210"),
			Block:    &clusterv1.Block{Offset: 7, StoredBytes: uint32(len(data)), FirstSeqNum: 9, Count: 2, Data: data},
		}},
	}
}

func requireProto(t *testing.T, want, got proto.Message) {
	t.Helper()
	require.Truef(t, proto.Equal(want, got), "want %v, got %v", want, got)
}

func TestBus_CarriesEachKindToItsSubscribers(t *testing.T) {
	server := local.ForTest(t)
	publisher, subscriber := newBus(t, server, Options{}), newBus(t, server, Options{})
	appends, beacons, changes := newInbox[*clusterv1.AppendNotification](), newInbox[*clusterv1.Beacon](), newInbox[*clusterv1.CatalogChange]()
	_, err := subscriber.OnAppends(5, appends.handler())
	require.NoError(t, err)
	_, err = subscriber.OnBeacons(beacons.handler())
	require.NoError(t, err)
	_, err = subscriber.OnCatalogChanges(changes.handler())
	require.NoError(t, err)
	subscribed(t, subscriber)

	other, own := notification(6, 0, []byte("another shard's")), notification(5, 1, []byte("records"))
	beacon := &clusterv1.Beacon{Instance: "w", DurableSlot: 4}
	change := &clusterv1.CatalogChange{Bucket: "b"}
	publisher.PublishAppend(t.Context(), other)
	publisher.PublishAppend(t.Context(), own)
	publisher.PublishBeacon(t.Context(), beacon)
	require.NoError(t, publisher.PublishCatalogChange(t.Context(), change))
	requireProto(t, own, receive(t, appends.messages))
	requireProto(t, beacon, receive(t, beacons.messages))
	requireProto(t, change, receive(t, changes.messages))
	require.NoError(t, publisher.Err())
}

func TestBus_KeepsClustersApart(t *testing.T) {
	server := local.ForTest(t)
	a := newBus(t, server, Options{})
	b, err := New(server.Connect(), Options{Cluster: "c2"})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(t.Context())) }()
	in := newInbox[*clusterv1.Beacon]()
	_, err = a.OnBeacons(in.handler())
	require.NoError(t, err)
	subscribed(t, a)
	b.PublishBeacon(t.Context(), &clusterv1.Beacon{DurableSlot: 1})
	subscribed(t, b)
	a.PublishBeacon(t.Context(), &clusterv1.Beacon{DurableSlot: 2})
	require.EqualValues(t, 2, receive(t, in.messages).GetDurableSlot())

	_, err = New(server.Connect(), Options{Cluster: "a.b"})
	require.ErrorContains(t, err, `cluster id "a.b"`)
}

func TestBus_CarriesTraceContext(t *testing.T) {
	b := newBus(t, local.ForTest(t), Options{})
	in := newInbox[*clusterv1.Beacon]()
	_, err := b.OnBeacons(in.handler())
	require.NoError(t, err)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	b.PublishBeacon(trace.ContextWithSpanContext(t.Context(), span), &clusterv1.Beacon{})
	require.Equal(t, span.TraceID(), trace.SpanContextFromContext(receive(t, in.contexts)).TraceID())
}

func TestPublishAppend_LeavesTheRecordsOutIfTheyDoNotFit(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := newBus(t, local.ForTest(t), Options{Registerer: reg})
	require.Equal(t, 1<<20-headerRoom, b.MaxInline())
	in := newInbox[*clusterv1.AppendNotification]()
	_, err := b.OnAppends(1, in.handler())
	require.NoError(t, err)
	large := notification(1, 1, bytes.Repeat([]byte{1}, b.MaxInline()))
	b.PublishAppend(t.Context(), large)
	got := receive(t, in.messages)
	require.Len(t, large.GetAppends()[0].GetBlock().GetData(), b.MaxInline(), "the caller's stays as it is")
	large.Appends[0].Block.Data = nil
	requireProto(t, large, got)

	require.ErrorContains(t, b.PublishCatalogChange(t.Context(), &clusterv1.CatalogChange{Stream: string(bytes.Repeat([]byte{'a'}, 1<<20))}), "too_large")
	require.EqualValues(t, 1, testutil.ToFloat64(b.metrics.dropped.WithLabelValues("catalog", "too_large")))
}

func TestBus_DropsWhileNATSIsAwayAndSaysThatThereIsAGap(t *testing.T) {
	server := local.ForTest(t)
	b := newBus(t, server, Options{})
	in := newInbox[*clusterv1.Beacon]()
	_, err := b.OnBeacons(in.handler())
	require.NoError(t, err)
	server.Stop()
	require.Eventually(t, func() bool { return b.Err() != nil }, soon, tick)
	require.ErrorContains(t, b.Err(), "NATS is not connected")
	b.PublishBeacon(t.Context(), &clusterv1.Beacon{DurableSlot: 1})
	require.EqualValues(t, 1, testutil.ToFloat64(b.metrics.dropped.WithLabelValues("beacon", "disconnected")))
	require.Empty(t, in.gaps)

	server.Restart()
	receive(t, in.gaps)
	require.Eventually(t, func() bool {
		b.PublishBeacon(t.Context(), &clusterv1.Beacon{DurableSlot: 2})
		return len(in.messages) > 0
	}, soon, tick)
	require.EqualValues(t, 2, receive(t, in.messages).GetDurableSlot())
	require.Eventually(t, func() bool { return testutil.ToFloat64(b.metrics.connected) == 1 }, soon, tick)
}

func TestPublish_NeverBlocks(t *testing.T) {
	b := newBus(t, local.ForTest(t), Options{})
	close(b.stop) // nobody sends any more
	b.wg.Wait()
	b.stop = make(chan struct{})
	for range cap(b.queue) {
		require.NoError(t, b.PublishCatalogChange(t.Context(), &clusterv1.CatalogChange{}))
	}
	require.ErrorContains(t, b.PublishCatalogChange(t.Context(), &clusterv1.CatalogChange{}), "queue_full")
	b.options.QueueBytes = 10
	require.ErrorContains(t, b.PublishCatalogChange(t.Context(), &clusterv1.CatalogChange{Bucket: "longer than ten bytes"}), "queue_full")
}

func TestSubscription_LosesMessagesInsteadOfMemoryAndSaysSo(t *testing.T) {
	server := local.ForTest(t)
	publisher, subscriber := newBus(t, server, Options{}), newBus(t, server, Options{PendingBytes: 20 << 10})
	in, entered, release := newInbox[*clusterv1.AppendNotification](), make(chan struct{}), make(chan struct{})
	first := true
	handler := in.handler()
	_, err := subscriber.OnAppends(1, Handler[*clusterv1.AppendNotification]{
		Message: func(ctx context.Context, n *clusterv1.AppendNotification) {
			if first {
				first = false
				close(entered)
				<-release
			}
			handler.Message(ctx, n)
		},
		Gap: handler.Gap,
	})
	require.NoError(t, err)
	subscribed(t, subscriber)
	const sent = 100
	for slot := range uint64(sent) {
		publisher.PublishAppend(t.Context(), notification(1, slot, make([]byte, 1<<10)))
		if slot == 0 {
			receive(t, entered)
		}
	}
	require.Eventually(t, func() bool { return testutil.ToFloat64(publisher.metrics.published.WithLabelValues("append")) == sent }, soon, tick)
	subscribed(t, publisher)
	subscribed(t, subscriber)
	close(release)
	receive(t, in.gaps)
	require.Eventually(t, func() bool {
		missed := testutil.ToFloat64(subscriber.metrics.missed.WithLabelValues("append"))
		received := testutil.ToFloat64(subscriber.metrics.received.WithLabelValues("append"))
		return missed > 0 && missed+received == sent
	}, soon, tick)
}

func TestSubscription_TakesAnUnreadableMessageForAGap(t *testing.T) {
	b := newBus(t, local.ForTest(t), Options{})
	in := newInbox[*clusterv1.Beacon]()
	_, err := b.OnBeacons(in.handler())
	require.NoError(t, err)
	require.NoError(t, b.conn.Publish(b.beaconSubject(), []byte{0xff}))
	receive(t, in.gaps)
	require.Empty(t, in.messages)
}

func TestSubscription_IsSilentAfterClose(t *testing.T) {
	b := newBus(t, local.ForTest(t), Options{})
	in, still := newInbox[*clusterv1.Beacon](), newInbox[*clusterv1.Beacon]()
	s, err := b.OnBeacons(in.handler())
	require.NoError(t, err)
	_, err = b.OnBeacons(still.handler())
	require.NoError(t, err)
	s.Close()
	s.Close()
	b.PublishBeacon(t.Context(), &clusterv1.Beacon{})
	receive(t, still.messages)
	require.Empty(t, in.messages)

	require.NoError(t, b.Close(t.Context()))
	require.NoError(t, b.Close(t.Context()))
	_, err = b.OnBeacons(in.handler())
	require.ErrorIs(t, err, ErrClosed)
}

func TestClose_SendsWhatIsQueued(t *testing.T) {
	server := local.ForTest(t)
	publisher, subscriber := newBus(t, server, Options{}), newBus(t, server, Options{})
	in := newInbox[*clusterv1.Beacon]()
	_, err := subscriber.OnBeacons(in.handler())
	require.NoError(t, err)
	subscribed(t, subscriber)
	for slot := range uint64(100) {
		publisher.PublishBeacon(t.Context(), &clusterv1.Beacon{DurableSlot: slot})
	}
	require.NoError(t, publisher.Close(t.Context()))
	for slot := range uint64(100) {
		require.Equal(t, slot, receive(t, in.messages).GetDurableSlot())
	}
}
