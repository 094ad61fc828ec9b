package limit

import (
	"container/list"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// Rate is how much may happen in a second; 0: there is no limit.
type Rate struct{ Requests, Records, Bytes int64 }

// Cost is what a call takes of each rate.
type Cost struct{ Requests, Records, Bytes int }

// MaxKeys is how many keys Rates remember.
const MaxKeys = 10_000

// The three rates, in the order of their buckets.
const (
	requests = iota
	records
	bytes
	kinds
)

// Exceeded says that a limit was met. Nothing has happened.
type Exceeded struct {
	What  string // "records a second"
	Key   string // the setting: router.token_records_per_sec
	Limit int64
	Retry time.Duration // when to try again; 0: not before something else ends
}

func (e *Exceeded) Error() string {
	return fmt.Sprintf("%d %s are allowed (%s): try again later", e.Limit, e.What, e.Key)
}

// RPC is e as clients see it.
func (e *Exceeded) RPC() *rpc.Error {
	retry := e.Retry
	if retry <= 0 {
		retry = time.Second
	}
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "%v", e).
		With("reason", "limit").With("limit", e.Key).With("limit_value", strconv.FormatInt(e.Limit, 10)).
		After(retry)
}

// Rates limit the rates of keys. A nil *Rates limits nothing. It is safe for
// concurrent use.
type Rates struct {
	limits  [kinds]int64
	key     string // what the settings' names begin with
	metrics *Metrics

	mu     sync.Mutex
	byKey  map[string]*list.Element // of *entry
	recent *list.List               // the last used first
}

type entry struct {
	key     string
	buckets [kinds]*rate.Limiter // nil: no limit
}

// NewRates limits each key to r. The settings are called <setting>_requests_per_sec
// and so on. It returns nil if there is no limit at all.
func NewRates(r Rate, setting string, m *Metrics) *Rates {
	if r == (Rate{}) {
		return nil
	}
	rates := &Rates{
		limits: [kinds]int64{r.Requests, r.Records, r.Bytes}, key: setting, metrics: m,
		byKey: map[string]*list.Element{}, recent: list.New(),
	}
	for kind, limit := range rates.limits {
		if limit > 0 {
			m.show(rates.setting(kind))
		}
	}
	return rates
}

func kindName(kind int) string { return [kinds]string{"requests", "records", "bytes"}[kind] }

// setting is the name of a kind's limit.
func (r *Rates) setting(kind int) string { return r.key + "_" + kindName(kind) + "_per_sec" }

// CountsRecords tells whether the number of records matters: it takes time to find.
func (r *Rates) CountsRecords() bool { return r != nil && r.limits[records] > 0 }

// Take lets a call go, or says with an *Exceeded why not.
func (r *Rates) Take(key string, c Cost) error {
	if e := r.try(key, c); e != nil {
		r.metrics.exceeded(e.Key)
		return e
	}
	return nil
}

// Wait is Take for those who rather wait, for at most patience.
func (r *Rates) Wait(ctx context.Context, key string, c Cost, patience time.Duration) error {
	for {
		e := r.try(key, c)
		if e == nil {
			return nil
		}
		if e.Retry > patience {
			r.metrics.exceeded(e.Key)
			return e
		}
		patience -= e.Retry
		r.metrics.delayed(e.Key)
		if err := clock.Sleep(ctx, e.Retry); err != nil {
			return err
		}
	}
}

// Charge takes the cost of what has happened, and returns after how long more may.
func (r *Rates) Charge(key string, c Cost) time.Duration {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, now := r.entry(key), time.Now()
	e.charge(now, c)
	if full := r.empty(e, now); full != nil {
		r.metrics.delayed(full.Key)
		return full.Retry
	}
	return 0
}

func (r *Rates) try(key string, c Cost) *Exceeded {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, now := r.entry(key), time.Now()
	if exceeded := r.empty(e, now); exceeded != nil {
		return exceeded
	}
	e.charge(now, c)
	return nil
}

// empty finds the bucket that takes longest to have something in it; nil: all have.
func (r *Rates) empty(e *entry, now time.Time) *Exceeded {
	var worst *Exceeded
	for kind, bucket := range e.buckets {
		if bucket == nil {
			continue
		}
		tokens := bucket.TokensAt(now)
		if tokens >= 1 {
			continue
		}
		wait := time.Duration((1 - tokens) / float64(bucket.Limit()) * float64(time.Second))
		if worst == nil || wait > worst.Retry {
			worst = &Exceeded{What: kindName(kind) + " a second", Key: r.setting(kind), Limit: r.limits[kind], Retry: max(wait, time.Millisecond)}
		}
	}
	return worst
}

// charge takes a cost, in pieces that are no larger than the bucket.
func (e *entry) charge(now time.Time, c Cost) {
	for kind, n := range [kinds]int{c.Requests, c.Records, c.Bytes} {
		bucket := e.buckets[kind]
		for bucket != nil && n > 0 {
			piece := min(n, bucket.Burst())
			bucket.ReserveN(now, piece)
			n -= piece
		}
	}
}

// entry finds a key's buckets, or makes them. The lock is held.
func (r *Rates) entry(key string) *entry {
	if at, ok := r.byKey[key]; ok {
		r.recent.MoveToFront(at)
		return at.Value.(*entry)
	}
	e := &entry{key: key}
	for kind, limit := range r.limits {
		if limit > 0 {
			e.buckets[kind] = rate.NewLimiter(rate.Limit(limit), int(limit))
		}
	}
	r.byKey[key] = r.recent.PushFront(e)
	if r.recent.Len() > MaxKeys {
		oldest := r.recent.Back()
		delete(r.byKey, oldest.Value.(*entry).key)
		r.recent.Remove(oldest)
	}
	return e
}
