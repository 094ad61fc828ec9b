package catalog

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/postgres"
	"github.com/samsa-io/samsa/pkg/stream"
	"go.uber.org/zap"
)

// State is where a bucket or stream stands in its life.
type State string

// The states. A thing that is gone has no row.
const (
	StateActive   State = "active"
	StateDeleting State = "deleting"
)

// Bucket is a bucket's row.
type Bucket struct {
	ID        stream.ID
	Name      string
	State     State
	Settings  settings.Bucket
	CreatedAt time.Time
	DeletedAt time.Time // when its deletion began; zero: not yet
	// Tombstoned: every shard's owner has acknowledged the bucket's end.
	Tombstoned bool
}

// CreatesOnAppend tells whether an append to a missing stream creates it.
func (b Bucket) CreatesOnAppend() bool { return isTrue(b.Settings.CreateStreamOnAppend) }

// CreatesOnRead tells whether reading a missing stream creates it.
func (b Bucket) CreatesOnRead() bool { return isTrue(b.Settings.CreateStreamOnRead) }

func isTrue(b *bool) bool { return b != nil && *b }

// Stream is a stream's row.
type Stream struct {
	ID       stream.ID
	BucketID stream.ID
	Name     stream.Name
	State    State
	Config   stream.Config
	// ConfigVersion grows with every change of Config, from 1.
	ConfigVersion uint64
	// AppliedVersion is the last one that the shard's owner has acknowledged.
	AppliedVersion uint64
	CreatedAt      time.Time
	DeletedAt      time.Time // when its deletion began; zero: not yet
}

// Publisher tells everybody's caches what has changed.
type Publisher interface {
	PublishCatalogChange(ctx context.Context, change *clusterv1.CatalogChange) error
}

// Options are the parts of a Catalog that may be left out.
type Options struct {
	Publisher Publisher     // nil: nobody is told
	Log       *zap.Logger   // nil: none
	Timeout   time.Duration // of each call, waiting for a connection included; 0: DefaultTimeout
}

// DefaultTimeout is how long a call may take.
const DefaultTimeout = 5 * time.Second

// Catalog is the names in one Postgres database. It is safe for concurrent use.
type Catalog struct {
	pool    *pgxpool.Pool
	publish Publisher
	log     *zap.Logger
	timeout time.Duration
}

// New makes a Catalog over the pool, which stays the caller's. It does not talk
// to Postgres: whoever owns the schema calls Migrate first.
func New(pool *pgxpool.Pool, o Options) *Catalog {
	c := &Catalog{pool: pool, publish: o.Publisher, log: o.Log, timeout: o.Timeout}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	return c
}

// changed tells the others. It is only a hint: caches also age.
func (c *Catalog) changed(ctx context.Context, change *clusterv1.CatalogChange) {
	if c.publish == nil {
		return
	}
	// The change is committed, so others should hear of it even if the caller
	// has gone; but nobody waits for a sick NATS.
	const patience = time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := c.publish.PublishCatalogChange(ctx, change); err != nil {
		c.log.Warn("a catalog change was not announced; caches show it later",
			zap.String("bucket", change.Bucket), zap.String("stream", change.Stream),
			zap.String("access_token_id", change.AccessTokenId), zap.Error(err))
	}
}

func (c *Catalog) bucketChanged(ctx context.Context, name string) {
	c.changed(ctx, &clusterv1.CatalogChange{Bucket: name})
}

func (c *Catalog) streamChanged(ctx context.Context, name stream.Name) {
	c.changed(ctx, &clusterv1.CatalogChange{Bucket: name.Bucket, Stream: name.Stream})
}

func (c *Catalog) accessTokenChanged(ctx context.Context, id string) {
	c.changed(ctx, &clusterv1.CatalogChange{AccessTokenId: id})
}

// attempts is how often a transaction is tried that collides with others or
// meets a connection which Postgres has left.
const attempts = 4

// transact runs f in a transaction, again where the first run certainly left no
// trace.
func (c *Catalog) transact(ctx context.Context, operation string, f func(ctx context.Context, tx pgx.Tx) error) error {
	return c.try(ctx, operation, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error { return f(ctx, tx) })
	}, postgres.LeftNoTrace)
}

// read runs f, which changes nothing, again if the connection breaks.
func (c *Catalog) read(ctx context.Context, operation string, f func(ctx context.Context, db queryer) error) error {
	return c.try(ctx, operation, func(ctx context.Context) error { return f(ctx, c.pool) }, connectionBroke)
}

// queryer is a pool or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (c *Catalog) try(caller context.Context, operation string, f func(context.Context) error, again func(error) bool) error {
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	defer cancel()
	var err error
	for range attempts {
		if err = f(ctx); err == nil || ctx.Err() != nil || !again(err) {
			break
		}
	}
	return translate(caller, operation, err)
}
