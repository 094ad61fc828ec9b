package storetime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/objstore"
)

// Clock is the earlier of two clocks. It is safe for concurrent use.
type Clock struct {
	store  objstore.Store
	maxAge time.Duration

	mu   sync.Mutex
	date time.Time // the store's
	at   time.Time // when it was told; by the monotonic clock
}

// New makes a Clock that asks the store again once its answer is older than maxAge;
// in between the store's time goes on as the machine's monotonic clock does.
func New(store objstore.Store, maxAge time.Duration) *Clock {
	return &Clock{store: store, maxAge: maxAge}
}

// Now is the earlier of the machine's and the store's time. An error says that the
// store's is not known, so nobody can tell what is old.
func (c *Clock) Now(ctx context.Context) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > c.maxAge {
		if err := c.ask(ctx); err != nil {
			return time.Time{}, err
		}
	}
	now, store := time.Now(), c.date.Add(time.Since(c.at))
	if store.Before(now) {
		return store, nil
	}
	return now, nil
}

func (c *Clock) ask(ctx context.Context) error {
	info, err := c.store.Head(ctx, objstore.ClusterKey)
	if err != nil {
		return fmt.Errorf("ask the object store for its time: %w", err)
	}
	if info.Date.IsZero() {
		return fmt.Errorf("the object store's answers have no Date: without it records cannot expire")
	}
	// Counted from the answer's arrival the estimate is behind the store's clock,
	// never ahead of it.
	c.date, c.at = info.Date, time.Now()
	return nil
}
