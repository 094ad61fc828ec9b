// Package app wires the bucket service.
package app

import (
	"context"

	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/services/bucket/config"
	"github.com/samsa-io/samsa/services/bucket/internal/bucket"
	"github.com/samsa-io/samsa/services/bucket/internal/owners"
	"github.com/samsa-io/samsa/services/bucket/internal/server"
)

// Module is the bucket service; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("bucket",
		fx.Supply(fx.Private, c),
		fx.Decorate(func(log *zap.Logger) *zap.Logger { return log.Named("bucket") }),
		fx.Provide(fx.Private, newStreams, server.New),
		fx.Invoke(finish, serve),
	)
}

func newStreams(c config.Config, names *catalog.Catalog, router *shardroute.Router, cluster objstore.Cluster, log *zap.Logger) (*bucket.Streams, *bucket.Finisher) {
	return bucket.New(names, owners.New(router, cluster.Shards), bucket.Options{
		OwnerTimeout: c.Bucket.OwnerTimeout(), Hold: c.Bucket.FinishHold(),
	}, log)
}

// finish runs the finisher once the catalog is fit for use.
func finish(lc fx.Lifecycle, c config.Config, finisher *bucket.Finisher, migration *service.Migration) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.StartStopHook(func() {
		go func() {
			defer close(ended)
			select {
			case <-migration.Done():
				finisher.Run(ctx, c.Bucket.FinishInterval())
			case <-ctx.Done():
			}
		}()
	}, func() {
		cancel()
		<-ended
	}))
}

// serve comes last, so that it stops first.
func serve(lc fx.Lifecycle, c config.Config, host *service.Host, s *server.Server) error {
	_, err := host.Serve(lc, service.Endpoint{
		Role:     discovery.RoleBucket,
		Listen:   c.Bucket.Listen,
		Register: func(to *grpc.Server) { samsav1.RegisterBucketServiceServer(to, s) },
	})
	return err
}
