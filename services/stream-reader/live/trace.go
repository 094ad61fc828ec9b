package live

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// tracerName is how the spans of this package are known.
const tracerName = "github.com/samsa-io/samsa/services/stream-reader/live"

// deliverAnnounced delivers a block that a notification brought. One of a recorded
// trace gets a span in that trace, linked to the notification's publication, and
// its frames carry the span on to the sessions.
func (f *follower) deliverAnnounced(a *Append) error {
	blocks := []LocatedBlock{{a.Block, a.Data}}
	if !a.trace.IsSampled() {
		return f.deliver(f.ctx, blocks)
	}
	ctx, span := f.hub.tracer.Start(trace.ContextWithRemoteSpanContext(f.ctx, a.trace), "reader.receive",
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(trace.Link{SpanContext: a.trace}),
		trace.WithAttributes(
			attribute.String("samsa.stream_id", f.id.String()), attribute.Int64("samsa.slot", int64(a.Block.Slot)),
			attribute.Bool("samsa.inline", len(a.Data) > 0),
		))
	defer span.End()
	return f.deliver(ctx, blocks)
}

// mark has the frames carry the trace in ctx, if it is recorded.
func mark(ctx context.Context, frames []*frame.Frame) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		for _, fr := range frames {
			fr.Trace = frame.NewTrace(sc)
		}
	}
}
