// Package config is the compactor's configuration.
package config

import (
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/service"
)

// Config is all that a compactor knows.
type Config struct {
	Platform  service.Config
	Compactor Compactor
}

// Compactor is the section [compactor].
type Compactor struct {
	Listen           string `koanf:"-"` // where to listen; "": server.address and server.port
	IntervalMS       int64  `koanf:"interval_ms" about:"milliseconds between looks for records to compact"`
	JobBytes         int64  `koanf:"job_bytes" about:"bytes of records in one job, about; it needs several times as much memory"`
	TargetChunkBytes int64  `koanf:"target_chunk_bytes" about:"bytes at which a chunk is cut, uncompressed"`
	LiveBytes        int64  `koanf:"live_bytes" about:"bytes at which a log that is still written to is compacted"`
	LiveAgeSecs      int64  `koanf:"live_age_secs" about:"seconds after which it is compacted although there are fewer"`
	Parallel         int64  `koanf:"parallel" about:"logs compacted at once, and requests of the collector at once"`
	SealAgeSecs      int64  `koanf:"seal_age_secs" about:"seconds after the newest segment of a log that no shard and no living writer belongs to, until it is sealed; 0: never"`
	AbandonSecs      int64  `koanf:"abandon_secs" about:"seconds after which a job is taken for given up; longer than any job"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Compactor: Compactor{
		IntervalMS: 5000, JobBytes: 64 << 20, TargetChunkBytes: 256 << 10,
		LiveBytes: 32 << 20, LiveAgeSecs: 300, Parallel: 4, SealAgeSecs: 600, AbandonSecs: 1800,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "compactor", Value: &c.Compactor})
}

// Validate finds every problem.
func (c *Compactor) Validate() []config.Problem {
	return config.OutOfRange("compactor",
		config.Range{Key: "interval_ms", Value: c.IntervalMS, Least: 10, Most: 3_600_000},
		config.Range{Key: "job_bytes", Value: c.JobBytes, Least: 1 << 20, Most: 1 << 30},
		config.Range{Key: "target_chunk_bytes", Value: c.TargetChunkBytes, Least: segment.MinChunkBytes, Most: segment.MaxChunkBytes},
		config.Range{Key: "live_bytes", Value: c.LiveBytes, Least: 0, Most: 1 << 40},
		config.Range{Key: "live_age_secs", Value: c.LiveAgeSecs, Least: 0, Most: 86_400},
		config.Range{Key: "parallel", Value: c.Parallel, Least: 1, Most: 256},
		config.Range{Key: "seal_age_secs", Value: c.SealAgeSecs, Least: 0, Most: 86_400},
		config.Range{Key: "abandon_secs", Value: c.AbandonSecs, Least: 60, Most: 86_400},
	)
}

// Interval is the time between looks.
func (c *Compactor) Interval() time.Duration { return time.Duration(c.IntervalMS) * time.Millisecond }

// LiveAge is for how long a log that is written to is left alone.
func (c *Compactor) LiveAge() time.Duration { return time.Duration(c.LiveAgeSecs) * time.Second }

// SealAge is for how long a log is left unsealed that nobody seems to write to.
func (c *Compactor) SealAge() time.Duration { return time.Duration(c.SealAgeSecs) * time.Second }

// Abandon is how long a job may take.
func (c *Compactor) Abandon() time.Duration { return time.Duration(c.AbandonSecs) * time.Second }
