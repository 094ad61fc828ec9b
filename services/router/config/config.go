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
	Listen           string `koanf:"-"` // where to serve gRPC; "": server.address and server.port
	MaxBodyBytes     int64  `koanf:"max_body_bytes" about:"largest body of a REST request; a full batch in JSON is larger than its 1 MiB metered"`
	BodyTimeoutMS    int    `koanf:"body_timeout_ms" about:"milliseconds that a REST client may take to send a body"`
	WriteTimeoutMS   int    `koanf:"write_timeout_ms" about:"milliseconds that a REST client may take to accept one write; sessions may last for ever"`
	ConnectTimeoutMS int    `koanf:"connect_timeout_ms" about:"milliseconds to wait for a connection to one instance before another is tried"`
	RouteTimeoutMS   int    `koanf:"route_timeout_ms" about:"milliseconds to look for a shard's owner before the client is told to try again"`
	SlowAnswerMS     int    `koanf:"slow_answer_ms" about:"milliseconds without an answer after which a shard's owner is looked into; the request is never sent twice"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Router: Router{
		MaxBodyBytes:     8 << 20,
		BodyTimeoutMS:    30_000,
		WriteTimeoutMS:   30_000,
		ConnectTimeoutMS: 2000,
		RouteTimeoutMS:   15_000,
		SlowAnswerMS:     1000,
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

// SlowAnswer is after how long a silent owner is looked into.
func (r *Router) SlowAnswer() time.Duration { return milliseconds(r.SlowAnswerMS) }

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
