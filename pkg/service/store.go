package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/failpoint"
	"github.com/samsa-io/samsa/pkg/objstore"
)

const (
	storeAttempt = 15 * time.Second // for opening and probing, once
	storeWait    = time.Minute      // for a store that does not answer at all
	storePause   = time.Second
)

type storeIn struct {
	fx.In
	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Log        *zap.Logger
	Registerer prometheus.Registerer
	Tracer     trace.TracerProvider
}

// store opens the object store and probes it. It waits for one that is not up
// yet, and refuses one that breaks a promise.
func (p *platform) store(in storeIn) (objstore.Store, error) {
	log := in.Log.Named("objstore")
	raw, err := insist(log, "the object store does not answer; trying again", func(ctx context.Context) (objstore.Store, error) {
		return openStore(ctx, p.config.Storage.Config, onFatal(log, in.Shutdowner))
	})
	if err != nil {
		return nil, err
	}
	in.Lifecycle.Append(fx.StopHook(func() error { return objstore.Close(raw) }))
	log.Info("object store is fit for use", zap.String("url", p.config.Storage.URL))
	store := objstore.WithMetrics(raw, in.Registerer)
	if p.config.Observability.EnableOtelTracing {
		store = objstore.WithTracing(store, in.Tracer)
	}
	return failpoint.Store(objstore.WithRetry(store, objstore.DefaultRetryPolicy())), nil
}

func openStore(ctx context.Context, c objstore.Config, fatal func(error)) (objstore.Store, error) {
	store, err := objstore.Open(ctx, c, objstore.OnFatal(fatal))
	if err != nil {
		return nil, fmt.Errorf("open the object store %s: %w", c.URL, err)
	}
	if err := objstore.Probe(ctx, store); err != nil {
		return nil, errors.Join(fmt.Errorf("probe the object store %s: %w", c.URL, err), objstore.Close(store))
	}
	return store, nil
}

// onFatal ends the program when its store cannot be trusted any more.
func onFatal(log *zap.Logger, shutdown fx.Shutdowner) func(error) {
	return func(err error) {
		log.Error("the object store failed for good", zap.Error(err))
		if err := shutdown.Shutdown(fx.ExitCode(ExitFailed)); err != nil {
			log.Error("cannot ask the program to stop", zap.Error(err))
		}
	}
}

// cluster is the store's; the first program that comes creates it.
func cluster(c Config, store objstore.Store, log *zap.Logger) (objstore.Cluster, error) {
	found, err := insist(log.Named("objstore"), "cannot read the cluster object; trying again", func(ctx context.Context) (objstore.Cluster, error) {
		return objstore.OpenCluster(ctx, store, c.Storage.ShardCount)
	})
	if err != nil {
		return objstore.Cluster{}, err
	}
	log.Info("cluster", zap.Stringer("cluster_id", found.ID), zap.Uint32("shards", found.Shards))
	return found, nil
}

// insist repeats what fails in a way that may pass, for up to storeWait.
func insist[T any](log *zap.Logger, complaint string, f func(context.Context) (T, error)) (T, error) {
	for deadline := time.Now().Add(storeWait); ; {
		ctx, cancel := context.WithTimeout(context.Background(), storeAttempt)
		value, err := f(ctx)
		cancel()
		if err == nil || hopeless(err) || time.Now().After(deadline) {
			return value, err
		}
		log.Warn(complaint, zap.Error(err))
		time.Sleep(storePause)
	}
}

// hopeless errors stay as they are however often one tries.
func hopeless(err error) bool {
	var broken *objstore.ProbeError
	return errors.As(err, &broken) || objstore.Permanent(err) || !isStoreError(err)
}

func isStoreError(err error) bool {
	var failed *objstore.Error
	return errors.As(err, &failed)
}
