package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Registration is an instance's presence in etcd. A goroutine keeps it alive
// until Withdraw.
type Registration struct {
	registry *Registry
	log      *zap.Logger
	cancel   context.CancelFunc
	done     chan struct{}
	updated  chan struct{} // one place: there is a member to put
	ready    chan struct{} // closed once it stood in etcd for the first time

	mu     sync.Mutex
	member Member
	err    error

	// Used by the goroutine alone, and by Withdraw after it.
	lease     clientv3.LeaseID // 0: none
	put       bool             // member stands in etcd under lease
	withdrawn bool
}

// Register makes m known and keeps it so, over restarts of etcd and the loss of
// its data. It returns once m stands in etcd, or with an error if ctx ends first;
// then at most a lease is left behind, which runs out.
func (r *Registry) Register(ctx context.Context, m Member) (*Registration, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g := &Registration{
		registry: r, member: m, cancel: cancel, done: make(chan struct{}),
		updated: make(chan struct{}, 1), ready: make(chan struct{}),
		err: errors.New("etcd has not answered yet"),
		log: r.options.Log.With(zap.String("role", m.Role), zap.String("instance", m.Instance)),
	}
	go g.run(run)
	select {
	case <-g.ready:
		return g, nil
	case <-ctx.Done():
		err := fmt.Errorf("register %s %s in etcd: %w (%w)", m.Role, m.Instance, context.Cause(ctx), g.Err())
		g.stop()
		return nil, err
	}
}

// Update changes what is known of the instance, soon. Its role and instance name
// stay.
func (g *Registration) Update(m Member) error {
	g.mu.Lock()
	m.Role, m.Instance = g.member.Role, g.member.Instance
	err := m.check()
	if err == nil {
		g.member = m
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case g.updated <- struct{}{}:
	default: // it has yet to look at the last one
	}
	return nil
}

// Err tells why the instance may not be known to others; nil if it is.
func (g *Registration) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Withdraw ends the registration: those who watch drop the instance at once. If
// etcd does not answer before ctx ends, the lease runs out by itself.
func (g *Registration) Withdraw(ctx context.Context) error {
	g.stop()
	if g.withdrawn {
		return nil
	}
	g.withdrawn = true
	if err := g.leave(ctx); err != nil {
		return fmt.Errorf("withdraw %s from etcd (its lease runs out within %v): %w",
			g.member.Instance, g.registry.options.LeaseTTL, err)
	}
	return nil
}

// leave puts the word even if etcd has forgotten the member: those who watch keep
// a member that etcd lost for a while, unless it said that it leaves.
func (g *Registration) leave(ctx context.Context) error {
	leaving := record{Member: g.current(), Leaving: true}
	err := g.establish(ctx, leaving)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		err = g.establish(ctx, leaving)
	}
	if g.lease == 0 {
		return err
	}
	_, revokeErr := g.registry.client.Revoke(ctx, g.lease)
	if errors.Is(revokeErr, rpctypes.ErrLeaseNotFound) {
		revokeErr = nil // it ran out
	}
	return errors.Join(err, revokeErr)
}

func (g *Registration) stop() {
	g.cancel()
	<-g.done
}

func (g *Registration) current() Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.member
}

func (g *Registration) run(ctx context.Context) {
	defer close(g.done)
	heartbeat := g.registry.options.Heartbeat
	retry := backoff{first: 50 * time.Millisecond, most: min(heartbeat, time.Second)}
	for ctx.Err() == nil {
		wait := heartbeat
		if err := g.beat(ctx); err != nil {
			g.noteLost(ctx, err)
			wait = retry.next()
		} else {
			g.noteKnown()
			retry.reset()
		}
		select {
		case <-ctx.Done():
		case <-g.updated:
			g.put = false
		case <-time.After(wait):
		}
	}
}

func (g *Registration) noteLost(ctx context.Context, err error) {
	g.mu.Lock()
	first := g.err == nil
	g.err = err
	g.mu.Unlock()
	if first && ctx.Err() == nil {
		g.log.Warn("etcd is lost: registering again as soon as it answers", zap.Error(err))
	}
}

func (g *Registration) noteKnown() {
	g.mu.Lock()
	again := g.err != nil
	g.err = nil
	g.mu.Unlock()
	select {
	case <-g.ready:
		if again {
			g.log.Info("registered in etcd again")
		}
	default:
		close(g.ready)
	}
}

// beat gives one sign of life, whatever that takes.
func (g *Registration) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.registry.options.callTimeout())
	defer cancel()
	if g.lease != 0 && g.put {
		err := g.keepAlive(ctx)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		g.forgotten()
	}
	return g.establish(ctx, record{Member: g.current()})
}

func (g *Registration) forgotten() {
	g.lease, g.put = 0, false
	g.registry.metrics.reregistrations.Inc()
}

// establish gets a lease if there is none and puts the record under it.
func (g *Registration) establish(ctx context.Context, r record) error {
	if g.lease == 0 {
		seconds := int64((g.registry.options.LeaseTTL + time.Second - 1) / time.Second)
		granted, err := g.registry.client.Grant(ctx, seconds)
		if err != nil {
			return fmt.Errorf("grant a lease: %w", err)
		}
		g.lease = granted.ID
	}
	err := g.say(ctx, r)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		g.forgotten()
	}
	g.put = err == nil
	return err
}

func (g *Registration) say(ctx context.Context, r record) error {
	value, err := r.encode()
	if err != nil {
		return err
	}
	key := g.registry.keys.member(r.Member)
	if _, err = g.registry.client.Put(ctx, key, value, clientv3.WithLease(g.lease)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// keepAlive renews the lease once. The client's own KeepAliveOnce would retry in
// a tight loop while etcd is down.
func (g *Registration) keepAlive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calls, err := pb.NewLeaseClient(g.registry.client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	if err = calls.Send(&pb.LeaseKeepAliveRequest{ID: int64(g.lease)}); err != nil {
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	answer, err := calls.Recv()
	if err != nil {
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	if answer.TTL <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}
