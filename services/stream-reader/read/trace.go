package read

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// tracerName is how the spans of this package are known.
const tracerName = "github.com/samsa-io/samsa/services/stream-reader/read"

// recordDelivery shows in the traces that live frames came with when this session
// sent them, linked to the session's own call.
func (s *session) recordDelivery(ctx context.Context, frames []*frame.Frame, begun time.Time) {
	for _, f := range frames {
		if !f.Trace.Take() {
			continue
		}
		_, span := s.service.tracer.Start(trace.ContextWithSpanContext(ctx, f.Trace.Context), "reader.deliver",
			trace.WithTimestamp(begun), trace.WithLinks(trace.LinkFromContext(ctx)),
			trace.WithAttributes(attribute.String("samsa.stream_id", s.cursor.id.String()), attribute.Int64("samsa.first_seq_num", int64(f.First))))
		span.End()
	}
}
