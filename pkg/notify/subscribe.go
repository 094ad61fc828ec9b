package notify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// ErrClosed means that the Bus has been closed.
var ErrClosed = errors.New("the notification bus is closed")

// Handler is what a subscriber does. Its functions are never called at the same
// time, nor after the Subscription's Close.
type Handler[M any] struct {
	// Message takes one message. ctx carries the publisher's trace context.
	Message func(ctx context.Context, m M)
	// Gap is called when messages may be missing; several gaps may come as one.
	Gap func()
}

// OnAppends subscribes to what becomes durable in one shard.
func (b *Bus) OnAppends(shard stream.Shard, h Handler[*clusterv1.AppendNotification]) (*Subscription, error) {
	return subscribe(b, kindAppend, b.appendSubject(shard), h)
}

// OnBeacons subscribes to how far the writers are.
func (b *Bus) OnBeacons(h Handler[*clusterv1.Beacon]) (*Subscription, error) {
	return subscribe(b, kindBeacon, b.beaconSubject(), h)
}

// OnCatalogChanges subscribes to what caches should drop.
func (b *Bus) OnCatalogChanges(h Handler[*clusterv1.CatalogChange]) (*Subscription, error) {
	return subscribe(b, kindCatalog, b.catalogSubject(), h)
}

// Subscription delivers messages until it is closed.
type Subscription struct {
	bus    *Bus
	kind   kind
	sub    *nats.Subscription
	onGap  func()
	gapped chan struct{} // one place: Gap is to be called
	stop   chan struct{}
	wg     sync.WaitGroup

	mu      sync.Mutex // held while the handler runs
	closed  bool
	dropped int // what NATS had dropped when last looked at
}

func subscribe[M proto.Message](b *Bus, k kind, subject string, h Handler[M]) (*Subscription, error) {
	s := &Subscription{bus: b, kind: k, onGap: h.Gap, gapped: make(chan struct{}, 1), stop: make(chan struct{})}
	var none M
	typ := none.ProtoReflect().Type()
	deliver := func(msg *nats.Msg) {
		m := typ.New().Interface().(M)
		if err := proto.Unmarshal(msg.Data, m); err != nil {
			b.options.Log.Warn("ignoring a notification that cannot be read", zap.String("subject", msg.Subject), zap.Error(err))
			s.gap()
			return
		}
		b.metrics.received.WithLabelValues(string(k)).Inc()
		h.Message(b.extract(msg.Header), m)
	}
	// NATS may call back before s.sub is set.
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(subject, deliver); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return s, nil
}

func (s *Subscription) open(subject string, deliver nats.MsgHandler) (err error) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.bus.closed {
		return ErrClosed
	}
	if s.sub, err = s.bus.conn.Subscribe(subject, s.receiver(deliver)); err != nil {
		return err
	}
	if err = s.sub.SetPendingLimits(math.MaxInt32, s.bus.options.PendingBytes); err != nil {
		return errors.Join(err, s.sub.Unsubscribe())
	}
	slow := s.sub.StatusChanged(nats.SubscriptionSlowConsumer)
	s.bus.subscriptions[s] = struct{}{}
	s.wg.Go(func() { s.callGap(slow) })
	return nil
}

// receiver keeps the handler's functions apart and notices what NATS dropped.
func (s *Subscription) receiver(deliver nats.MsgHandler) nats.MsgHandler {
	return func(msg *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return
		}
		s.noteDropped()
		deliver(msg)
	}
}

// noteDropped counts what NATS dropped because the handler was slow. NATS itself
// says so only once for a run of drops, and early.
func (s *Subscription) noteDropped() {
	dropped, err := s.sub.Dropped()
	if err != nil || dropped == s.dropped {
		return
	}
	s.bus.metrics.missed.WithLabelValues(string(s.kind)).Add(float64(dropped - s.dropped))
	s.dropped = dropped
	s.gap()
}

// gap has Gap called soon. It does not block.
func (s *Subscription) gap() {
	select {
	case s.gapped <- struct{}{}:
	default:
	}
}

func (s *Subscription) callGap(slow <-chan nats.SubStatus) {
	for {
		select {
		case <-s.stop:
			return
		case _, open := <-slow:
			if !open { // with the subscription
				slow = nil
				continue
			}
		case <-s.gapped:
		}
		s.mu.Lock()
		if !s.closed && s.onGap != nil {
			s.onGap()
		}
		s.mu.Unlock()
	}
}

func (b *Bus) extract(h nats.Header) context.Context {
	ctx := context.Background()
	if len(h) == 0 {
		return ctx
	}
	carrier := propagation.MapCarrier{}
	for key := range h {
		carrier[key] = h.Get(key)
	}
	return b.options.Propagator.Extract(ctx, carrier)
}

// Close ends the subscription and waits until its handler has returned; the
// handler itself must not call it.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	delete(s.bus.subscriptions, s)
	s.bus.mu.Unlock()
	s.end()
}

func (s *Subscription) end() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.mu.Unlock()
	_ = s.sub.Unsubscribe() // fails only if the connection is closed, which ends it, too
	close(s.stop)
	s.wg.Wait()
}
