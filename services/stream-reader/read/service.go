package read

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/semaphore"

	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Config bounds what reads use.
type Config struct {
	Shards       uint32
	MaxSessions  int64         // reads and sessions at once
	CatchUpBytes int64         // held by all that catch up
	CatchUpWait  time.Duration // for a share of CatchUpBytes
	Heartbeat    time.Duration // between responses, if asked for
	// FrameBytes is where responses of a session that catches up are cut: what gRPC
	// holds of a stalled session is up to three of them.
	FrameBytes int
	// Stall is how long a client may take nothing before what was made ready for it
	// goes back.
	Stall time.Duration

	Tracer trace.TracerProvider
}

// DefaultConfig suits a small machine.
func DefaultConfig() Config {
	return Config{
		Shards: 64, MaxSessions: 20_000, CatchUpBytes: 512 << 20, CatchUpWait: 10 * time.Second,
		Heartbeat: 10 * time.Second, FrameBytes: 128 << 10, Stall: time.Second, Tracer: noop.NewTracerProvider(),
	}
}

// Locator finds blocks that the owner no longer has in memory.
type Locator interface {
	Find(ctx context.Context, target logindex.Target, from stream.SeqNum, maxBytes uint64) ([]logindex.Block, error)
	FindTimestamp(ctx context.Context, target logindex.Target, t uint64, maxBytes uint64) ([]logindex.Block, error)
	// Forget says that a block which was found is not there any more: look anew.
	Forget(id stream.ID)
}

// Service reads streams.
type Service struct {
	config  Config
	owner   live.Owner
	locator Locator
	blocks  live.Blocks
	hub     *live.Hub
	metrics *metrics
	tracer  trace.Tracer
	live    liveSessions

	sessions *semaphore.Weighted
	memory   *semaphore.Weighted
	buffers  sync.Pool // of *[]byte with room for a frame

	stop     sync.Once
	stopping chan struct{}
}

// New makes a Service. It does not own the hub. Metrics go to reg, which may be nil.
func New(config Config, owner live.Owner, locator Locator, blocks live.Blocks, hub *live.Hub, reg prometheus.Registerer) *Service {
	s := &Service{
		config: config, owner: owner, locator: locator, blocks: blocks, hub: hub, metrics: newMetrics(reg),
		tracer:   config.Tracer.Tracer(tracerName),
		sessions: semaphore.NewWeighted(config.MaxSessions),
		memory:   semaphore.NewWeighted(max(config.CatchUpBytes, slowBytes)),
		stopping: make(chan struct{}),
	}
	s.live.register(reg)
	return s
}

// Stop ends sessions with ErrStopping, and refuses new ones.
func (s *Service) Stop() { s.stop.Do(func() { close(s.stopping) }) }

// Request is what a client wants to read.
type Request struct {
	Name       stream.Name
	Start      live.Start
	Limits     frame.Limits
	Clamp      bool          // a start past the tail is the tail
	Wait       time.Duration // for a read, in all; for a session, for a record
	Heartbeats bool
}

// admit takes a place for a read or session; leave gives it back.
func (s *Service) admit() error {
	select {
	case <-s.stopping:
		return ErrStopping
	default:
	}
	if !s.sessions.TryAcquire(1) {
		s.metrics.refused.Inc()
		return &OverloadError{What: "reads and sessions", Key: "stream_reader.max_sessions", Limit: s.config.MaxSessions}
	}
	s.metrics.sessions.Inc()
	return nil
}

func (s *Service) leave() {
	s.metrics.sessions.Dec()
	s.sessions.Release(1)
}

// reserve takes a share of the memory for catching up, or fails if none becomes
// free in time.
func (s *Service) reserve(ctx context.Context, bytes int64) error {
	ok, err := s.acquire(ctx, bytes, s.config.CatchUpWait)
	if !ok && err == nil {
		err = s.overloaded()
	}
	return err
}

// acquire is reserve for those who have their own patience; false: none became free.
func (s *Service) acquire(ctx context.Context, bytes int64, wait time.Duration) (bool, error) {
	if s.memory.TryAcquire(bytes) {
		return true, nil
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if s.memory.Acquire(waiting, bytes) == nil {
		return true, nil
	}
	return false, ctx.Err()
}

func (s *Service) overloaded() error {
	s.metrics.refused.Inc()
	return &OverloadError{What: "readers catching up", Key: "stream_reader.catch_up_bytes", Limit: s.config.CatchUpBytes}
}

// share is what a read holds of the memory for catching up.
type share struct {
	service *Service
	bytes   int64
}

// resize takes more, as reserve does, or gives back what is too much.
func (m *share) resize(ctx context.Context, bytes int64) error {
	if bytes > m.bytes {
		if err := m.service.reserve(ctx, bytes-m.bytes); err != nil {
			return err
		}
	} else {
		m.service.memory.Release(m.bytes - bytes)
	}
	m.bytes = bytes
	return nil
}

func (m *share) release() { m.service.memory.Release(m.bytes) }

// begin finds the start of a read.
func (s *Service) begin(ctx context.Context, req *Request, maxBytes uint64) (*cursor, error) {
	located, err := s.owner.Locate(ctx, live.Query{
		Name: req.Name, Start: req.Start, MaxBytes: maxBytes, Prove: true, ForRead: true,
	})
	if err != nil {
		return nil, err
	}
	if req.Start.Kind == live.AtSeqID && req.Start.SeqID.Salt() != located.Stream.Salt() {
		return nil, &ForeignIDError{ID: req.Start.SeqID}
	}
	if req.Start.Kind == live.AtTimestamp {
		req.Limits.Since = req.Start.Value
	}
	c := &cursor{service: s, name: req.Name, id: located.Stream, shard: req.Name.Shard(s.config.Shards)}
	c.learn(located)
	if located.StartUnknown {
		return c, c.seekTimestamp(ctx, req.Start.Value, located.Trim, maxBytes)
	}
	c.pos = located.Start
	if c.pos > c.tail.Next {
		if !req.Clamp {
			return nil, &PastTailError{Start: c.pos, Tail: c.tail, NextID: c.nextID()}
		}
		c.pos = c.tail.Next
	}
	c.follow(located.Blocks)
	return c, nil
}

func (s *Service) buffer() []byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 0, s.config.FrameBytes+64)
}

func (s *Service) recycle(b []byte) {
	if cap(b) >= s.config.FrameBytes && cap(b) < 2*s.config.FrameBytes {
		s.buffers.Put(&b)
	}
}
