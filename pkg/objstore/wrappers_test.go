package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
)

func TestWithRetry_RepeatsReadsAndDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := faulty.New(objstore.NewMem())
		store := objstore.WithRetry(faults, objstore.DefaultRetryPolicy())
		require.NoError(t, store.PutIfAbsent(t.Context(), "key", []byte("body")))
		for _, op := range []string{objstore.OpGet, objstore.OpHead, objstore.OpDelete} {
			faults.Add(faulty.Rule{Op: op, Times: 3, Fault: faulty.Unavailable()})
		}
		object, err := store.Get(t.Context(), "key", objstore.Whole)
		require.NoError(t, err)
		require.Equal(t, "body", string(object.Body))
		_, err = store.Head(t.Context(), "key")
		require.NoError(t, err)
		require.NoError(t, store.Delete(t.Context(), "key"))
		for _, op := range []string{objstore.OpGet, objstore.OpHead, objstore.OpDelete} {
			require.Equal(t, 4, faults.Calls(op), op)
		}
	})
}

func TestWithRetry_NeverRepeatsAPut(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.Unavailable(), faulty.Conflict(), faulty.ReplyLost(), faulty.Late()} {
		faults := faulty.New(objstore.NewMem())
		faults.Add(faulty.Rule{Op: objstore.OpPut, Fault: fault})
		require.Error(t, objstore.WithRetry(faults, objstore.DefaultRetryPolicy()).PutIfAbsent(t.Context(), "key", nil))
		require.Equal(t, 1, faults.Calls(objstore.OpPut), fault.String())
	}
}

func TestWithRetry_GoesOnWithAListWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := faulty.New(objstore.NewMem())
		store := objstore.WithRetry(faults, objstore.DefaultRetryPolicy())
		for i := range 9 {
			require.NoError(t, store.PutIfAbsent(t.Context(), fmt.Sprint(i), nil))
		}
		faults.Add(faulty.Rule{Op: objstore.OpList, Times: 8, Fault: faulty.ReplyLost()}) // each after one key
		var keys []string
		for info, err := range store.List(t.Context(), "", "") {
			require.NoError(t, err)
			keys = append(keys, info.Key)
		}
		require.Equal(t, "0 1 2 3 4 5 6 7 8", strings.Join(keys, " "))
	})
}

func TestWithRetry_GivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := faulty.New(objstore.NewMem())
		faults.Add(faulty.Rule{Times: -1, Fault: faulty.Unavailable()})
		policy := objstore.DefaultRetryPolicy()
		store := objstore.WithRetry(faults, policy)
		began := time.Now()
		_, err := store.Get(t.Context(), "key", objstore.Whole)
		require.ErrorIs(t, err, faulty.ErrUnavailable)
		require.Equal(t, policy.Attempts, faults.Calls(objstore.OpGet))
		require.Less(t, time.Since(began), 3*time.Second)
		for _, err = range store.List(t.Context(), "", "") {
		}
		require.ErrorIs(t, err, faulty.ErrUnavailable)

		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		<-ctx.Done()
		calls := faults.Calls(objstore.OpHead)
		_, err = store.Head(ctx, "key")
		require.Error(t, err)
		require.Equal(t, calls+1, faults.Calls(objstore.OpHead), "no more attempts than time")
	})
}

func TestWithRetry_TakesAnswersForAnswers(t *testing.T) {
	for _, answer := range []error{objstore.ErrNotFound, objstore.ErrRefused, objstore.ErrFatal, objstore.ErrInvalidKey} {
		faults := faulty.New(objstore.NewMem())
		faults.Add(faulty.Rule{Times: -1, Fault: faulty.Fail(answer)})
		_, err := objstore.WithRetry(faults, objstore.DefaultRetryPolicy()).Get(t.Context(), "key", objstore.Whole)
		require.ErrorIs(t, err, answer)
		require.Equal(t, 1, faults.Calls(objstore.OpGet))
	}
}

func TestWithMetrics_CountsByOutcome(t *testing.T) {
	reg := prometheus.NewRegistry()
	faults := faulty.New(objstore.NewMem())
	store := objstore.WithMetrics(objstore.WithMetrics(faults, prometheus.NewRegistry()), reg)
	_ = objstore.WithMetrics(objstore.NewMem(), reg) // a second store in one process is no clash
	require.NoError(t, store.PutIfAbsent(t.Context(), "key", []byte("body")))
	require.Error(t, store.PutIfAbsent(t.Context(), "key", []byte("body")))
	_, err := store.Get(t.Context(), "key", objstore.Suffix(3))
	require.NoError(t, err)
	_, err = store.Head(t.Context(), "absent")
	require.Error(t, err)
	for _, err := range store.List(t.Context(), "", "") {
		require.NoError(t, err)
	}
	require.NoError(t, store.Delete(t.Context(), "key"))
	faults.Add(faulty.Rule{Times: -1, Fault: faulty.Unavailable()})
	require.Error(t, store.Delete(t.Context(), "key"))

	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP samsa_objstore_bytes_total Bytes of bodies sent by put and received by get.
# TYPE samsa_objstore_bytes_total counter
samsa_objstore_bytes_total{operation="get"} 3
samsa_objstore_bytes_total{operation="put"} 8
`), "samsa_objstore_bytes_total"))
	require.Equal(t, map[string]uint64{
		"put ok": 1, "put exists": 1, "get ok": 1, "head not_found": 1, "list ok": 1, "delete ok": 1, "delete error": 1,
	}, observations(t, reg))
}

func observations(t *testing.T, reg *prometheus.Registry) map[string]uint64 {
	families, err := reg.Gather()
	require.NoError(t, err)
	counts := map[string]uint64{}
	for _, family := range families {
		if family.GetName() != "samsa_objstore_operation_duration_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := metric.GetLabel() // by name: operation, outcome
			counts[labels[0].GetValue()+" "+labels[1].GetValue()] = metric.GetHistogram().GetSampleCount()
		}
	}
	return counts
}

func TestWithTracing_MarksFailuresNotAnswers(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	faults := faulty.New(objstore.NewMem())
	store := objstore.WithTracing(faults, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	_, err := store.Head(t.Context(), "absent")
	require.Error(t, err)
	faults.Add(faulty.Rule{Fault: faulty.Unavailable()})
	require.Error(t, store.PutIfAbsent(t.Context(), "key", nil))
	for _, err := range store.List(t.Context(), "", "") {
		require.NoError(t, err)
	}
	var got []string
	for _, span := range spans.Ended() {
		got = append(got, fmt.Sprint(span.Name(), " ", span.Status().Code == codes.Error))
	}
	require.Equal(t, []string{"objstore.head false", "objstore.put true", "objstore.list false"}, got)
}

type closing struct{ objstore.Store }

var errClosed = errors.New("closed")

func (closing) Close() error { return errClosed }

func TestClose_GoesThroughWrappers(t *testing.T) {
	var store objstore.Store = closing{objstore.NewMem()}
	store = objstore.WithRetry(faulty.New(store), objstore.DefaultRetryPolicy())
	store = objstore.WithTracing(objstore.WithMetrics(store, prometheus.NewRegistry()), sdktrace.NewTracerProvider())
	require.ErrorIs(t, store.(io.Closer).Close(), errClosed)
}
