// Package config is the account service's configuration.
package config

import (
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
)

// Config is all that the account service knows.
type Config struct {
	Platform service.Config
	Account  Account
}

// Account is the section [account].
type Account struct {
	Listen            string `koanf:"-"` // where to listen; "": server.address and server.port
	OwnerTimeoutMS    int    `koanf:"owner_timeout_ms" about:"milliseconds that all shards' owners may take to acknowledge a bucket's deletion"`
	PurgeIntervalSecs int    `koanf:"purge_interval_secs" about:"seconds between looks for deletions that nobody has finished, and for expired access tokens"`
	PurgeHoldSecs     int    `koanf:"purge_hold_secs" about:"seconds for which a deletion is left to whoever works on it"`
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{Platform: service.Default(), Account: Account{OwnerTimeoutMS: 15_000, PurgeIntervalSecs: 5, PurgeHoldSecs: 20}}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return append(c.Platform.Sections(), config.Section{Name: "account", Value: &c.Account})
}

// Validate finds every problem.
func (a *Account) Validate() []config.Problem {
	return config.BelowFloor("account",
		config.Floor{Key: "owner_timeout_ms", Value: int64(a.OwnerTimeoutMS), Least: 1},
		config.Floor{Key: "purge_interval_secs", Value: int64(a.PurgeIntervalSecs), Least: 1},
		config.Floor{Key: "purge_hold_secs", Value: int64(a.PurgeHoldSecs), Least: 1},
	)
}

// OwnerTimeout is how long all owners may take to acknowledge.
func (a *Account) OwnerTimeout() time.Duration {
	return time.Duration(a.OwnerTimeoutMS) * time.Millisecond
}

// PurgeInterval is the time between looks for unfinished work.
func (a *Account) PurgeInterval() time.Duration {
	return time.Duration(a.PurgeIntervalSecs) * time.Second
}

// PurgeHold is for how long unfinished work is left to whoever does it.
func (a *Account) PurgeHold() time.Duration { return time.Duration(a.PurgeHoldSecs) * time.Second }
