package bucket

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// idle is a catalog in which there is nothing to do; it counts how often
// somebody asks.
type idle struct {
	Catalog
	mu    sync.Mutex
	asked int
	err   error
}

func (c *idle) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *idle) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *idle) ClaimEmptyable(context.Context, int, catalog.Hold) ([]catalog.Stream, error) {
	return nil, nil
}

func (c *idle) ClaimStreams(context.Context, int, catalog.Hold) ([]catalog.Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return nil, c.err
}

func TestFinisher_LooksAtOnceAndEverySoOften(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		c := new(idle)
		core, logs := observer.New(zap.WarnLevel)
		_, f := New(c, nil, Options{}, zap.New(core))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.Run(ctx, time.Minute)
		}()
		synctest.Wait()
		require.Equal(t, 1, c.count())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, c.count())

		require.Zero(t, logs.Len())
		c.fail(errors.New("away"))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, logs.Len())
		cancel()
		<-done
	})
}
