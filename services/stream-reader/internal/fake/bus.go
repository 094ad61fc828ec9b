package fake

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Bus delivers messages as its faults will have it.
type Bus struct {
	mu       sync.Mutex
	rng      *rand.Rand
	faults   Faults
	shards   map[*subscription]func(*live.Notification)
	beacons  map[*subscription]func(*live.Beacon)
	changes  map[*subscription]func(live.Change)
	delivery sync.WaitGroup
}

// Faults are chances, from 0 to 1, that a message is lost or comes twice, and the
// most that it is late by.
type Faults struct {
	Seed         uint64
	Drop, Double float64
	Late         time.Duration
	Silent       bool // nothing is delivered at all
}

type subscription struct {
	mu    sync.Mutex // one message at a time
	shard stream.Shard
	ended bool
}

// NewBus makes a Bus without faults.
func NewBus() *Bus {
	return &Bus{
		rng:     rand.New(rand.NewPCG(0, 0)),
		shards:  map[*subscription]func(*live.Notification){},
		beacons: map[*subscription]func(*live.Beacon){},
		changes: map[*subscription]func(live.Change){},
	}
}

// SetFaults sets what goes wrong from now on.
func (b *Bus) SetFaults(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = f
	b.rng = rand.New(rand.NewPCG(f.Seed, 1))
}

// Wait waits for messages that are still late.
func (b *Bus) Wait() { b.delivery.Wait() }

// Subscriptions counts those of shards.
func (b *Bus) Subscriptions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.shards)
}

// SubscribeShard implements live.Bus.
func (b *Bus) SubscribeShard(shard stream.Shard, handle func(*live.Notification), _ func()) (func(), error) {
	return subscribe(b, b.shards, &subscription{shard: shard}, handle)
}

// SubscribeBeacons implements live.Bus.
func (b *Bus) SubscribeBeacons(handle func(*live.Beacon)) (func(), error) {
	return subscribe(b, b.beacons, &subscription{}, handle)
}

// SubscribeChanges implements live.Bus.
func (b *Bus) SubscribeChanges(handle func(live.Change), _ func()) (func(), error) {
	return subscribe(b, b.changes, &subscription{}, handle)
}

func subscribe[H any](b *Bus, to map[*subscription]H, s *subscription, handle H) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to[s] = handle
	return func() {
		b.mu.Lock()
		delete(to, s)
		b.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
	}, nil
}

func (b *Bus) publish(n *live.Notification) {
	publish(b, b.shards, func(s *subscription, handle func(*live.Notification)) {
		if s.shard == n.Shard {
			handle(n)
		}
	})
}

func (b *Bus) publishBeacon(m *live.Beacon) {
	publish(b, b.beacons, func(_ *subscription, handle func(*live.Beacon)) { handle(m) })
}

func (b *Bus) publishChange(c live.Change) {
	publish(b, b.changes, func(_ *subscription, handle func(live.Change)) { handle(c) })
}

// publish calls handlers without b.mu: they take locks under which others
// subscribe.
func publish[H any](b *Bus, to map[*subscription]H, call func(*subscription, H)) {
	b.mu.Lock()
	var now []func()
	for s, handle := range to {
		now = append(now, b.send(s, func() { call(s, handle) })...)
	}
	b.mu.Unlock()
	for _, run := range now {
		run()
	}
}

// send arranges a delivery by the faults; it returns what to run at once. Needs
// b.mu.
func (b *Bus) send(s *subscription, deliver func()) (now []func()) {
	if b.faults.Silent || b.rng.Float64() < b.faults.Drop {
		return nil
	}
	times := 1
	if b.rng.Float64() < b.faults.Double {
		times = 2
	}
	for range times {
		b.delivery.Add(1)
		run := func() {
			defer b.delivery.Done()
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.ended {
				deliver()
			}
		}
		if b.faults.Late == 0 {
			now = append(now, run)
		} else {
			time.AfterFunc(time.Duration(b.rng.Int64N(int64(b.faults.Late))), run)
		}
	}
	return now
}
