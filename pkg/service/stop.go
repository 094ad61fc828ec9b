package service

import (
	"cmp"
	"context"
	"time"

	"go.uber.org/zap"
)

// StopTimeout bounds the whole stop of an app. Every step of it has a smaller
// budget.
const StopTimeout = 60 * time.Second

// stop ends a server in the order that the package's documentation gives. It has
// no error to return: what could not end in time is cut off.
func (r *Running) stop(ctx context.Context) {
	r.host.health.Stop()
	r.grpcHealth.Shutdown()
	if err := r.listing.withdraw(ctx); err != nil {
		r.log.Warn("left discovery without a word", zap.Error(err))
	}
	r.spread(ctx)
	r.drain(ctx)
	r.finish(ctx)
	<-r.served
	r.component.Down("stopped")
	r.log.Info("stopped serving gRPC")
}

// spread lets those who still send work here learn that they should not. Within
// one process they know at once.
func (r *Running) spread(ctx context.Context) {
	if r.endpoint.Unlisted || r.endpoint.Listener.Addr().Network() == "inproc" {
		return
	}
	select {
	case <-time.After(r.host.config.DrainDelay()):
	case <-ctx.Done():
	}
}

func (r *Running) drain(ctx context.Context) {
	if r.endpoint.Drain == nil {
		return
	}
	budget := cmp.Or(r.endpoint.DrainBudget, r.host.config.DrainTimeout())
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := r.endpoint.Drain(ctx); err != nil {
		r.log.Warn("drain did not finish", zap.Duration("budget", budget), zap.Error(err))
	}
}

// finish lets the calls under way end, then cuts off those that have not.
func (r *Running) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.host.config.DrainTimeout())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.server.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		r.log.Warn("cutting off the calls that are still under way")
		r.server.Stop()
		<-done
	}
}
