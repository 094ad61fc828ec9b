// Package config is the stream-reader's configuration.
package config

import (
	"strconv"
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
	FetchBytes       int64  `koanf:"fetch_bytes" about:"memory for blocks that are being fetched"`
	FooterCacheBytes int64  `koanf:"footer_cache_bytes" about:"memory for footers, states and rows of the chunk index, by which older records are found"`
	RingBytes        int64  `koanf:"ring_bytes" about:"memory for the newest records of one followed stream, ready to send"`
	LiveBytes        int64  `koanf:"live_bytes" about:"the same, of all followed streams together"`
	CatchUpBytes     int64  `koanf:"catch_up_bytes" about:"memory for reads of stored records under way; 2 MiB each at least"`
	MaxSessions      int64  `koanf:"max_sessions" about:"reads and read sessions at once; more are refused"`
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
		RingBytes: 4 << 20, LiveBytes: 256 << 20, CatchUpBytes: 512 << 20, MaxSessions: 20_000,
		OwnerTimeoutMS: 30_000, HeartbeatSecs: 10, SilenceMS: 300, PollMS: 300, RecheckSecs: 30, Parallel: 64,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "stream_reader", Value: &c.Reader})
}

// Validate finds every problem.
func (r *Reader) Validate() []config.Problem {
	var problems []config.Problem
	for _, k := range []struct {
		name        string
		value       int64
		least, most int64
	}{
		{"cache_bytes", r.CacheBytes, 0, 1 << 50},
		{"fetch_bytes", r.FetchBytes, 16 << 20, 1 << 50},
		{"footer_cache_bytes", r.FooterCacheBytes, 1 << 20, 1 << 50},
		{"ring_bytes", r.RingBytes, 1 << 10, 1 << 50},
		{"live_bytes", r.LiveBytes, 1 << 20, 1 << 50},
		{"catch_up_bytes", r.CatchUpBytes, 16 << 20, 1 << 50},
		{"max_sessions", r.MaxSessions, 1, 1 << 30},
		{"owner_timeout_ms", r.OwnerTimeoutMS, 100, 600_000},
		{"heartbeat_secs", r.HeartbeatSecs, 1, 15},
		{"silence_ms", r.SilenceMS, 150, 60_000},
		{"poll_ms", r.PollMS, 10, 60_000},
		{"recheck_secs", r.RecheckSecs, 1, 3600},
		{"parallel", r.Parallel, 1, 100_000},
	} {
		if k.value < k.least || k.value > k.most {
			problems = append(problems, config.Problem{
				Key: "stream_reader." + k.name, Value: strconv.FormatInt(k.value, 10), What: "is out of range",
				Remedy: "give " + strconv.FormatInt(k.least, 10) + " to " + strconv.FormatInt(k.most, 10) + ", or leave it out",
			})
		}
	}
	return problems
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
