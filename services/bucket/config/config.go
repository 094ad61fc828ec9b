// Package config is the bucket service's configuration.
package config

import (
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
)

// Config is all that the bucket service knows.
type Config struct {
	Platform service.Config
	Bucket   Bucket
}

// Bucket is the section [bucket].
type Bucket struct {
	Listen             string `koanf:"-"` // where to listen; "": server.address and server.port
	OwnerTimeoutMS     int    `koanf:"owner_timeout_ms" about:"milliseconds that a shard's owner may take to acknowledge a stream's deletion or configuration"`
	FinishIntervalSecs int    `koanf:"finish_interval_secs" about:"seconds between looks for deletions and configurations that nobody has finished"`
	FinishHoldSecs     int    `koanf:"finish_hold_secs" about:"seconds for which unfinished work is left to whoever does it"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Bucket: Bucket{OwnerTimeoutMS: 15_000, FinishIntervalSecs: 5, FinishHoldSecs: 20}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "bucket", Value: &c.Bucket})
}

// Validate finds every problem.
func (b *Bucket) Validate() []config.Problem {
	return config.BelowFloor("bucket",
		config.Floor{Key: "owner_timeout_ms", Value: int64(b.OwnerTimeoutMS), Least: 1},
		config.Floor{Key: "finish_interval_secs", Value: int64(b.FinishIntervalSecs), Least: 1},
		config.Floor{Key: "finish_hold_secs", Value: int64(b.FinishHoldSecs), Least: 1},
	)
}

// OwnerTimeout is how long an owner may take to acknowledge.
func (b *Bucket) OwnerTimeout() time.Duration {
	return time.Duration(b.OwnerTimeoutMS) * time.Millisecond
}

// FinishInterval is the time between looks for unfinished work.
func (b *Bucket) FinishInterval() time.Duration {
	return time.Duration(b.FinishIntervalSecs) * time.Second
}

// FinishHold is for how long unfinished work is left to whoever does it.
func (b *Bucket) FinishHold() time.Duration { return time.Duration(b.FinishHoldSecs) * time.Second }
