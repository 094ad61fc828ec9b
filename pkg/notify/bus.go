package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/stream"
)

// Options are a Bus's settings; New fills in what is zero but Cluster.
type Options struct {
	Cluster       string // the cluster's id; a part of every subject
	QueueMessages int    // how many wait to be sent; 8192
	QueueBytes    int64  // and of how many bytes; 64 MiB
	PendingBytes  int    // how much waits for one subscriber; 32 MiB
	Log           *zap.Logger
	Registerer    prometheus.Registerer
	Propagator    propagation.TextMapPropagator // W3C trace context
	Tracer        trace.TracerProvider          // none
}

func (o Options) withDefaults() Options {
	if o.QueueMessages <= 0 {
		o.QueueMessages = 8192
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 64 << 20
	}
	if o.PendingBytes <= 0 {
		o.PendingBytes = 32 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Propagator == nil {
		o.Propagator = propagation.TraceContext{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider()
	}
	return o
}

// Bus publishes and subscribes on one NATS connection. The connection is the
// caller's, to be closed after the Bus.
type Bus struct {
	conn    *nats.Conn
	options Options
	metrics *metrics
	tracer  trace.Tracer

	queue       chan message
	queuedBytes atomic.Int64

	stop chan struct{}
	wg   sync.WaitGroup

	mu            sync.Mutex
	closed        bool
	subscriptions map[*Subscription]struct{}
}

// New makes a Bus on a connection, which need not be established yet. Best it
// keeps nothing back while NATS is away (nats.ReconnectBufSize(-1)): hints that
// come late help nobody.
func New(conn *nats.Conn, o Options) (*Bus, error) {
	if o.Cluster == "" || strings.ContainsAny(o.Cluster, ".*> \t\r\n") {
		return nil, fmt.Errorf("cluster id %q cannot be a part of a NATS subject", o.Cluster)
	}
	o = o.withDefaults()
	b := &Bus{
		conn: conn, options: o, metrics: newMetrics(o.Registerer),
		tracer: o.Tracer.Tracer("github.com/samsa-io/samsa/pkg/notify"),
		queue:  make(chan message, o.QueueMessages), stop: make(chan struct{}),
		subscriptions: map[*Subscription]struct{}{},
	}
	b.wg.Go(b.send)
	b.wg.Go(b.watchConnection)
	return b, nil
}

func (b *Bus) subject(parts ...string) string {
	return strings.Join(append([]string{"samsa", b.options.Cluster}, parts...), ".")
}

func (b *Bus) appendSubject(shard stream.Shard) string {
	return b.subject("append", fmt.Sprint(uint32(shard)))
}

func (b *Bus) beaconSubject() string { return b.subject("beacon") }

func (b *Bus) catalogSubject() string { return b.subject("catalog") }

// Err tells why hints do not arrive; nil if they do. Programs go on without, only
// slower to notice.
func (b *Bus) Err() error {
	if b.conn.IsConnected() {
		return nil
	}
	return fmt.Errorf("NATS is not connected (%s)", strings.ToLower(b.conn.Status().String()))
}

// closeTimeout is how long Close waits for NATS to take what is queued.
const closeTimeout = 2 * time.Second

// Close ends all subscriptions and sends what is queued, as far as NATS takes it
// within ctx and closeTimeout.
func (b *Bus) Close(ctx context.Context) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	subscriptions := b.subscriptions
	b.subscriptions = nil
	b.mu.Unlock()

	close(b.stop)
	for s := range subscriptions {
		s.end()
	}
	b.wg.Wait()
	if !b.conn.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := b.conn.FlushWithContext(ctx); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("send the last notifications: %w", err)
	}
	return nil
}
