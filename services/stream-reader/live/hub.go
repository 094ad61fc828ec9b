package live

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/stream"
)

// Hub holds the followers of a reader.
type Hub struct {
	config  Config
	owner   Owner
	blocks  Blocks
	bus     Bus
	log     *zap.Logger
	metrics *Metrics
	tracer  trace.Tracer

	ctx     context.Context // ends with the hub
	cancel  context.CancelFunc
	running sync.WaitGroup
	asking  chan struct{} // a place for each question under way
	rings   *rings

	mu          sync.Mutex
	closed      bool
	feeds       map[stream.Shard]*feed
	stopBeacons func()
	stopChanges func()
}

// NewHub makes a Hub without followers; Close ends it.
func NewHub(config Config, owner Owner, blocks Blocks, bus Bus, log *zap.Logger, metrics *Metrics) *Hub {
	h := &Hub{
		config: config, owner: owner, blocks: blocks, bus: bus, log: log, metrics: metrics,
		tracer: config.Tracer.Tracer(tracerName),
		asking: make(chan struct{}, max(config.Concurrency, 1)),
		feeds:  map[stream.Shard]*feed{},
		rings:  newRings(config.TotalBytes),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.subscribe()
	h.running.Go(h.watch)
	return h
}

// Close ends every follower and waits for it. Their sessions fail with
// ErrClosed, unless they ended before.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.running.Wait()
	for _, stop := range h.takeStops() {
		stop()
	}
}

// takeStops takes the ends of all subscriptions. They must be called without a
// lock: they wait for handlers.
func (h *Hub) takeStops() []func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var stops []func()
	take := func(stop *func()) {
		if *stop != nil {
			stops = append(stops, *stop)
			*stop = nil
		}
	}
	take(&h.stopBeacons)
	take(&h.stopChanges)
	for _, f := range h.feeds {
		take(&f.stop)
	}
	return stops
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// Subscription is one session's hold on a follower.
type Subscription struct {
	*follower
	once sync.Once
}

// Attach follows a stream from position pos on, which must be durable. It joins
// the stream's follower, or starts it.
func (h *Hub) Attach(name stream.Name, shard stream.Shard, id stream.ID, pos stream.SeqNum) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	feed := h.feed(shard)
	feed.mu.Lock()
	defer feed.mu.Unlock()
	f := feed.followers[id]
	if f == nil {
		f = newFollower(h, feed, name, id, pos)
		feed.followers[id] = f
		h.metrics.followers.Inc()
		if h.closed {
			f.fail(ErrClosed)
		} else {
			h.running.Go(f.run)
		}
	}
	f.sessions++
	return &Subscription{follower: f}
}

// feed finds the feed of a shard, or subscribes to it. Needs h.mu.
func (h *Hub) feed(shard stream.Shard) *feed {
	f := h.feeds[shard]
	if f == nil {
		f = newFeed(shard, time.Now())
		h.feeds[shard] = f
		h.subscribeFeed(f)
	}
	return f
}

func (h *Hub) subscribeFeed(f *feed) {
	stop, err := h.bus.SubscribeShard(f.shard, func(n *Notification) { h.notify(f, n) }, func() { h.lost(f) })
	if err != nil {
		// Without a subscription the feed is as good as silent: its followers poll.
		h.log.Warn("cannot subscribe to a shard's notifications; asking its owner instead",
			zap.Uint32("shard", uint32(f.shard)), zap.Error(err))
		return
	}
	f.stop = stop
}

// Close lets go of the follower; the last one out stops it.
func (s *Subscription) Close() {
	s.once.Do(func() { call(s.hub.detach(s.follower)) })
}

// detach returns how to end the subscription that nobody needs any more. It waits
// for handlers, so it must be called without a lock.
func (h *Hub) detach(f *follower) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	if f.sessions--; f.sessions > 0 {
		return nil
	}
	f.cancel()
	h.metrics.followers.Dec()
	if f.feed.followers[f.id] == f {
		delete(f.feed.followers, f.id)
	}
	if len(f.feed.followers) == 0 && h.feeds[f.feed.shard] == f.feed {
		delete(h.feeds, f.feed.shard)
		stop, f.feed.stop = f.feed.stop, nil
	}
	return stop
}

func (h *Hub) notify(f *feed, n *Notification) {
	f.mu.Lock()
	defer f.mu.Unlock()
	why := f.observe(n.Epoch, n.Slot, n.Before)
	for i := range n.Appends {
		if follower := f.followers[n.Appends[i].Stream]; follower != nil {
			a := n.Appends[i] // the notification is others' too
			a.trace = n.Trace
			follower.offer(&a)
		}
	}
	if why != reasonNone {
		h.metrics.missed(why)
		f.pokeAll(why)
	}
}

func (h *Hub) beacon(b *Beacon) {
	now := time.Now()
	for _, s := range b.Shards {
		h.mu.Lock()
		f := h.feeds[s.Shard]
		h.mu.Unlock()
		if f == nil {
			continue
		}
		f.mu.Lock()
		if why := f.observeBeacon(s, now); why != reasonNone {
			h.metrics.missed(why)
			f.pokeAll(why)
		}
		f.mu.Unlock()
	}
}

func (h *Hub) change(c Change) {
	for _, f := range h.allFeeds() {
		f.mu.Lock()
		for _, follower := range f.followers {
			if follower.name.Bucket == c.Bucket && (c.Stream == "" || follower.name.Stream == c.Stream) {
				follower.poke(reasonChange)
			}
		}
		f.mu.Unlock()
	}
}

// lost makes up for messages that the bus knows it lost.
func (h *Hub) lost(f *feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h.metrics.missed(reasonLost)
	f.pokeAll(reasonLost)
}

func (h *Hub) changesLost() {
	for _, f := range h.allFeeds() {
		f.mu.Lock()
		f.pokeAll(reasonChange)
		f.mu.Unlock()
	}
}

func (h *Hub) allFeeds() []*feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*feed, 0, len(h.feeds))
	for _, f := range h.feeds {
		all = append(all, f)
	}
	return all
}

// watch looks after what does not happen.
func (h *Hub) watch() {
	tick := time.NewTicker(max(h.config.Grace, time.Millisecond))
	defer tick.Stop()
	retry := time.Now().Add(time.Second)
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			for _, f := range h.allFeeds() {
				h.check(f, now)
			}
			if now.After(retry) {
				retry = now.Add(time.Second)
				h.subscribe()
			}
		}
	}
}

func (h *Hub) check(f *feed, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why := f.overdue(now, &h.config); why != reasonNone {
		h.metrics.missed(why)
		f.pokeAll(why)
	}
}

// subscribe makes up for subscriptions that failed.
func (h *Hub) subscribe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if h.stopBeacons == nil {
		h.stopBeacons, err = h.bus.SubscribeBeacons(h.beacon)
		h.warn("beacons", err)
	}
	if h.stopChanges == nil {
		h.stopChanges, err = h.bus.SubscribeChanges(h.change, h.changesLost)
		h.warn("catalog changes", err)
	}
	for _, f := range h.feeds {
		if f.stop == nil {
			h.subscribeFeed(f)
		}
	}
}

func (h *Hub) warn(what string, err error) {
	if err != nil {
		h.log.Warn("cannot subscribe", zap.String("to", what), zap.Error(err))
	}
}
