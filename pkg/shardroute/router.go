package shardroute

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Members is the stream-writers that are known; *discovery.Members is one.
type Members interface {
	Snapshot() []discovery.Member
	Changed() <-chan struct{}
}

// Dialer keeps connections by address; *rpc.Dialer is one.
type Dialer interface {
	Conn(address string) (*grpc.ClientConn, error)
}

// Options are a Router's settings; New fills in what is zero but Shards.
type Options struct {
	Shards uint32
	// AttemptTimeout is how long an owner may take to answer one attempt of Ask.
	AttemptTimeout time.Duration // 1 s
	// TakeTimeout is how long a writer may take to take a shard before the next
	// one is asked as well.
	TakeTimeout time.Duration // 3 s
	// MembersWait is how long a call waits for a first stream-writer to register.
	MembersWait time.Duration // 2 s
	// SuspectFor is how long a writer that did not answer is asked last.
	SuspectFor time.Duration // 5 s
	// LookEvery is how long an owner that was looked into, and keeps its shard, is
	// not looked into again.
	LookEvery time.Duration // 500 ms
	// The pause between searches for an owner grows from BackoffFirst to
	// BackoffMost.
	BackoffFirst time.Duration // 10 ms
	BackoffMost  time.Duration // 250 ms

	Log        *zap.Logger
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, time.Second)
	o.TakeTimeout = cmp.Or(o.TakeTimeout, 3*time.Second)
	o.MembersWait = cmp.Or(o.MembersWait, 2*time.Second)
	o.SuspectFor = cmp.Or(o.SuspectFor, 5*time.Second)
	o.LookEvery = cmp.Or(o.LookEvery, 500*time.Millisecond)
	o.BackoffFirst = cmp.Or(o.BackoffFirst, 10*time.Millisecond)
	o.BackoffMost = cmp.Or(o.BackoffMost, 250*time.Millisecond)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// Owner is who is believed to own a shard.
type Owner struct {
	Instance    string
	Address     string
	Incarnation stream.Incarnation // zero: it only ranks best, and was not asked yet
	Epoch       stream.Epoch
	Conn        grpc.ClientConnInterface
}

// guessed tells that no writer has said that this is the owner.
func (o Owner) guessed() bool { return o.Incarnation.IsZero() }

// is tells whether this is the owner of that name. A writer that is not registered
// any more goes by its address.
func (o Owner) is(instance string) bool { return instance == o.Instance || instance == o.Address }

// same tells whether both are the same ownership, or the same guess.
func (o Owner) same(other Owner) bool {
	return o.Address == other.Address && o.Incarnation == other.Incarnation && o.Epoch == other.Epoch
}

// keeps tells whether the shard is still this owner's, now that a writer has named
// its owner.
func (o Owner) keeps(named Owner) bool {
	return o.Address == named.Address && (o.guessed() || o.Incarnation == named.Incarnation)
}

// Router finds the owners of shards. It is safe for concurrent use.
type Router struct {
	members Members
	dial    Dialer
	options Options
	metrics *metrics

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	shards []shardEntry
	// suspects are the addresses where nobody answered lately, and since when.
	suspects map[string]time.Time
	wg       sync.WaitGroup // of searches; grows under mu
}

// shardEntry is what is known of one shard; Router.mu guards it.
type shardEntry struct {
	heard  bool // something was found out about it
	known  bool
	owner  Owner // if known
	failed Owner // if not known: whom the next search asks last
	// Hints from before it are out of date, whoever gives them.
	epoch  stream.Epoch
	search *search   // the one that is under way
	kept   time.Time // when the owner was last found to keep it
}

// New makes a Router on members and connections that outlive it.
func New(members Members, dial Dialer, o Options) *Router {
	ctx, cancel := context.WithCancel(context.Background())
	return &Router{
		members: members, dial: dial, options: o.withDefaults(), metrics: newMetrics(o.Registerer),
		ctx: ctx, cancel: cancel, shards: make([]shardEntry, o.Shards), suspects: map[string]time.Time{},
	}
}

