// Package owners tells the shards' owners, the stream-writers, that a bucket has
// ended.
package owners

import (
	"context"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/stream"
	"google.golang.org/grpc"
)

// Router finds a shard's owner; *shardroute.Router is one.
type Router interface {
	// Ask calls f with a connection to the owner, and again, with whoever owns
	// the shard by then, until there is an answer or ctx ends.
	Ask(ctx context.Context, shard stream.Shard, f func(ctx context.Context, conn grpc.ClientConnInterface) error) error
}

// Owners reaches owners through a Router.
type Owners struct{ router Router }

// New makes an Owners.
func New(r Router) *Owners { return &Owners{router: r} }

// TombstoneBucket ends the bucket's streams in one shard.
func (o *Owners) TombstoneBucket(ctx context.Context, shard stream.Shard, b catalog.Bucket) error {
	request := &clusterv1.TombstoneBucketRequest{Shard: uint32(shard), Bucket: b.Name, BucketId: b.ID[:]}
	return o.router.Ask(ctx, shard, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := clusterv1.NewWriterServiceClient(conn).TombstoneBucket(ctx, request)
		return err
	})
}
