package ownership

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Taker is what the manager has take shards.
type Taker interface {
	Take(context.Context, shardlog.Take) (segment.ChainEntry, error)
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
	// otherwise, by handing over or by saying that it is about to. PlannedTimeout is
	// how long a living one has to hand over, NeededTimeout the same while somebody
	// waits for the shard.
	AnswerTimeout  time.Duration
	PlannedTimeout time.Duration
	NeededTimeout  time.Duration
	// HoldOff is how long nothing is moved from living owners after this writer's log
	// was sealed, Settle how long after writers have come or gone.
	HoldOff, Settle time.Duration
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
	offers  chan stream.Incarnation // logs whose shards are to be offered
	told    int                     // how many shards the log was last told of
	view    view                    // used by Run alone

	mu      sync.Mutex
	heads   map[stream.Shard]segment.ChainEntry // the newest seen
	owned   map[stream.Shard]stream.Incarnation // by which of this writer's logs
	waits   map[*wait]struct{}                  // questions to owners that are not answered yet
	sealed  map[string]bool                     // incarnations that are registered but no longer to be reckoned with
	moves   moves
	inc     stream.Incarnation
	leaving bool
	drained bool
}

// New makes a Manager; Run sets it to work.
func New(cfg Config, members Members, dial Dialer, log *zap.Logger) *Manager {
	return &Manager{
		cfg: cfg, members: members, dial: dial, log: log,
		kick:   make(chan struct{}, 1),
		offers: make(chan stream.Incarnation, offerQueue),
		waits:  map[*wait]struct{}{},
		heads:  map[stream.Shard]segment.ChainEntry{},
		owned:  map[stream.Shard]stream.Incarnation{},
		sealed: map[string]bool{},
		moves:  newMoves(cfg.Parallel, cfg.PlannedParallel),
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
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { m.offerAll(ctx) })
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		changed := m.members.Changed()
		again := time.After(m.pass(ctx, &work, w))
		select {
		case <-changed:
		case <-m.kick:
		case <-tick.C:
		case <-again:
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

// pass sets to work what is to be done and tells when to look again. It waits for
// nothing: each end of a move wakes the manager.
func (m *Manager) pass(ctx context.Context, work *sync.WaitGroup, w Taker) (again time.Duration) {
	live := m.live()
	due, next := m.due(time.Now(), live)
	for _, d := range due {
		work.Go(func() { m.move(ctx, w, d) })
	}
	if n := m.Shards(); n != m.told {
		m.told = n
		m.log.Info("owns shards", zap.Int("shards", n), zap.Uint32("of", m.cfg.Shards))
	}
	return next
}

// due chooses the moves to begin now, and tells when the next one may be due.
func (m *Manager) due(now time.Time, live []discovery.Member) (due []move, next time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pruneSealed()
	if m.leaving {
		return nil, m.cfg.Interval
	}
	if m.view.look(m.cfg.Instance, m.cfg.Shards, live) {
		m.moves.forgive()
		m.moves.hold(now.Add(m.cfg.Settle))
	}
	var all []move
	for id := range stream.Shard(m.cfg.Shards) {
		if d, wanted := m.moveOf(id, live); wanted {
			all = append(all, d)
		}
	}
	return m.moves.begin(now, all, m.cfg.Interval)
}

// moveOf is what is to be done about a shard, if anything is. A drained owner gives
// its shards away itself.
func (m *Manager) moveOf(id stream.Shard, live []discovery.Member) (move, bool) {
	rank := m.view.ranks[id]
	head, known := m.heads[id]
	switch _, owned := m.owned[id]; {
	case owned && m.drained && m.view.takers:
		return move{id, away}, true
	case owned || !rank.first || known && isDrained(head.Owner, live):
		return move{}, false
	case known && isLive(head.Owner, live), !known && rank.outdone:
		return move{id, planned}, true
	}
	return move{id, free}, true
}

func isDrained(owner stream.Incarnation, live []discovery.Member) bool {
	return slices.ContainsFunc(live, func(d discovery.Member) bool { return d.Drained && d.Incarnation == owner.String() })
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
		Drained: m.drained,
	})
}

// pruneSealed forgets the logs that nobody is registered with any more.
func (m *Manager) pruneSealed() {
	members := m.members.Snapshot()
	maps.DeleteFunc(m.sealed, func(incarnation string, _ bool) bool {
		return !slices.ContainsFunc(members, func(d discovery.Member) bool { return d.Incarnation == incarnation })
	})
}

// movePatience is how long a move may keep its place.
const movePatience = 30 * time.Second

// move does what is due for one shard.
func (m *Manager) move(ctx context.Context, w Taker, d move) {
	moving, cancel := context.WithTimeout(ctx, movePatience)
	defer cancel()
	var err error
	if d.kind == away {
		err = m.giveAway(moving, d.shard, m.takers())
	} else {
		// Nobody is waiting for the shard, as far as is known: no owner that lives
		// is to lose its log for being slow.
		_, err = m.Take(moving, w, shardlog.Take{Shard: d.shard, Planned: true})
	}
	if err != nil && ctx.Err() == nil {
		m.log.Warn("could not move a shard; tries again", zap.Uint32("shard", uint32(d.shard)), zap.Stringer("kind", d.kind), zap.Error(err))
	}
	m.mu.Lock()
	_, owned := m.owned[d.shard]
	m.moves.end(time.Now(), d, err == nil && owned != (d.kind == away))
	m.mu.Unlock()
	m.wake()
}

