// Package app wires the account service.
package app

import (
	"context"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/services/account/config"
	"github.com/samsa-io/samsa/services/account/internal/account"
	"github.com/samsa-io/samsa/services/account/internal/owners"
	"github.com/samsa-io/samsa/services/account/internal/server"
)

// Module is the account service; it needs service.Platform beside it.
func Module(c config.Config) fx.Option {
	return fx.Module("account",
		fx.Supply(fx.Private, c),
		fx.Decorate(func(log *zap.Logger) *zap.Logger { return log.Named("account") }),
		fx.Provide(fx.Private, newAccounts, server.New),
		fx.Invoke(purge, serve),
	)
}

func newAccounts(c config.Config, names *catalog.Catalog, router *shardroute.Router, cluster objstore.Cluster, log *zap.Logger) (*account.Accounts, *account.Purger) {
	return account.New(names, owners.New(router), account.Options{
		Shards: cluster.Shards, OwnerTimeout: c.Account.OwnerTimeout(), Hold: c.Account.PurgeHold(), Now: time.Now,
	}, log)
}

// purge runs the purger once the catalog is fit for use.
func purge(lc fx.Lifecycle, c config.Config, purger *account.Purger, migration *service.Migration) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.StartStopHook(func() {
		go func() {
			defer close(ended)
			select {
			case <-migration.Done():
				purger.Run(ctx, c.Account.PurgeInterval())
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
		Role:     discovery.RoleAccount,
		Listen:   c.Account.Listen,
		Register: func(to *grpc.Server) { samsav1.RegisterAccountServiceServer(to, s) },
	})
	return err
}
