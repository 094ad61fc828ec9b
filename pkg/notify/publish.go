package notify

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

const (
	// assumedMaxPayload is NATS's default, for as long as no server has said.
	assumedMaxPayload = 1 << 20
	// headerRoom is kept free in a message for its headers.
	headerRoom = 4 << 10
)

// message waits to be sent.
type message struct {
	kind kind
	msg  *nats.Msg
}

// MaxInline is how many bytes a notification may have in all. Writers put no more
// records into one than that leaves room for.
func (b *Bus) MaxInline() int {
	most := int(b.conn.MaxPayload())
	if most <= 0 {
		most = assumedMaxPayload
	}
	return max(most-headerRoom, 0)
}

// PublishAppend announces durable records. One that is too large goes without
// the records themselves.
func (b *Bus) PublishAppend(ctx context.Context, n *clusterv1.AppendNotification) {
	if proto.Size(n) > b.MaxInline() {
		n = withoutData(n)
	}
	_ = b.publish(ctx, kindAppend, b.appendSubject(stream.Shard(n.GetShard())), n) // readers notice
}

// PublishBeacon announces how far a writer is.
func (b *Bus) PublishBeacon(ctx context.Context, beacon *clusterv1.Beacon) {
	_ = b.publish(ctx, kindBeacon, b.beaconSubject(), beacon) // the next one says as much
}

// PublishCatalogChange announces that caches should drop something. An error
// means that it was dropped; nil does not mean that it arrives.
func (b *Bus) PublishCatalogChange(ctx context.Context, c *clusterv1.CatalogChange) error {
	return b.publish(ctx, kindCatalog, b.catalogSubject(), c)
}

// withoutData is n with blocks that only say where the records are.
func withoutData(n *clusterv1.AppendNotification) *clusterv1.AppendNotification {
	bare := &clusterv1.AppendNotification{
		Incarnation: n.GetIncarnation(), Shard: n.GetShard(), Epoch: n.GetEpoch(), Slot: n.GetSlot(),
		PreviousSlotPlusOne: n.GetPreviousSlotPlusOne(),
	}
	for _, a := range n.GetAppends() {
		block := new(clusterv1.Block)
		a.GetBlock().ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			block.ProtoReflect().Set(field, v)
			return true
		})
		block.Data = nil
		bare.Appends = append(bare.Appends, &clusterv1.StreamAppend{StreamId: a.GetStreamId(), Block: block})
	}
	return bare
}

// publish queues a message; ctx gives it its trace context and nothing else. Only
// what belongs to a recorded trace gets a span.
func (b *Bus) publish(ctx context.Context, k kind, subject string, m proto.Message) error {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return b.put(ctx, k, subject, m)
	}
	ctx, span := b.tracer.Start(ctx, "notify.publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", subject)))
	defer span.End()
	err := b.put(ctx, k, subject, m)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

func (b *Bus) put(ctx context.Context, k kind, subject string, m proto.Message) error {
	payload, err := proto.Marshal(m)
	if err != nil {
		return b.drop(k, reasonUnencodable)
	}
	if len(payload) > b.MaxInline() {
		return b.drop(k, reasonTooLarge)
	}
	if !b.conn.IsConnected() {
		return b.drop(k, reasonDisconnected)
	}
	return b.enqueue(message{k, &nats.Msg{Subject: subject, Data: payload, Header: b.headers(ctx)}})
}

func (b *Bus) headers(ctx context.Context) nats.Header {
	carrier := propagation.MapCarrier{}
	b.options.Propagator.Inject(ctx, carrier)
	if len(carrier) == 0 || !b.conn.HeadersSupported() {
		return nil
	}
	h := nats.Header{}
	for key, value := range carrier {
		h.Set(key, value)
	}
	return h
}

func (b *Bus) enqueue(m message) error {
	size := int64(len(m.msg.Data))
	if b.queuedBytes.Add(size) > b.options.QueueBytes {
		b.queuedBytes.Add(-size)
		return b.drop(m.kind, reasonQueueFull)
	}
	select {
	case b.queue <- m:
		return nil
	default:
		b.queuedBytes.Add(-size)
		return b.drop(m.kind, reasonQueueFull)
	}
}

func (b *Bus) drop(k kind, why reason) error {
	b.metrics.dropped.WithLabelValues(string(k), string(why)).Inc()
	return fmt.Errorf("%s notification dropped: %s", k, why)
}

// send passes the queue on to NATS: its Publish blocks while a socket is full.
func (b *Bus) send() {
	for {
		select {
		case m := <-b.queue:
			b.sendOne(m)
		case <-b.stop:
			b.sendRest()
			return
		}
	}
}

func (b *Bus) sendRest() {
	for {
		select {
		case m := <-b.queue:
			b.sendOne(m)
		default:
			return
		}
	}
}

func (b *Bus) sendOne(m message) {
	defer b.queuedBytes.Add(-int64(len(m.msg.Data)))
	if err := b.conn.PublishMsg(m.msg); err != nil {
		_ = b.drop(m.kind, reasonDisconnected)
		b.options.Log.Debug("NATS did not take a notification", zap.String("subject", m.msg.Subject), zap.Error(err))
		return
	}
	b.metrics.published.WithLabelValues(string(m.kind)).Inc()
}
