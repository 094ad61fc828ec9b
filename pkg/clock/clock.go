// Package clock waits for time to pass, for as long as somebody wants that.
package clock

import (
	"context"
	"time"
)

// Sleep waits for d, and returns ctx's error if that ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
