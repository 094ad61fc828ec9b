package announce

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Publisher sends announcements; it never blocks and may lose any.
type Publisher interface {
	PublishAppend(context.Context, *clusterv1.AppendNotification)
	PublishBeacon(context.Context, *clusterv1.Beacon)
}

// Config bounds what announcements carry.
type Config struct {
	Instance string
	// InlineBytes of records may come along in one notification.
	InlineBytes int
	// Queue is how many segments may wait to be announced; more are skipped.
	Queue int
}

// BeaconInterval is the time between two beacons.
const BeaconInterval = 100 * time.Millisecond

// Announcer observes a writer and publishes what it does.
type Announcer struct {
	writer.Ignore
	cfg   Config
	pub   Publisher
	queue chan announcement

	mu   sync.Mutex
	logs map[stream.Incarnation]*progress
}

// progress is how far a log is. A writer that rolls has two.
type progress struct {
	end    stream.Slot // of what is durable, exclusive
	shards map[stream.Shard]*position
}

// position is how far a shard's announcements are.
type position struct {
	epoch stream.Epoch
	last  stream.Slot // the last slot with records, plus one; 0: none in this epoch
}

// announcement is a durable segment, and for each section the slot of the one
// before it, plus one.
type announcement struct {
	log      stream.Incarnation
	durable  shardlog.Durable
	previous []stream.Slot
	trace    trace.SpanContext
}

// New makes an Announcer; Run publishes.
func New(cfg Config, pub Publisher) *Announcer {
	return &Announcer{
		cfg: cfg, pub: pub,
		queue: make(chan announcement, cfg.Queue),
		logs:  map[stream.Incarnation]*progress{},
	}
}

// Run publishes until ctx ends.
func (a *Announcer) Run(ctx context.Context) {
	beat := time.NewTicker(BeaconInterval)
	defer beat.Stop()
	for {
		select {
		case n := <-a.queue:
			a.publish(ctx, n)
		case <-beat.C:
			for _, b := range a.beacons() {
				a.pub.PublishBeacon(ctx, b)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Began notes a new log, which owns nothing yet.
func (a *Announcer) Began(log stream.Incarnation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logs[log] = &progress{shards: map[stream.Shard]*position{}}
}

// Ended notes that a log is over.
func (a *Announcer) Ended(log stream.Incarnation, _ error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.logs, log)
}

// Owned notes a shard. Its first beacon tells readers to look what was recovered.
func (a *Announcer) Owned(o shardlog.Owned) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if log := a.logs[o.Entry.Owner]; log != nil {
		log.shards[o.Entry.Shard] = &position{epoch: o.Entry.Epoch}
	}
}

// Lost notes that a shard is somebody else's to announce.
func (a *Announcer) Lost(shard stream.Shard) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, log := range a.logs {
		delete(log.shards, shard)
	}
}

// Durable queues a segment to be announced. If the queue is full it is skipped:
// readers see the gap and ask.
func (a *Announcer) Durable(ctx context.Context, log stream.Incarnation, d shardlog.Durable) {
	n := announcement{log: log, durable: d, previous: a.advance(log, d), trace: trace.SpanContextFromContext(ctx)}
	select {
	case a.queue <- n:
	default:
	}
}

func (a *Announcer) advance(id stream.Incarnation, d shardlog.Durable) []stream.Slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	sections := d.Segment.Sections()
	previous := make([]stream.Slot, len(sections))
	log := a.logs[id]
	if log == nil {
		return previous
	}
	log.end = d.Slot + 1
	for i := range sections {
		p := log.shards[sections[i].Shard]
		if p == nil || p.epoch != sections[i].Epoch || len(sections[i].Streams) == 0 {
			continue
		}
		previous[i], p.last = p.last, d.Slot+1
	}
	return previous
}

func (a *Announcer) beacons() []*clusterv1.Beacon {
	a.mu.Lock()
	defer a.mu.Unlock()
	beacons := make([]*clusterv1.Beacon, 0, len(a.logs))
	for id, log := range a.logs { // each iteration has an id of its own, which the beacon keeps
		b := &clusterv1.Beacon{Incarnation: id[:], Instance: a.cfg.Instance, DurableSlot: uint64(log.end)}
		for shard, p := range log.shards {
			b.Shards = append(b.Shards, &clusterv1.ShardBeacon{
				Shard: uint32(shard), Epoch: uint64(p.epoch), LastSlotPlusOne: uint64(p.last),
			})
		}
		beacons = append(beacons, b)
	}
	return beacons
}

func (a *Announcer) publish(ctx context.Context, n announcement) {
	ctx = trace.ContextWithSpanContext(ctx, n.trace)
	for i, section := range n.durable.Segment.Sections() {
		if len(section.Streams) > 0 {
			a.pub.PublishAppend(ctx, a.notification(n, section, n.previous[i]))
		}
	}
}

func (a *Announcer) notification(n announcement, s segment.Section, previous stream.Slot) *clusterv1.AppendNotification {
	m := &clusterv1.AppendNotification{
		Incarnation: n.log[:], Shard: uint32(s.Shard), Epoch: uint64(s.Epoch),
		Slot: uint64(n.durable.Slot), PreviousSlotPlusOne: uint64(previous),
	}
	budget := a.cfg.InlineBytes
	for i := range s.Streams {
		for _, ref := range s.Streams[i].Blocks {
			b := Block(ref)
			if int(ref.Stored) <= budget {
				budget -= int(ref.Stored)
				b.Data = n.durable.Object[ref.Offset : ref.Offset+uint64(ref.Stored)]
			}
			m.Appends = append(m.Appends, &clusterv1.StreamAppend{StreamId: s.Streams[i].Stream[:], Block: b})
		}
	}
	return m
}

// Block is a block's place as messages have it, without its log and slot.
func Block(ref segment.BlockRef) *clusterv1.Block {
	return &clusterv1.Block{
		Offset: ref.Offset, StoredBytes: ref.Stored, RawBytes: ref.Raw,
		Codec: uint32(ref.Codec), Checksum: ref.Checksum,
		FirstSeqNum: uint64(ref.First), Count: ref.Count,
		FirstTimestamp: ref.FirstTimestamp, LastTimestamp: ref.LastTimestamp,
	}
}
