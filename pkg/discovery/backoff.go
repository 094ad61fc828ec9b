package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the pause between attempts: it doubles up to a bound, and half of
// it is random so that a restarted etcd is not met by everybody at once.
type backoff struct {
	first, most time.Duration
	attempts    int
}

func (b *backoff) reset() { b.attempts = 0 }

func (b *backoff) next() time.Duration {
	d := min(b.first<<min(b.attempts, 16), b.most)
	b.attempts++
	return d/2 + rand.N(d/2+1)
}

func (b *backoff) sleep(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(b.next()):
	}
}
