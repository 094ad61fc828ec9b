package expiry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Log is what trims streams; *writer.Writer is one.
type Log interface {
	Survey(context.Context, shardlog.Survey) (shardlog.Page, error)
	Trim(context.Context, shardlog.Trim) error
}

// Clock tells the time by which records are old.
type Clock interface {
	Now(context.Context) (time.Time, error)
}

// Config bounds the work.
type Config struct {
	Interval time.Duration // between passes
	// Lookups is how many streams a pass may look up, Parallel how many at once.
	Lookups  int
	Parallel int
}

// DefaultConfig learns of 4096 streams a pass.
func DefaultConfig() Config { return Config{Interval: time.Minute, Lookups: 4096, Parallel: 4} }

const (
	// pageSize is how many streams the log looks at in one step.
	pageSize = 512
	// soon is when a shard is looked at in which a stream was reconfigured; more
	// of them may come until then.
	soon = 100 * time.Millisecond
)

// Expiry observes a writer and trims its streams.
type Expiry struct {
	writer.Ignore
	cfg     Config
	clock   Clock
	records Records
	metrics *Metrics
	zap     *zap.Logger
	kick    chan struct{}

	mu      sync.Mutex
	owned   map[stream.Shard]stream.Incarnation
	changed map[stream.Shard]bool // a stream's configuration changed there

	// What follows is Run's own.
	known map[stream.Shard]*memory
	// resume is the shard that the next pass begins with.
	resume stream.Shard
}

// memory is, of a shard's streams, timestamps that no record kept is older than.
type memory struct {
	oldest map[stream.ID]uint64
	// next is oldest as the round through the shard under way has it, so that
	// streams that are gone are forgotten; from is where it goes on.
	next map[stream.ID]uint64
	from int
}

// restart has the next pass begin with the shard's first stream.
func (m *memory) restart() {
	if m.next != nil && m.oldest != nil {
		maps.Copy(m.oldest, m.next)
	}
	m.next = nil
}

// New makes an Expiry; Run sets it to work.
func New(cfg Config, clock Clock, records Records, m *Metrics, z *zap.Logger) *Expiry {
	return &Expiry{
		cfg: cfg, clock: clock, records: records, metrics: m, zap: z,
		kick:  make(chan struct{}, 1),
		owned: map[stream.Shard]stream.Incarnation{}, changed: map[stream.Shard]bool{},
		known: map[stream.Shard]*memory{},
	}
}

// Run trims the streams of log until ctx ends.
func (e *Expiry) Run(ctx context.Context, log Log) {
	tick := time.NewTicker(e.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.report(ctx, e.pass(ctx, log, e.shards()))
		case <-e.kick:
			_ = clock.Sleep(ctx, soon)
			e.report(ctx, e.pass(ctx, log, e.takeChanged()))
		}
	}
}

func (e *Expiry) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		e.metrics.failures.Inc()
		e.zap.Warn("not every stream could be looked at for expired records; tries again", zap.Error(err))
	}
}

// Owned notes a shard.
func (e *Expiry) Owned(o shardlog.Owned) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.owned[o.Entry.Shard] = o.Entry.Owner
}

// Lost notes that a shard is somebody else's.
func (e *Expiry) Lost(id stream.Shard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.owned, id)
	delete(e.changed, id)
}

// Ended forgets what the incarnation owned; another one may own shards by then.
func (e *Expiry) Ended(log stream.Incarnation, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.owned, func(_ stream.Shard, owner stream.Incarnation) bool { return owner == log })
}

// Durable notes where streams were reconfigured.
func (e *Expiry) Durable(_ context.Context, _ stream.Incarnation, d shardlog.Durable) {
	for i := range d.Segment.Entries {
		if d.Segment.Entries[i].Kind == segment.EntryConfigure {
			e.reconfigured(d.Segment.Entries[i].Shard)
		}
	}
}

func (e *Expiry) reconfigured(id stream.Shard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed[id] = true
	select {
	case e.kick <- struct{}{}:
	default: // one is enough
	}
}

// shards is the owned ones in order, beginning with the one to resume; what is
// remembered of others is dropped.
func (e *Expiry) shards() []stream.Shard {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.known, func(id stream.Shard, _ *memory) bool { return e.owned[id].IsZero() })
	ids := slices.Sorted(maps.Keys(e.owned))
	at, _ := slices.BinarySearch(ids, e.resume)
	return append(ids[at:], ids[:at]...)
}

func (e *Expiry) takeChanged() []stream.Shard {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := slices.Sorted(maps.Keys(e.changed)) // a look at one that was lost since is refused
	clear(e.changed)
	for _, id := range ids {
		if m := e.known[id]; m != nil {
			m.restart()
		}
	}
	return ids
}

