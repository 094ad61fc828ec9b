// Package config is the stream-writer's configuration.
package config

import (
	"strconv"
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
	AdmissionWaitMS int    `koanf:"admission_wait_ms" about:"milliseconds that an append waits for room in storage.max_inflight_bytes before it is refused"`
	StateSlots      int    `koanf:"state_slots" about:"segments with records of a shard after which its state is written anew; what a takeover replays at most"`
	OwnerTimeoutMS  int    `koanf:"owner_timeout_ms" about:"milliseconds in which an owner that seems to be gone may show that it is not, before its log is sealed"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Writer: Writer{
		IndexBytes: 128 << 20, InlineBytes: 128 << 10, AdmissionWaitMS: 1000, StateSlots: 256, OwnerTimeoutMS: 500,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "stream_writer", Value: &c.Writer})
}

// Validate finds every problem.
func (w *Writer) Validate() []config.Problem {
	var problems []config.Problem
	for _, k := range []struct {
		key   string
		value int64
		least int64
	}{
		{"index_bytes", w.IndexBytes, 1 << 20},
		{"inline_bytes", int64(w.InlineBytes), 0},
		{"admission_wait_ms", int64(w.AdmissionWaitMS), 1},
		{"state_slots", int64(w.StateSlots), 1},
		{"owner_timeout_ms", int64(w.OwnerTimeoutMS), 10},
	} {
		if k.value < k.least {
			problems = append(problems, config.Problem{
				Key: "stream_writer." + k.key, Value: strconv.FormatInt(k.value, 10), What: "is too small",
				Remedy: "give at least " + strconv.FormatInt(k.least, 10) + ", or leave it out",
			})
		}
	}
	return problems
}

// AdmissionWait is how long an append waits for room.
func (w *Writer) AdmissionWait() time.Duration {
	return time.Duration(w.AdmissionWaitMS) * time.Millisecond
}

// OwnerTimeout is how long an owner that seems to be gone has to answer.
func (w *Writer) OwnerTimeout() time.Duration {
	return time.Duration(w.OwnerTimeoutMS) * time.Millisecond
}
