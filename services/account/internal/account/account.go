package account

import (
	"context"
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Catalog is what the account service needs of *catalog.Catalog.
type Catalog interface {
	CreateBucket(ctx context.Context, name string, s settings.Bucket) (catalog.Bucket, error)
	GetBucket(ctx context.Context, name string) (catalog.Bucket, error)
	ListBuckets(ctx context.Context, page catalog.Page) ([]catalog.Bucket, bool, error)
	ReconfigureBucket(ctx context.Context, name string, change settings.BucketChange) (catalog.Bucket, error)

	BeginBucketDeletion(ctx context.Context, name string, hold catalog.Hold) (catalog.Bucket, error)
	BucketTombstoned(ctx context.Context, b catalog.Bucket) error
	ClaimBuckets(ctx context.Context, limit int, hold catalog.Hold) ([]catalog.Bucket, error)
	RemoveStreamsOf(ctx context.Context, b catalog.Bucket, limit int) (int, error)
	RemoveBucket(ctx context.Context, b catalog.Bucket) error

	IssueAccessToken(ctx context.Context, t catalog.AccessToken) (string, error)
	RevokeAccessToken(ctx context.Context, id string) (catalog.AccessToken, error)
	ListAccessTokens(ctx context.Context, page catalog.Page) ([]catalog.AccessToken, bool, error)
	RemoveExpiredAccessTokens(ctx context.Context) (int, error)
}

// Owners reaches the shards' owners.
type Owners interface {
	// TombstoneBucket ends every stream that the bucket has in the shard. It
	// returns once that is durable, and may be repeated.
	TombstoneBucket(ctx context.Context, shard stream.Shard, b catalog.Bucket) error
}

// Options are the facts and limits that an Accounts works with.
type Options struct {
	Shards       uint32
	OwnerTimeout time.Duration // for all of a bucket's owners to acknowledge
	Hold         catalog.Hold  // before a purger takes up, or again, what is unfinished
	Now          func() time.Time
}

// Accounts answers the calls about buckets and access tokens.
type Accounts struct {
	catalog Catalog
	end     ending
	options Options
	purger  *Purger
}

// New makes an Accounts and the Purger that finishes its deletions, which the
// caller runs.
func New(c Catalog, owners Owners, o Options, log *zap.Logger) (*Accounts, *Purger) {
	end := ending{catalog: c, owners: owners, shards: o.Shards, timeout: o.OwnerTimeout}
	purger := newPurger(c, end, o.Hold, log)
	return &Accounts{catalog: c, end: end, options: o, purger: purger}, purger
}

func checkBucket(name string) error { return invalid("bucket", stream.CheckBucketName(name)) }

// invalid says which field of a request is wrong, if err says that one is.
func invalid(field string, err error) error {
	if err == nil {
		return nil
	}
	return &settings.InvalidError{Field: field, Problem: err.Error()}
}

// CreateBucket makes a bucket.
func (a *Accounts) CreateBucket(ctx context.Context, name string, s settings.Bucket) (catalog.Bucket, error) {
	if err := checkBucket(name); err != nil {
		return catalog.Bucket{}, err
	}
	return a.catalog.CreateBucket(ctx, name, s)
}

// GetBucket finds a bucket.
func (a *Accounts) GetBucket(ctx context.Context, name string) (catalog.Bucket, error) {
	if err := checkBucket(name); err != nil {
		return catalog.Bucket{}, err
	}
	return a.catalog.GetBucket(ctx, name)
}

// ListBuckets lists buckets by name.
func (a *Accounts) ListBuckets(ctx context.Context, page catalog.Page) ([]catalog.Bucket, bool, error) {
	if err := page.Check(); err != nil {
		return nil, false, err
	}
	return a.catalog.ListBuckets(ctx, page)
}

// ReconfigureBucket changes a bucket's settings.
func (a *Accounts) ReconfigureBucket(ctx context.Context, name string, change settings.BucketChange) (catalog.Bucket, error) {
	if err := checkBucket(name); err != nil {
		return catalog.Bucket{}, err
	}
	return a.catalog.ReconfigureBucket(ctx, name, change)
}

// DeleteBucket ends a bucket and its streams. *UnfinishedError: the bucket's
// deletion has begun and goes on by itself, but appends to its streams may still
// be acknowledged.
func (a *Accounts) DeleteBucket(ctx context.Context, name string) error {
	if err := checkBucket(name); err != nil {
		return err
	}
	b, err := a.catalog.BeginBucketDeletion(ctx, name, a.options.Hold)
	if err != nil {
		return err
	}
	if err := a.end.tombstone(ctx, b); err != nil {
		return &UnfinishedError{Bucket: name, Err: err}
	}
	// The owners' word is what was promised; if it can't be noted now, the
	// purger asks for it once more.
	if err := a.catalog.BucketTombstoned(ctx, b); err == nil {
		a.purger.Nudge()
	}
	return nil
}

// UnfinishedError says that a bucket's deletion has begun and that not every
// shard's owner has acknowledged it. It goes on by itself.
type UnfinishedError struct {
	Bucket string
	Err    error
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("bucket %q is marked deleted and its deletion goes on by itself, but not every shard's owner has acknowledged it: %v", e.Bucket, e.Err)
}

func (e *UnfinishedError) Unwrap() error { return e.Err }

// ending tells every shard's owner that a bucket has ended.
type ending struct {
	catalog Catalog
	owners  Owners
	shards  uint32
	timeout time.Duration
}

// atOnce is how many owners are called at a time for one bucket.
const atOnce = 16

func (e ending) tombstone(ctx context.Context, b catalog.Bucket) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for shard := range e.shards {
		calls.Go(func() error {
			if err := e.owners.TombstoneBucket(ctx, stream.Shard(shard), b); err != nil {
				return fmt.Errorf("shard %d: %w", shard, err)
			}
			return nil
		})
	}
	return calls.Wait()
}