// pass goes through the shards until it is through or has looked up as many streams
// as it may. A shard that fails does not keep the others waiting.
func (e *Expiry) pass(ctx context.Context, log Log, shards []stream.Shard) error {
	if len(shards) == 0 {
		return nil
	}
	now, err := e.clock.Now(ctx)
	if err != nil {
		return err
	}
	p := &passing{Expiry: e, log: log, now: now, lookups: e.cfg.Lookups}
	var failed []error
	for _, id := range shards {
		e.resume = id
		if err := p.shard(ctx, id); err != nil {
			failed = append(failed, err)
		}
		if p.lookups <= 0 || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// passing is a pass under way.
type passing struct {
	*Expiry
	log     Log
	now     time.Time
	lookups int // that are left
}

// shard goes on through a shard, from where the pass before had to stop.
func (p *passing) shard(ctx context.Context, id stream.Shard) error {
	m := p.known[id]
	if m == nil {
		m = &memory{}
		p.known[id] = m
	}
	if m.next == nil {
		m.next, m.from = map[stream.ID]uint64{}, 0
	}
	var failed error
	for p.lookups > 0 {
		page, err := p.log.Survey(ctx, shardlog.Survey{Shard: id, From: m.from, Limit: min(pageSize, p.lookups)})
		if err != nil {
			return unlessMoved(err)
		}
		failed = errors.Join(failed, p.page(ctx, page, m))
		if m.from = page.Next; page.Next == 0 {
			m.oldest, m.next = m.next, nil
			break
		}
	}
	return failed
}

// unlessMoved is nil for the errors of a shard that is not this writer's any more.
func unlessMoved(err error) error {
	var moved *shardlog.NotOwnerError
	if errors.As(err, &moved) || errors.Is(err, shardlog.ErrDied) || errors.Is(err, shardlog.ErrOutcomeUnknown) {
		return nil
	}
	return err
}

// page trims what has expired of a page of streams. Its error is one of them, as an
// example.
func (p *passing) page(ctx context.Context, page shardlog.Page, m *memory) error {
	var mu sync.Mutex // protects m.next and failed
	var failed error
	var work errgroup.Group
	work.SetLimit(p.cfg.Parallel)
	for i := range page.Streams {
		v := &page.Streams[i]
		oldest, known := m.oldest[v.ID]
		if known && !p.due(v, oldest) {
			mu.Lock()
			m.next[v.ID] = oldest
			mu.Unlock()
			continue
		}
		p.lookups--
		work.Go(func() error {
			oldest, err := p.stream(ctx, v, page.Durable)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return nil
			}
			m.next[v.ID] = oldest
			return nil
		})
	}
	_ = work.Wait() // one failure must not end the others
	return failed
}

// cutoff is the timestamp below which records have expired.
func (p *passing) cutoff(v *shardlog.View) uint64 {
	const most = 1 << 53 // seconds: more than any timestamp can tell
	now, age := uint64(max(p.now.UnixMilli(), 0)), min(v.Config.RetentionSeconds, most)*1000
	return now - min(now, age)
}

// due tells whether a stream whose oldest record has that timestamp is worth a trim.
func (p *passing) due(v *shardlog.View, oldest uint64) bool {
	slack := min(v.Config.RetentionSeconds*1000/100, uint64(time.Hour.Milliseconds()))
	cutoff := p.cutoff(v)
	return cutoff > slack && oldest < cutoff-slack
}

// stream trims what has expired and returns a timestamp that no record left is older
// than.
func (p *passing) stream(ctx context.Context, v *shardlog.View, durable stream.Slot) (oldest uint64, err error) {
	cutoff := p.cutoff(v)
	to, oldest := v.Tail, v.LastTime // of what comes after the tail none is older
	if v.LastTime >= cutoff {
		p.metrics.lookups.Inc()
		if to, oldest, err = p.records.First(ctx, v, durable, cutoff); err != nil {
			return 0, err
		}
	}
	if to <= v.Trim {
		return oldest, nil
	}
	err = p.log.Trim(ctx, shardlog.Trim{Name: v.Name, ID: v.ID, Trim: to, ConfigVersion: v.ConfigVersion})
	if err != nil {
		if errors.Is(err, shardlog.ErrReconfigured) {
			return 0, nil // looked at anew next time
		}
		return 0, unlessMoved(err)
	}
	p.metrics.trims.Inc()
	p.metrics.records.Add(float64(to - v.Trim))
	return oldest, nil
}
