package objstore

import (
	"context"
	"errors"
	"iter"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// WithTracing makes a span of each call. ErrExists and ErrNotFound are answers,
// not failures, and show as the attribute objstore.outcome alone.
func WithTracing(s Store, provider trace.TracerProvider) Store {
	return &traced{Store: s, tracer: provider.Tracer("github.com/samsa-io/samsa/pkg/objstore")}
}

type traced struct {
	Store
	tracer trace.Tracer
}

func (t *traced) Close() error { return Close(t.Store) }

func (t *traced) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	ctx, span := t.start(ctx, OpPut, attrKey(key), attribute.Int("objstore.bytes", len(body)))
	err := t.Store.PutIfAbsent(ctx, key, body)
	end(span, err)
	return err
}

func (t *traced) Get(ctx context.Context, key string, r Range) (Object, error) {
	ctx, span := t.start(ctx, OpGet, attrKey(key), attribute.Stringer("objstore.range", r))
	object, err := t.Store.Get(ctx, key, r)
	span.SetAttributes(attribute.Int("objstore.bytes", len(object.Body)))
	end(span, err)
	return object, err
}

func (t *traced) Head(ctx context.Context, key string) (Info, error) {
	ctx, span := t.start(ctx, OpHead, attrKey(key))
	info, err := t.Store.Head(ctx, key)
	end(span, err)
	return info, err
}

func (t *traced) Delete(ctx context.Context, key string) error {
	ctx, span := t.start(ctx, OpDelete, attrKey(key))
	err := t.Store.Delete(ctx, key)
	end(span, err)
	return err
}

func (t *traced) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		ctx, span := t.start(ctx, OpList, attribute.String("objstore.prefix", prefix))
		var failure error
		keys := 0
		for info, err := range t.Store.List(ctx, prefix, startAfter) {
			failure = err
			keys++
			if !yield(info, err) {
				break
			}
		}
		span.SetAttributes(attribute.Int("objstore.keys", keys))
		end(span, failure)
	}
}

func (t *traced) start(ctx context.Context, op string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, "objstore."+op, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
}

func attrKey(key string) attribute.KeyValue { return attribute.String("objstore.key", key) }

func end(span trace.Span, err error) {
	span.SetAttributes(attribute.String("objstore.outcome", Outcome(err)))
	if err != nil && !errors.Is(err, ErrExists) && !isNotFound(err) {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
