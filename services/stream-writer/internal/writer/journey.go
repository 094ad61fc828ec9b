package writer

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A journey is a segment's way from its first put to its acknowledgement. Its span
// belongs to the trace of the first traced append in it and links to all of them,
// as one put carries many.
type journey struct {
	issued  time.Time
	landed  atomic.Int64 // Unix nanoseconds: when the first put said that it stands; 0: not yet
	durable time.Time    // when all lower slots stood, too
	span    trace.Span   // nil: none of its appends is traced
}

// journeyOf finds or begins the journey of a put; nil: it carries no segment.
func (i *incarnation) journeyOf(p shardlog.Put) *journey {
	if p.Segment == nil {
		return nil
	}
	j := i.journeys[placeOf(p.Segment)]
	if j == nil {
		j = &journey{issued: time.Now(), span: i.segmentSpan(p)}
		i.journeys[placeOf(p.Segment)] = j
		i.w.metrics.inFlight.Inc()
	}
	return j
}

func (i *incarnation) segmentSpan(p shardlog.Put) trace.Span {
	if len(p.Traces) == 0 {
		return nil
	}
	links := make([]trace.Link, 0, len(p.Traces))
	for _, t := range p.Traces {
		links = append(links, trace.Link{SpanContext: t.(trace.SpanContext)}) //nolint:forcetypeassert // Append sets nothing else
	}
	parent := trace.ContextWithSpanContext(i.ctx, links[0].SpanContext)
	_, span := i.w.tracer.Start(parent, "writer.segment", trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("samsa.incarnation", p.Segment.Log.String()), attribute.Int64("samsa.slot", int64(p.Segment.Slot)),
		attribute.Int("samsa.batches", len(p.Segment.Batches)),
	))
	return span
}

// context carries the journey's span.
func (j *journey) context(ctx context.Context) context.Context {
	if j == nil || j.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, j.span)
}

// answered takes note of how a put of the journey ended.
func (j *journey) answered(o shardlog.Outcome) {
	if j != nil && (o == shardlog.Created || o == shardlog.Exists) {
		j.landed.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// arrive ends the journey of a slot that is durable.
func (i *incarnation) arrive(at place) *journey {
	j := i.journeys[at]
	if j == nil {
		return nil
	}
	delete(i.journeys, at)
	j.durable = time.Now()
	j.end()
	i.w.metrics.inFlight.Dec()
	return j
}

func (j *journey) end() {
	if j.span != nil {
		j.span.End()
	}
}

// place is a segment's slot.
type place struct {
	log  stream.Incarnation
	slot stream.Slot
}

func placeOf(s *segment.Segment) place { return place{s.Log, s.Slot} }

// strand ends the journeys into a log that has ended.
func (i *incarnation) strand(log stream.Incarnation) {
	for at, j := range i.journeys {
		if at.log != log {
			continue
		}
		j.end()
		delete(i.journeys, at)
		i.w.metrics.inFlight.Dec()
	}
}

// phases splits the time of an append that was handed over at begun: until its
// segment's first put, until that stood, and until all lower slots stood as well.
func (j *journey) phases(begun time.Time) (queue, put, ack time.Duration) {
	landed := j.durable
	if at := j.landed.Load(); at != 0 {
		landed = time.Unix(0, at)
	}
	return max(j.issued.Sub(begun), 0), max(landed.Sub(j.issued), 0), max(j.durable.Sub(landed), 0)
}

// note tells of the journey in the append's own span.
func (j *journey) note(ctx context.Context, queue, put, ack time.Duration) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.Float64("samsa.append.queue_seconds", queue.Seconds()),
		attribute.Float64("samsa.append.put_seconds", put.Seconds()),
		attribute.Float64("samsa.append.ack_seconds", ack.Seconds()),
	)
	if j.span != nil {
		span.AddLink(trace.Link{SpanContext: j.span.SpanContext()})
	}
}

// traceOf is what ties the put of an append's segment to the append's trace.
func traceOf(ctx context.Context) any {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		return sc
	}
	return nil
}
