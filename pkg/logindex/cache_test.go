package logindex

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// A load that began before the object was put says nothing to those who ask after.
func TestCache_AsksAgainWhenALoadThatBeganEarlierFoundNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[string](100, func(int) int64 { return 1 })
		put, answered := false, make(chan struct{})
		loads := 0
		fetch := func(context.Context) (int, error) {
			loads++
			stands := put
			<-answered
			if stands {
				return 7, nil
			}
			return 0, objstore.ErrNotFound
		}
		var group sync.WaitGroup
		group.Go(func() {
			_, err := c.load(t.Context(), "key", fetch)
			require.ErrorIs(t, err, objstore.ErrNotFound)
		})
		synctest.Wait()
		put = true
		for range 5 {
			group.Go(func() {
				value, err := c.load(t.Context(), "key", fetch)
				require.NoError(t, err)
				require.Equal(t, 7, value)
			})
		}
		synctest.Wait()
		close(answered)
		group.Wait()
		require.Equal(t, 2, loads)
	})
}

func TestCache_BelievesTheSecondLoadThatFindsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[string](100, func(int) int64 { return 1 })
		answered := make(chan struct{})
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				_, err := c.load(t.Context(), "key", func(context.Context) (int, error) {
					<-answered
					return 0, objstore.ErrNotFound
				})
				require.ErrorIs(t, err, objstore.ErrNotFound)
			})
		}
		synctest.Wait()
		close(answered)
		group.Wait()
	})
}
