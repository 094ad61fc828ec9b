package ownership

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Taker is what the manager has take shards.
type Taker interface {
	Take(ctx context.Context, shard stream.Shard, planned bool) (segment.ChainEntry, error)
}

// Members is the writers that are registered, as far as is known.
type Members interface {
	Wait(context.Context) error // until it is known who is registered
	Snapshot() []discovery.Member
	Changed() <-chan struct{}
}

// Dialer connects to other writers.
type Dialer interface {
	Conn(address string) (*grpc.ClientConn, error)
}

// Config is what the manager needs to know.
type Config struct {
	Instance string
	Address  string
	Shards   uint32
	// Parallel is how many shards are taken at once, PlannedParallel how many of
	// living owners.
	Parallel        int
	PlannedParallel int
	// AnswerTimeout is how long an owner that is believed to be gone has to prove
	// otherwise; PlannedTimeout is how long a living one has to hand over.
	AnswerTimeout  time.Duration
	PlannedTimeout time.Duration
	// Interval is how often the manager looks even if nothing changed.
	Interval time.Duration
}

// Manager goes after the shards that should be this writer's.
type Manager struct {
	writer.Ignore
	cfg     Config
	members Members
	dial    Dialer
	log     *zap.Logger
	kick    chan struct{}
	told    int // how many shards the log was last told of

	mu      sync.Mutex
	heads   map[stream.Shard]segment.ChainEntry // the newest seen
	owned   map[stream.Shard]bool
	sealed  map[string]bool // incarnations that are registered but no longer to be reckoned with
	inc     stream.Incarnation
	leaving bool
}

// New makes a Manager; Run sets it to work.
func New(cfg Config, members Members, dial Dialer, log *zap.Logger) *Manager {
	return &Manager{
		cfg: cfg, members: members, dial: dial, log: log,
		kick:   make(chan struct{}, 1),
		heads:  map[stream.Shard]segment.ChainEntry{},
		owned:  map[stream.Shard]bool{},
		sealed: map[string]bool{},
	}
}

// startPatience is how long a writer that starts waits to learn of the others
// before it goes after everything.
const startPatience = 3 * time.Second

// Run takes shards until ctx ends.
func (m *Manager) Run(ctx context.Context, w Taker) {
	waiting, cancel := context.WithTimeout(ctx, startPatience)
	_ = m.members.Wait(waiting) // without etcd the chains tell who owns what
	cancel()
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		changed := m.members.Changed()
		m.pass(ctx, w)
		select {
		case <-changed:
		case <-m.kick:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Manager) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// pass takes every shard that this writer ranks first for and does not own.
// Those of owners known to live are moved a few at a time.
func (m *Manager) pass(ctx context.Context, w Taker) {
	free, planned := m.wanted()
	m.takeAll(ctx, w, free, m.cfg.Parallel)
	m.takeAll(ctx, w, planned, m.cfg.PlannedParallel)
	if n := m.Shards(); n != m.told {
		m.told = n
		m.log.Info("owns shards", zap.Int("shards", n), zap.Uint32("of", m.cfg.Shards))
	}
}

// wanted splits the shards to go after by whether their last known owner is
// believed to live.
func (m *Manager) wanted() (free, planned []stream.Shard) {
	live := m.live()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pruneSealed()
	if m.leaving {
		return nil, nil
	}
	for id := range stream.Shard(m.cfg.Shards) {
		if m.owned[id] || !m.first(id, live) {
			continue
		}
		if head, ok := m.heads[id]; ok && isLive(head.Owner, live) {
			planned = append(planned, id)
		} else {
			free = append(free, id)
		}
	}
	return free, planned
}

func isLive(owner stream.Incarnation, live []discovery.Member) bool {
	return slices.ContainsFunc(live, func(d discovery.Member) bool { return d.Incarnation == owner.String() })
}

func (m *Manager) first(id stream.Shard, live []discovery.Member) bool {
	ranked := discovery.Rank(id, live)
	return ranked[0].Instance == m.cfg.Instance
}

// live is the members that may own shards: this writer, whether or not its
// registration has come through, and those whose log nobody has sealed.
func (m *Manager) live() []discovery.Member {
	members := m.members.Snapshot()
	m.mu.Lock()
	defer m.mu.Unlock()
	members = slices.DeleteFunc(slices.Clone(members), func(d discovery.Member) bool {
		return d.Instance == m.cfg.Instance || m.sealed[d.Incarnation]
	})
	return append(members, discovery.Member{
		Role: discovery.RoleStreamWriter, Instance: m.cfg.Instance, Address: m.cfg.Address, Incarnation: m.inc.String(),
	})
}

// pruneSealed forgets the logs that nobody is registered with any more.
func (m *Manager) pruneSealed() {
	members := m.members.Snapshot()
	maps.DeleteFunc(m.sealed, func(incarnation string, _ bool) bool {
		return !slices.ContainsFunc(members, func(d discovery.Member) bool { return d.Incarnation == incarnation })
	})
}

// takePatience is how long one shard may keep a pass from going on; the take
// itself goes on.
const takePatience = 30 * time.Second

func (m *Manager) takeAll(ctx context.Context, w Taker, shards []stream.Shard, parallel int) {
	var group sync.WaitGroup
	places := make(chan struct{}, parallel)
	for _, id := range shards {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			taking, cancel := context.WithTimeout(ctx, takePatience)
			defer cancel()
			// Nobody is waiting for the shard, as far as is known: no owner that
			// lives is to lose its log for being slow.
			if _, err := m.Take(taking, w, id, true); err != nil && ctx.Err() == nil {
				m.log.Warn("could not take a shard; tries again", zap.Uint32("shard", uint32(id)), zap.Error(err))
			}
		})
	}
	group.Wait()
}

