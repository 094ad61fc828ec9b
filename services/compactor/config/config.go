// Package config is the compactor's configuration.
package config

import (
	"strconv"
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
	AbandonSecs      int64  `koanf:"abandon_secs" about:"seconds after which a job is taken for given up; longer than any job"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Compactor: Compactor{
		IntervalMS: 5000, JobBytes: 64 << 20, TargetChunkBytes: 256 << 10,
		LiveBytes: 32 << 20, LiveAgeSecs: 300, Parallel: 4, AbandonSecs: 1800,
	}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "compactor", Value: &c.Compactor})
}

// Validate finds every problem.
func (c *Compactor) Validate() []config.Problem {
	var problems []config.Problem
	for _, k := range []struct {
		name        string
		value       int64
		least, most int64
	}{
		{"interval_ms", c.IntervalMS, 10, 3_600_000},
		{"job_bytes", c.JobBytes, 1 << 20, 1 << 30},
		{"target_chunk_bytes", c.TargetChunkBytes, segment.MinChunkBytes, segment.MaxChunkBytes},
		{"live_bytes", c.LiveBytes, 0, 1 << 40},
		{"live_age_secs", c.LiveAgeSecs, 0, 86_400},
		{"parallel", c.Parallel, 1, 256},
		{"abandon_secs", c.AbandonSecs, 60, 86_400},
	} {
		if k.value < k.least || k.value > k.most {
			problems = append(problems, config.Problem{
				Key: "compactor." + k.name, Value: strconv.FormatInt(k.value, 10), What: "is out of range",
				Remedy: "give " + strconv.FormatInt(k.least, 10) + " to " + strconv.FormatInt(k.most, 10) + ", or leave it out",
			})
		}
	}
	return problems
}

// Interval is the time between looks.
func (c *Compactor) Interval() time.Duration { return time.Duration(c.IntervalMS) * time.Millisecond }

// LiveAge is for how long a log that is written to is left alone.
func (c *Compactor) LiveAge() time.Duration { return time.Duration(c.LiveAgeSecs) * time.Second }

// Abandon is how long a job may take.
func (c *Compactor) Abandon() time.Duration { return time.Duration(c.AbandonSecs) * time.Second }
