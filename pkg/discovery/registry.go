package discovery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Options are a Registry's settings; New fills in what is zero.
type Options struct {
	Prefix     string                // of all keys; "/samsa"
	Heartbeat  time.Duration         // between signs of life; 2 s
	LeaseTTL   time.Duration         // whole seconds; a silent member is dropped after it; 3 heartbeats
	Log        *zap.Logger           // none
	Registerer prometheus.Registerer // none
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = "/samsa"
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 2 * time.Second
	}
	if o.LeaseTTL <= 0 {
		o.LeaseTTL = 3 * o.Heartbeat
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// callTimeout bounds one call to etcd, so that an etcd that does not answer is
// found out within about a heartbeat.
func (o Options) callTimeout() time.Duration {
	return min(max(o.Heartbeat, 500*time.Millisecond), 3*time.Second)
}

// Registry is a cluster's membership in etcd.
type Registry struct {
	client  *clientv3.Client
	options Options
	keys    keys
	metrics *metrics

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	roles  map[string]*Members // one for all who watch a role
	closed bool
}

// New makes a Registry on a client that the caller closes after the Registry.
func New(client *clientv3.Client, o Options) *Registry {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Registry{
		client: client, options: o, keys: keys{o.Prefix}, metrics: newMetrics(o.Registerer),
		ctx: ctx, cancel: cancel, roles: map[string]*Members{},
	}
}

// Watch follows the members of a role until the Registry closes. It returns at
// once; Members.Wait waits for the first answer of etcd.
func (r *Registry) Watch(role string) *Members {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.roles[role]; ok {
		return m
	}
	m := newMembers(role, r.metrics)
	r.roles[role] = m
	if !r.closed {
		f := &follower{Members: m, client: r.client, options: r.options, prefix: r.keys.role(role),
			log: r.options.Log.With(zap.String("role", role))}
		r.wg.Go(func() { f.run(r.ctx) })
	}
	return m
}

// Err tells why the membership may be out of date; nil if it is not. What is
// known goes on being served.
func (r *Registry) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, m := range r.roles {
		errs = append(errs, m.Err())
	}
	return errors.Join(errs...)
}

// Close stops following. Registrations are not touched: they have owners that
// withdraw them.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}
