// Package config is the stream-reader's configuration.
package config

import (
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
)

// Config is all that a stream-reader knows.
type Config struct {
	Platform service.Config
	Reader   Reader
}

// Reader is the section [reader].
type Reader struct {
	Listen           string `koanf:"-"` // where to listen; "": server.address and server.port
	CacheBytes       int64  `koanf:"cache_bytes" about:"memory for decoded blocks"`
	FetchBytes       int64  `koanf:"fetch_bytes" about:"memory for blocks and footers that are being fetched"`
	FooterCacheBytes int64  `koanf:"footer_cache_bytes" about:"memory for footers, states and rows of the chunk index, by which older records are found"`
	RingBytes        int64  `koanf:"ring_bytes" about:"memory for the newest records of one followed stream, ready to send"`
	LiveBytes        int64  `koanf:"live_bytes" about:"the same, of all followed streams together"`
	CatchUpBytes     int64  `koanf:"catch_up_bytes" about:"memory for reads of stored records under way; 2 MiB each at least"`
	MaxSessions      int64  `koanf:"max_sessions" about:"reads and read sessions at once; more are refused"`
	StreamSessions   int64  `koanf:"stream_sessions" about:"read sessions of one stream at once; more are refused; 0: no limit"`
	StreamRequests   int64  `koanf:"stream_requests_per_sec" about:"reads and sessions of one stream begun in a second; 0: no limit"`
	StreamRecords    int64  `koanf:"stream_records_per_sec" about:"records of one stream sent in a second, to all together; 0: no limit"`
	StreamBytes      int64  `koanf:"stream_bytes_per_sec" about:"bytes of one stream sent in a second, to all together; 0: no limit"`
	OwnerTimeoutMS   int64  `koanf:"owner_timeout_ms" about:"milliseconds in which a shard must have an owner who answers"`
	HeartbeatSecs    int64  `koanf:"heartbeat_secs" about:"seconds between empty responses to sessions that want them; the contract says 15 at most"`
	SilenceMS        int64  `koanf:"silence_ms" about:"milliseconds without a writer's beacon after which followers ask the owner instead"`
	PollMS           int64  `koanf:"poll_ms" about:"milliseconds between such questions"`
	RecheckSecs      int64  `koanf:"recheck_secs" about:"seconds after which a follower asks the owner although it missed nothing, give or take a half"`
	Parallel         int64  `koanf:"parallel" about:"followers' questions to owners at once"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Reader: Reader{
		CacheBytes: 256 << 20, FetchBytes: 128 << 20, FooterCacheBytes: 96 << 20,
		RingBytes: 4 << 20, LiveBytes: 256 << 20, CatchUpBytes: 512 << 20, MaxSessions: 20_000, StreamSessions: 10_000,
		OwnerTimeoutMS: 30_000, HeartbeatSecs: 10, SilenceMS: 300, PollMS: 300, RecheckSecs: 30, Parallel: 64,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "stream_reader", Value: &c.Reader})
}

// Validate finds every problem.
func (r *Reader) Validate() []config.Problem {
	return config.OutOfRange("stream_reader",
		config.Range{Key: "cache_bytes", Value: r.CacheBytes, Least: 0, Most: 1 << 50},
		config.Range{Key: "fetch_bytes", Value: r.FetchBytes, Least: 16 << 20, Most: 1 << 50},
		config.Range{Key: "footer_cache_bytes", Value: r.FooterCacheBytes, Least: 1 << 20, Most: 1 << 50},
		config.Range{Key: "ring_bytes", Value: r.RingBytes, Least: 1 << 10, Most: 1 << 50},
		config.Range{Key: "live_bytes", Value: r.LiveBytes, Least: 1 << 20, Most: 1 << 50},
		config.Range{Key: "catch_up_bytes", Value: r.CatchUpBytes, Least: 16 << 20, Most: 1 << 50},
		config.Range{Key: "max_sessions", Value: r.MaxSessions, Least: 1, Most: 1 << 30},
		config.Range{Key: "stream_sessions", Value: r.StreamSessions, Least: 0, Most: 1 << 30},
		config.Range{Key: "stream_requests_per_sec", Value: r.StreamRequests, Least: 0, Most: 1 << 50},
		config.Range{Key: "stream_records_per_sec", Value: r.StreamRecords, Least: 0, Most: 1 << 50},
		config.Range{Key: "stream_bytes_per_sec", Value: r.StreamBytes, Least: 0, Most: 1 << 50},
		config.Range{Key: "owner_timeout_ms", Value: r.OwnerTimeoutMS, Least: 100, Most: 600_000},
		config.Range{Key: "heartbeat_secs", Value: r.HeartbeatSecs, Least: 1, Most: 15},
		config.Range{Key: "silence_ms", Value: r.SilenceMS, Least: 150, Most: 60_000},
		config.Range{Key: "poll_ms", Value: r.PollMS, Least: 10, Most: 60_000},
		config.Range{Key: "recheck_secs", Value: r.RecheckSecs, Least: 1, Most: 3600},
		config.Range{Key: "parallel", Value: r.Parallel, Least: 1, Most: 100_000},
	)
}

// OwnerTimeout is how long to wait for an owner's answer.
func (r *Reader) OwnerTimeout() time.Duration { return milliseconds(r.OwnerTimeoutMS) }

// Heartbeat is the time between empty responses.
func (r *Reader) Heartbeat() time.Duration { return time.Duration(r.HeartbeatSecs) * time.Second }

// Silence is how long a writer's beacon may stay away.
func (r *Reader) Silence() time.Duration { return milliseconds(r.SilenceMS) }

// Poll is the time between questions while there is no beacon.
func (r *Reader) Poll() time.Duration { return milliseconds(r.PollMS) }

// Recheck is the time between questions without a reason.
func (r *Reader) Recheck() time.Duration { return time.Duration(r.RecheckSecs) * time.Second }

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