// Take has w take a shard and remembers what the shard's chain says. An incarnation
// that learns in doing so that it has ended is followed by another, which is asked
// again.
func (m *Manager) Take(ctx context.Context, w Taker, t shardlog.Take) (segment.ChainEntry, error) {
	for try := 0; ; try++ {
		head, err := w.Take(ctx, t)
		if err == nil {
			m.note(head)
		}
		if !errors.Is(err, shardlog.ErrDied) || try == takeTries {
			return head, err
		}
		if clock.Sleep(ctx, takePause) != nil {
			return head, err
		}
	}
}

// takeTries is how often a take is asked for again when an incarnation ends, and
// takePause the time between.
const (
	takeTries = 3
	takePause = 30 * time.Millisecond
)

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

// AskHandOver asks a shard's owner for it, again and again while that is letting it
// go. If the move was only planned, an owner that is registered but does not answer
// keeps the shard, and so does one that takes too long; else it counts as gone.
func (m *Manager) AskHandOver(ctx context.Context, entry segment.ChainEntry, planned bool) (shardlog.OwnerAnswer, stream.Slot) {
	p := patience{answer: m.cfg.AnswerTimeout, whole: m.cfg.NeededTimeout, silent: shardlog.OwnerGone}
	live := m.live()
	if planned {
		p.whole = m.cfg.PlannedTimeout
	}
	if planned && isLive(entry.Owner, live) {
		if m.isPremature(entry, live) {
			return shardlog.OwnerKeeps, 0
		}
		p.answer, p.silent = m.cfg.PlannedTimeout, shardlog.OwnerKeeps
	}
	ctx, cancel := context.WithTimeout(ctx, p.whole)
	defer cancel()
	defer m.whileWaiting(entry.Owner, cancel)()
	conn, err := m.dial.Conn(entry.Address)
	if err != nil {
		return shardlog.OwnerGone, 0
	}
	for {
		r, err := askOnce(ctx, conn, entry, p.answer)
		if err != nil || !r.GetHandingOver() {
			return m.ownerAnswer(entry, r, err, p.silent)
		}
		if planned {
			p.silent = shardlog.OwnerKeeps // it lives, registered or not
		}
	}
}

// patience is how long an owner that is asked for a shard may take.
type patience struct {
	answer time.Duration        // until it says anything
	whole  time.Duration        // until it has handed over
	silent shardlog.OwnerAnswer // what it counts as if it does not answer in time
}

func askOnce(ctx context.Context, conn *grpc.ClientConn, entry segment.ChainEntry, timeout time.Duration) (*clusterv1.HandOverShardResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return clusterv1.NewWriterServiceClient(conn).HandOverShard(ctx, &clusterv1.HandOverShardRequest{
		Shard: uint32(entry.Shard), Epoch: uint64(entry.Epoch), Incarnation: entry.Owner[:],
	})
}

// ownerAnswer is what an owner's answer, or its silence, means.
func (m *Manager) ownerAnswer(entry segment.ChainEntry, r *clusterv1.HandOverShardResponse, err error, silent shardlog.OwnerAnswer) (shardlog.OwnerAnswer, stream.Slot) {
	switch {
	case err == nil && r.GetHandedOver():
		return shardlog.OwnerHandedOver, stream.Slot(r.GetEndSlot())
	case err == nil:
		return shardlog.OwnerKeeps, 0
	case m.isSealed(entry.Owner): // others could not wait for it
		return shardlog.OwnerGone, 0
	case rpc.Detail(err) == nil, status.Code(err) == codes.DeadlineExceeded: // nobody answered, or it was too slow and noticed before us
		return silent, 0
	default: // refused, or another incarnation answered there
		return shardlog.OwnerGone, 0
	}
}

// isPremature tells whether a shard that this writer goes after turns out to have an
// owner that lives, and so is to be moved in its turn, or given by its owner.
func (m *Manager) isPremature(entry segment.ChainEntry, live []discovery.Member) bool {
	m.note(entry)
	m.mu.Lock()
	defer m.mu.Unlock()
	kind, moving := m.moves.running[entry.Shard]
	return moving && (kind == free || isDrained(entry.Owner, live))
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
	owner, owned := m.owned[id]
	return owned && owner == log
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

// Ended forgets what the incarnation owned. Somebody who sealed its log may still
// see the cluster otherwise: what others own by now is left to them for a while.
func (m *Manager) Ended(log stream.Incarnation, err error) {
	m.mu.Lock()
	maps.DeleteFunc(m.owned, func(_ stream.Shard, owner stream.Incarnation) bool { return owner == log })
	if err != nil {
		m.moves.hold(time.Now().Add(m.cfg.HoldOff))
	}
	m.mu.Unlock()
	m.wake()
}

// Owned notes a shard.
func (m *Manager) Owned(o shardlog.Owned) {
	m.note(o.Entry)
	m.mu.Lock()
	m.owned[o.Entry.Shard] = o.Entry.Owner
	delete(m.moves.failed, o.Entry.Shard)
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