// Close ends the searches that are under way.
func (r *Router) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}

// Owner finds out who owns the shard, having it taken if need be.
func (r *Router) Owner(ctx context.Context, shard stream.Shard) (Owner, error) {
	c, err := r.newCall(ctx, shard)
	if err != nil {
		return Owner{}, err
	}
	for {
		if owner, ok := r.cached(shard); ok {
			return r.connected(owner)
		}
		if err := c.search(); err != nil {
			return Owner{}, err
		}
	}
}

// Forget drops what is remembered of the shard's owner.
func (r *Router) Forget(shard stream.Shard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(shard) < len(r.shards) {
		e := &r.shards[shard]
		e.heard, e.known, e.failed = false, false, Owner{}
	}
}

// Report says that an instance, believed to own the shard, does not answer. Unless
// somebody else owns the shard by now, another writer is asked to look into it;
// calls that come meanwhile wait for what it finds.
func (r *Router) Report(shard stream.Shard, instance string) {
	if owner, ok := r.cached(shard); ok && owner.is(instance) {
		r.suspect(owner.Address)
		r.lose(shard, owner, owner)
		r.startSearch(shard)
	}
}

// Replaced has an instance looked into that owns the shard and is silent: another
// writer is asked to take the shard, and judges whether the owner lives. All who
// ask share one look. The owner may only be slow, so it stays known meanwhile.
// Replaced waits until the look or ctx ends, and tells whether another instance
// owns the shard then.
func (r *Router) Replaced(ctx context.Context, shard stream.Shard, instance string) bool {
	if int(shard) >= len(r.shards) {
		return false
	}
	select {
	case <-r.startLook(shard, instance).done:
	case <-ctx.Done():
	}
	owner, ok := r.cached(shard)
	return ok && !owner.is(instance)
}

func (r *Router) cached(shard stream.Shard) (Owner, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(shard) >= len(r.shards) {
		return Owner{}, false
	}
	e := &r.shards[shard]
	return e.owner, e.known
}

// learn takes note of an owner that a writer named. It is false for old news.
func (r *Router) learn(shard stream.Shard, owner Owner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.shards[shard]
	if owner.Epoch < e.epoch {
		return false
	}
	if owner.Epoch > e.epoch || !e.known {
		r.options.Log.Debug("shard has an owner", zap.Uint32("shard", uint32(shard)),
			zap.Uint64("epoch", uint64(owner.Epoch)), zap.String("instance", owner.Instance))
	}
	e.heard, e.known, e.owner, e.epoch = true, true, owner, owner.Epoch
	return true
}

// confirm keeps a guess that turned out well.
func (r *Router) confirm(shard stream.Shard, guess Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := &r.shards[shard]; !e.heard {
		e.heard, e.known, e.owner = true, true, guess
	}
}

// lose takes note that an owner is of no use, and whom the next search is to ask
// last. It is false if another owner is known by now.
func (r *Router) lose(shard stream.Shard, owner, failed Owner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.shards[shard]
	if e.known && !e.owner.same(owner) {
		return false
	}
	if e.known || owner.Epoch >= e.failed.Epoch { // else a later owner has failed since
		e.failed = failed
	}
	e.heard, e.known = true, false
	return true
}

func (r *Router) connected(owner Owner) (Owner, error) {
	conn, err := r.dial.Conn(owner.Address)
	if err != nil {
		return Owner{}, fmt.Errorf("connect to writer %s at %s: %w", owner.Instance, owner.Address, err)
	}
	owner.Conn = conn
	return owner, nil
}

// ownerOf reads an owner as a writer names it; false if it names none.
func ownerOf(o *clusterv1.Owner) (Owner, bool) {
	incarnation, err := stream.IncarnationFromBytes(o.GetIncarnation())
	if err != nil || o.GetAddress() == "" || incarnation.IsZero() {
		return Owner{}, false
	}
	return Owner{
		Instance: o.GetInstance(), Address: o.GetAddress(), Incarnation: incarnation, Epoch: stream.Epoch(o.GetEpoch()),
	}, true
}
