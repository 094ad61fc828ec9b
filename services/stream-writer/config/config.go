// Package config is the stream-writer's configuration.
package config

import (
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
)

// Config is all that a stream-writer knows.
type Config struct {
	Platform service.Config
	Writer   Writer
}

// Writer is the section [stream_writer].
type Writer struct {
	Listen          string `koanf:"-"` // where to listen; "": server.address and server.port
	IndexBytes      int64  `koanf:"index_bytes" about:"memory for the index of recent records"`
	InlineBytes     int    `koanf:"inline_bytes" about:"bytes of records that may come along in one notification to live readers"`
	MaxQueueMS      int    `koanf:"max_queue_ms" about:"milliseconds that what waits for the object store may take it, by its pace, before appends are refused"`
	StreamRequests  int64  `koanf:"stream_requests_per_sec" about:"batches appended to one stream in a second; 0: no limit"`
	StreamRecords   int64  `koanf:"stream_records_per_sec" about:"records appended to one stream in a second; 0: no limit"`
	StreamBytes     int64  `koanf:"stream_bytes_per_sec" about:"bytes appended to one stream in a second; 0: no limit"`
	AdmissionWaitMS int    `koanf:"admission_wait_ms" about:"milliseconds that an append waits for room in storage.max_inflight_bytes before it is refused"`
	MaxQuestions    int64  `koanf:"max_questions" about:"questions about streams (tails, places of records) that may wait for the object store at a time"`
	StateSlots      int    `koanf:"state_slots" about:"segments with records of a shard after which its state is written anew; what a takeover replays at most"`
	OwnerTimeoutMS  int    `koanf:"owner_timeout_ms" about:"milliseconds in which an owner that seems to be gone may show that it is not, before its log is sealed"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Writer: Writer{
		IndexBytes: 128 << 20, InlineBytes: 128 << 10, MaxQueueMS: 2000, AdmissionWaitMS: 1000, MaxQuestions: 16384, StateSlots: 256, OwnerTimeoutMS: 500,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "stream_writer", Value: &c.Writer})
}

// Validate finds every problem.
func (w *Writer) Validate() []config.Problem {
	return config.BelowFloor("stream_writer",
		config.Floor{Key: "index_bytes", Value: w.IndexBytes, Least: 1 << 20},
		config.Floor{Key: "inline_bytes", Value: int64(w.InlineBytes), Least: 0},
		config.Floor{Key: "max_queue_ms", Value: int64(w.MaxQueueMS), Least: 10},
		config.Floor{Key: "stream_requests_per_sec", Value: w.StreamRequests},
		config.Floor{Key: "stream_records_per_sec", Value: w.StreamRecords},
		config.Floor{Key: "stream_bytes_per_sec", Value: w.StreamBytes},
		config.Floor{Key: "admission_wait_ms", Value: int64(w.AdmissionWaitMS), Least: 1},
		config.Floor{Key: "max_questions", Value: w.MaxQuestions, Least: 1},
		config.Floor{Key: "state_slots", Value: int64(w.StateSlots), Least: 1},
		config.Floor{Key: "owner_timeout_ms", Value: int64(w.OwnerTimeoutMS), Least: 10},
	)
}

// MaxQueue is how long what waits for the store may take.
func (w *Writer) MaxQueue() time.Duration { return time.Duration(w.MaxQueueMS) * time.Millisecond }

// AdmissionWait is how long an append waits for room.
func (w *Writer) AdmissionWait() time.Duration {
	return time.Duration(w.AdmissionWaitMS) * time.Millisecond
}

// OwnerTimeout is how long an owner that seems to be gone has to answer.
func (w *Writer) OwnerTimeout() time.Duration {
	return time.Duration(w.OwnerTimeoutMS) * time.Millisecond
}
