package live

import (
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Config bounds what followers use, and says when they worry.
type Config struct {
	RingBytes   int64 // of frames kept for one stream
	TotalBytes  int64 // of frames kept for all streams, but for the newest of all
	FrameBytes  int   // where frames are cut: what gRPC holds of a stalled session is up to three
	RepairBytes int64 // of blocks asked for at once
	Concurrency int   // questions to owners at once

	Silence time.Duration // without a beacon, before followers ask the owner
	Poll    time.Duration // between questions while there is no beacon
	Grace   time.Duration // for a notification to come after the beacon that names it
	Recheck time.Duration // between questions without a reason
	Ask     time.Duration // for one question, so that a lost owner does not keep others waiting
	Retry   time.Duration // after a question failed; doubles up to Poll·4

	Tracer trace.TracerProvider
}

// DefaultConfig suits a small machine.
func DefaultConfig() Config {
	return Config{
		RingBytes: 4 << 20, TotalBytes: 256 << 20, FrameBytes: 128 << 10, RepairBytes: 1 << 20, Concurrency: 64,
		Silence: 300 * time.Millisecond, Poll: 300 * time.Millisecond, Grace: 20 * time.Millisecond,
		Recheck: 30 * time.Second, Ask: 3 * time.Second, Retry: 20 * time.Millisecond,
		Tracer: noop.NewTracerProvider(),
	}
}
