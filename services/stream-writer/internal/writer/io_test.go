package writer

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestPutTimeout_DoublesTwice(t *testing.T) {
	for timeouts, want := range []int{3, 6, 12, 12, 12} {
		require.EqualValues(t, want, putTimeout(3*time.Second, timeouts).Seconds())
	}
	require.EqualValues(t, 12, putTimeout(3*time.Second, 1000).Seconds())
}

// slowStore takes its time for each segment.
type slowStore struct {
	objstore.Store
	takes time.Duration
}

func (s slowStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if strings.HasPrefix(key, segment.LogPrefix) {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Store.PutIfAbsent(ctx, key, body)
}

func TestPut_LandsThoughItTakesLongerThanTheFirstTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := runWriter(t, slowStore{objstore.NewMem(), 12 * time.Second}) // of which the first put may take 5
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, w.Retire(ctx), "the seal did not land")
	})
}

// A line carries one segment a time, or several ever more slowly.
type line struct {
	objstore.Store
	alone time.Duration // that one segment takes if nothing else is under way
	busy  atomic.Int64
}

func (l *line) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if strings.HasPrefix(key, segment.LogPrefix) {
		const step = 10 * time.Millisecond
		l.busy.Add(1)
		defer l.busy.Add(-1)
		for carried := time.Duration(0); carried < l.alone; carried += step / time.Duration(l.busy.Load()) {
			select {
			case <-time.After(step):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return l.Store.PutIfAbsent(ctx, key, body)
}

func TestPut_ALineTooSlowForAWindowCarriesThemOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := runWriter(t, &line{Store: objstore.NewMem(), alone: 4 * time.Second}) // 4 at once take longer than the 5 s for a put
		const segments = 20
		var calls []*Call
		for range segments {
			call, err := w.Append(t.Context(), &shardlog.Append{
				Name: stream.Name{Bucket: "bucket", Stream: "s"}, Count: 1, Timestamps: []uint64{shardlog.NoTimestamp},
				Payload: segment.AppendRecord(nil, nil, make([]byte, 1<<20)), // fills a segment
			}, func() {})
			require.NoError(t, err)
			calls = append(calls, call)
		}
		begun := time.Now()
		for i, call := range calls {
			r, err := call.Wait(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, i, r.Ack.First)
		}
		took := time.Since(begun)
		t.Logf("%d segments of 4 s each took %s", segments, took)
		require.Less(t, took, 3*segments*4*time.Second)
	})
}
