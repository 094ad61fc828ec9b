package storetime

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// skewed is a store whose clock differs from the machine's.
type skewed struct {
	objstore.Store
	by    time.Duration
	mute  bool
	asked int
}

func (s *skewed) Head(context.Context, string) (objstore.Info, error) {
	s.asked++
	if s.mute {
		return objstore.Info{}, nil
	}
	return objstore.Info{Date: time.Now().Add(s.by)}, nil
}

func TestNow_IsTheEarlierOfTheTwoClocks(t *testing.T) {
	for _, by := range []time.Duration{-24 * time.Hour, -time.Second, 0, time.Second, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := New(&skewed{by: by}, time.Minute)
			for range 5 {
				now, err := c.Now(t.Context())
				require.NoError(t, err)
				require.True(t, time.Now().Add(min(by, 0)).Equal(now), "store's clock off by %s", by)
				time.Sleep(40 * time.Second)
			}
		})
	}
}

func TestNow_AsksTheStoreOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &skewed{}
		c := New(store, time.Minute)
		for range 120 {
			_, err := c.Now(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		require.Equal(t, 2, store.asked)
	})
}

func TestNow_IsNotKnownWithoutTheStores(t *testing.T) {
	_, err := New(&skewed{mute: true}, time.Minute).Now(t.Context())
	require.ErrorContains(t, err, "no Date")
	_, err = New(objstore.NewMem(), time.Minute).Now(t.Context())
	require.ErrorIs(t, err, objstore.ErrNotFound)
}
