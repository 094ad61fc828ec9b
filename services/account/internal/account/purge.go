package account

import (
	"context"
	"errors"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"go.uber.org/zap"
)

const (
	// bucketsAtOnce is how many buckets a purger claims at a time.
	bucketsAtOnce = 8
	// rowsAtOnce is how many streams' rows it removes in one transaction.
	rowsAtOnce = 1000
)

// Purger finishes the deletion of buckets and removes expired access tokens.
type Purger struct {
	catalog Catalog
	end     ending
	hold    catalog.Hold
	log     *zap.Logger
	nudge   chan struct{}
}

func newPurger(c Catalog, end ending, hold catalog.Hold, log *zap.Logger) *Purger {
	return &Purger{catalog: c, end: end, hold: hold, log: log, nudge: make(chan struct{}, 1)}
}

// Nudge says that there is work.
func (p *Purger) Nudge() {
	select {
	case p.nudge <- struct{}{}:
	default: // one is enough
	}
}

// Run works until ctx ends: at once, when nudged, and every so often.
func (p *Purger) Run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := p.Round(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("not everything could be purged; trying again", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-p.nudge:
		}
	}
}

// Round does what is due. What fails is due again after the hold.
func (p *Purger) Round(ctx context.Context) error {
	var failed []error
	for {
		buckets, err := p.catalog.ClaimBuckets(ctx, bucketsAtOnce, p.hold)
		if err != nil || len(buckets) == 0 {
			_, expiry := p.catalog.RemoveExpiredAccessTokens(ctx)
			return errors.Join(append(failed, err, expiry)...)
		}
		for _, b := range buckets {
			if err := p.purge(ctx, b); err != nil {
				failed = append(failed, err)
			}
		}
	}
}

func (p *Purger) purge(ctx context.Context, b catalog.Bucket) error {
	if !b.Tombstoned {
		if err := p.end.tombstone(ctx, b); err != nil {
			return &UnfinishedError{Bucket: b.Name, Err: err}
		}
		if err := p.catalog.BucketTombstoned(ctx, b); err != nil {
			return err
		}
	}
	for {
		removed, err := p.catalog.RemoveStreamsOf(ctx, b, rowsAtOnce)
		if err != nil {
			return err
		}
		if removed == 0 {
			break
		}
	}
	if err := p.catalog.RemoveBucket(ctx, b); err != nil {
		return err
	}
	p.log.Info("bucket is gone", zap.String("bucket", b.Name), zap.Stringer("bucket_id", b.ID))
	return nil
}
