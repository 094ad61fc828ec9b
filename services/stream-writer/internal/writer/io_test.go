package writer

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
)

func TestPutTimeout_DoublesUpToAMinute(t *testing.T) {
	for timeouts, want := range []int{3, 6, 12, 24, 48, 60, 60} {
		require.EqualValues(t, want, putTimeout(3*time.Second, timeouts).Seconds())
	}
	require.Equal(t, time.Minute, putTimeout(3*time.Second, 1000))
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