// Take has w take a shard and remembers what the shard's chain says.
func (m *Manager) Take(ctx context.Context, w Taker, id stream.Shard, planned bool) (segment.ChainEntry, error) {
	head, err := w.Take(ctx, id, planned)
	if err == nil {
		m.note(head)
	}
	return head, err
}

func (m *Manager) note(head segment.ChainEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.heads[head.Shard]; !ok || known.Epoch <= head.Epoch {
		m.heads[head.Shard] = head
	}
}

// Keeps tells whether this writer, asked to hand a shard over, keeps it because it
// still ranks first.
func (m *Manager) Keeps(id stream.Shard) bool {
	live := m.live()
	m.mu.Lock()
	leaving := m.leaving
	m.mu.Unlock()
	return !leaving && m.first(id, live)
}

// AskHandOver asks a shard's owner for it. If the move was only planned, an owner
// that is registered but does not answer keeps the shard.
func (m *Manager) AskHandOver(ctx context.Context, entry segment.ChainEntry, planned bool) (shardlog.OwnerAnswer, stream.Slot) {
	timeout, silent := m.cfg.AnswerTimeout, shardlog.OwnerGone
	if planned && isLive(entry.Owner, m.live()) {
		timeout, silent = m.cfg.PlannedTimeout, shardlog.OwnerKeeps
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := m.dial.Conn(entry.Address)
	if err != nil {
		return shardlog.OwnerGone, 0
	}
	r, err := clusterv1.NewWriterServiceClient(conn).HandOverShard(ctx, &clusterv1.HandOverShardRequest{
		Shard: uint32(entry.Shard), Epoch: uint64(entry.Epoch), Incarnation: entry.Owner[:],
	})
	switch {
	case err == nil && r.GetHandedOver():
		return shardlog.OwnerHandedOver, stream.Slot(r.GetEndSlot())
	case err == nil:
		return shardlog.OwnerKeeps, 0
	case rpc.Detail(err) == nil: // nobody answered
		return silent, 0
	default: // refused, or another incarnation answered there
		return shardlog.OwnerGone, 0
	}
}

// Leave has the manager take nothing more and keep nothing that it is asked for.
func (m *Manager) Leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = true
}

// Owns tells whether this writer, as the given incarnation, owns a shard.
func (m *Manager) Owns(id stream.Shard, log stream.Incarnation) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owned[id] && m.inc == log
}

// Shards tells how many shards this writer owns.
func (m *Manager) Shards() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.owned)
}

// Began notes a new incarnation, which owns nothing yet.
func (m *Manager) Began(log stream.Incarnation) {
	m.mu.Lock()
	m.inc = log
	m.mu.Unlock()
	m.wake()
}

// Ended forgets what the incarnation owned.
func (m *Manager) Ended(stream.Incarnation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.owned)
}

// Owned notes a shard.
func (m *Manager) Owned(o shardlog.Owned) {
	m.note(o.Entry)
	m.mu.Lock()
	m.owned[o.Entry.Shard] = true
	m.mu.Unlock()
	m.log.Debug("owns a shard", zap.Uint32("shard", uint32(o.Entry.Shard)), zap.Uint64("epoch", uint64(o.Entry.Epoch)),
		zap.Int("streams", o.Streams), zap.Int("replayed", len(o.Recovered)))
}

// Lost notes that a shard is gone, and looks whether it should come back.
func (m *Manager) Lost(id stream.Shard) {
	m.mu.Lock()
	delete(m.owned, id)
	m.mu.Unlock()
	m.wake()
}

// Sealed notes that a log has ended: its owner's shards need new ones.
func (m *Manager) Sealed(log stream.Incarnation) {
	m.mu.Lock()
	m.sealed[log.String()] = true
	m.mu.Unlock()
	m.log.Info("sealed a log", zap.Stringer("incarnation", log))
	m.wake()
}
