// Package config is the router's configuration.
package config

import (
	"net"
	"strconv"
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
)

// Config is all that the router knows.
type Config struct {
	Platform service.Config
	Router   Router
}

// Router is the section [router].
type Router struct {
	Listen                string `koanf:"-"` // where to serve gRPC; "": server.address and server.port
	MaxBodyBytes          int64  `koanf:"max_body_bytes" about:"largest body of a REST request; a full batch in JSON is larger than its 1 MiB metered"`
	MaxInflightBytes      int64  `koanf:"max_inflight_bytes" about:"memory for single calls under way, and the same again for REST bodies, before more are refused"`
	MaxURLBytes           int    `koanf:"max_url_bytes" about:"longest URL of a REST request, in bytes: path and query"`
	BodyTimeoutMS         int    `koanf:"body_timeout_ms" about:"milliseconds that a REST client may take to send a body"`
	WriteTimeoutMS        int    `koanf:"write_timeout_ms" about:"milliseconds that a client may take to accept one write; sessions may last for ever"`
	ConnectTimeoutMS      int    `koanf:"connect_timeout_ms" about:"milliseconds to wait for a connection to one instance before another is tried"`
	RouteTimeoutMS        int    `koanf:"route_timeout_ms" about:"milliseconds to look for a shard's owner before the client is told to try again"`
	FirstMessageTimeoutMS int    `koanf:"first_message_timeout_ms" about:"milliseconds that a gRPC client may take to send its request, or the first of a session"`
	SessionIdleSecs       int    `koanf:"session_idle_secs" about:"seconds without a message after which an append session ends"`
	TokenRequests         int64  `koanf:"token_requests_per_sec" about:"requests of one access token in a second, at this router; 0: no limit"`
	TokenRecords          int64  `koanf:"token_records_per_sec" about:"records appended and read with one access token in a second, at this router; 0: no limit"`
	TokenBytes            int64  `koanf:"token_bytes_per_sec" about:"bytes to and fro with one access token in a second, at this router; 0: no limit"`
	TokenSessions         int64  `koanf:"token_sessions" about:"sessions of one access token at a time, at this router; 0: no limit"`
	TokenStreams          int64  `koanf:"token_streams" about:"different streams in sessions of one access token at a time, at this router; 0: no limit"`
	SlowAnswerMS          int    `koanf:"slow_answer_ms" about:"milliseconds in which a shard's owner with requests to answer is silent, after which it is looked into; what it has is never sent twice"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Router: Router{
		MaxBodyBytes:          8 << 20,
		MaxInflightBytes:      256 << 20,
		MaxURLBytes:           16 << 10,
		FirstMessageTimeoutMS: 30_000,
		SessionIdleSecs:       3600,
		TokenSessions:         2000,
		TokenStreams:          10_000,
		BodyTimeoutMS:         30_000,
		WriteTimeoutMS:        30_000,
		ConnectTimeoutMS:      2000,
		RouteTimeoutMS:        15_000,
		SlowAnswerMS:          500,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "router", Value: &c.Router})
}

// HTTPAddress is where HTTP is served.
func (c *Config) HTTPAddress() string {
	return net.JoinHostPort(c.Platform.Server.Address, strconv.Itoa(c.Platform.Server.HTTPPort))
}

// Validate finds every problem.
func (r *Router) Validate() []config.Problem {
	return config.BelowFloor("router",
		config.Floor{Key: "max_body_bytes", Value: r.MaxBodyBytes, Least: 1 << 20},
		config.Floor{Key: "max_inflight_bytes", Value: r.MaxInflightBytes, Least: max(r.MaxBodyBytes, 1<<20)},
		config.Floor{Key: "first_message_timeout_ms", Value: int64(r.FirstMessageTimeoutMS), Least: 1},
		config.Floor{Key: "session_idle_secs", Value: int64(r.SessionIdleSecs), Least: 1},
		config.Floor{Key: "token_requests_per_sec", Value: r.TokenRequests},
		config.Floor{Key: "token_records_per_sec", Value: r.TokenRecords},
		config.Floor{Key: "token_bytes_per_sec", Value: r.TokenBytes},
		config.Floor{Key: "token_sessions", Value: r.TokenSessions},
		config.Floor{Key: "token_streams", Value: r.TokenStreams},
		config.Floor{Key: "max_url_bytes", Value: int64(r.MaxURLBytes), Least: 2 << 10},
		config.Floor{Key: "body_timeout_ms", Value: int64(r.BodyTimeoutMS), Least: 1},
		config.Floor{Key: "write_timeout_ms", Value: int64(r.WriteTimeoutMS), Least: 1},
		config.Floor{Key: "connect_timeout_ms", Value: int64(r.ConnectTimeoutMS), Least: 1},
		config.Floor{Key: "route_timeout_ms", Value: int64(r.RouteTimeoutMS), Least: 1},
		config.Floor{Key: "slow_answer_ms", Value: int64(r.SlowAnswerMS), Least: 1},
	)
}

// BodyTimeout is how long a client may take to send a body.
func (r *Router) BodyTimeout() time.Duration { return milliseconds(r.BodyTimeoutMS) }

// WriteTimeout is how long a client may take to accept one write.
func (r *Router) WriteTimeout() time.Duration { return milliseconds(r.WriteTimeoutMS) }

// ConnectTimeout is how long to wait for a connection to one instance.
func (r *Router) ConnectTimeout() time.Duration { return milliseconds(r.ConnectTimeoutMS) }

// RouteTimeout is how long to look for a shard's owner.
func (r *Router) RouteTimeout() time.Duration { return milliseconds(r.RouteTimeoutMS) }

// FirstMessageTimeout is how long a client may take to send its first message.
func (r *Router) FirstMessageTimeout() time.Duration { return milliseconds(r.FirstMessageTimeoutMS) }

// SessionIdle is how long an append session may go without a message.
func (r *Router) SessionIdle() time.Duration { return time.Duration(r.SessionIdleSecs) * time.Second }

// SlowAnswer is after how long a silent owner is looked into.
func (r *Router) SlowAnswer() time.Duration { return milliseconds(r.SlowAnswerMS) }

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
