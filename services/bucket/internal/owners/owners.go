// Package owners tells the shards' owners, the stream-writers, what has changed
// about their streams.
package owners

import (
	"context"
	"fmt"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/bucket/internal/bucket"
	"google.golang.org/grpc"
)

// Router finds a shard's owner; *shardroute.Router is one.
type Router interface {
	// Ask calls f with a connection to the owner, and again, with whoever owns
	// the shard by then, until there is an answer or ctx ends.
	Ask(ctx context.Context, shard stream.Shard, f func(ctx context.Context, conn grpc.ClientConnInterface) error) error
}

// Owners reaches owners through a Router.
type Owners struct {
	router Router
	shards uint32
}

// New makes an Owners for a cluster of so many shards.
func New(r Router, shards uint32) *Owners { return &Owners{router: r, shards: shards} }

// ConfigureStream brings a stream's configuration into effect.
func (o *Owners) ConfigureStream(ctx context.Context, s catalog.Stream) error {
	request := &clusterv1.ConfigureStreamRequest{
		Bucket: s.Name.Bucket, Stream: s.Name.Stream, StreamId: s.ID[:],
		Config: settings.ConfigProto(s.Config), ConfigVersion: s.ConfigVersion,
	}
	return o.do(ctx, s, func(ctx context.Context, writer clusterv1.WriterServiceClient) error {
		_, err := writer.ConfigureStream(ctx, request)
		return err
	})
}

// TombstoneStream ends a stream for good.
func (o *Owners) TombstoneStream(ctx context.Context, s catalog.Stream) error {
	request := &clusterv1.TombstoneStreamRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream, StreamId: s.ID[:]}
	return o.do(ctx, s, func(ctx context.Context, writer clusterv1.WriterServiceClient) error {
		_, err := writer.TombstoneStream(ctx, request)
		return err
	})
}

// EndIfEmpty ends a stream for good if its owner finds that it has been empty for as
// long as its configuration says.
func (o *Owners) EndIfEmpty(ctx context.Context, s catalog.Stream) (ended bool, kept time.Duration, err error) {
	request := &clusterv1.TombstoneStreamRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream, StreamId: s.ID[:], IfEmpty: true}
	err = o.do(ctx, s, func(ctx context.Context, writer clusterv1.WriterServiceClient) error {
		r, err := writer.TombstoneStream(ctx, request)
		const most = 24 * time.Hour
		ended, kept = !r.GetKept(), time.Duration(min(r.GetKeptForMs(), uint64(most.Milliseconds())))*time.Millisecond
		return err
	})
	return ended && err == nil, kept, err
}

func (o *Owners) do(ctx context.Context, s catalog.Stream, call func(context.Context, clusterv1.WriterServiceClient) error) error {
	err := o.router.Ask(ctx, s.Name.Shard(o.shards), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		return call(ctx, clusterv1.NewWriterServiceClient(conn))
	})
	if rpc.Detail(err).GetMetadata()["reason"] == reasonCatalogBehind {
		return fmt.Errorf("%w: %w", bucket.ErrCatalogBehind, err)
	}
	return err
}

// reasonCatalogBehind is what a writer gives beside DATABASE_ERROR when its log
// contradicts the catalog.
const reasonCatalogBehind = "catalog_behind"
