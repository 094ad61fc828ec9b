package service

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/samsa-io/samsa/pkg/config"
)

// checks gathers the problems of one section.
type checks struct {
	section  string
	problems []config.Problem
}

func (c *checks) report(key, value, what, remedy string) {
	c.problems = append(c.problems, config.Problem{Key: c.section + "." + key, Value: value, What: what, Remedy: remedy})
}

func (c *checks) within(key string, value, low, high int64) {
	if value < low || value > high {
		c.report(key, strconv.FormatInt(value, 10), "is out of range", fmt.Sprintf("give %d to %d", low, high))
	}
}

func (c *checks) port(key string, value int) {
	if value < 0 || value > 65535 {
		c.report(key, strconv.Itoa(value), "is no port", "give 1 to 65535, or 0 for a free one")
	}
}

func (c *checks) urls(key string, values []string, example string, schemes ...string) {
	if len(values) == 0 {
		c.report(key, "", "names no server", "give addresses such as "+example)
	}
	for _, v := range values {
		u, err := url.Parse(v)
		if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
			c.report(key, v, "is no address", "give addresses such as "+example)
		}
	}
}

// Validate returns every problem.
func (s *Server) Validate() []config.Problem {
	c := &checks{section: "server"}
	if net.ParseIP(s.Address) == nil && !isHostname(s.Address) {
		c.report("address", s.Address, "is no address", "give an IP address or a host's name, such as 0.0.0.0")
	}
	c.port("port", s.Port)
	c.port("http_port", s.HTTPPort)
	if strings.Contains(s.NodeID, "/") {
		c.report("node_id", s.NodeID, "has a slash", "give a name without /")
	}
	c.urls("etcd_endpoints", s.EtcdEndpoints, "http://localhost:2379", "http", "https", "unix", "unixs")
	if !strings.HasPrefix(s.EtcdPrefix, "/") || strings.HasSuffix(s.EtcdPrefix, "/") {
		c.report("etcd_prefix", s.EtcdPrefix, "is no prefix", "give one that begins with a slash and does not end in one, such as /samsa")
	}
	c.pair("etcd_cert_file", s.EtcdCertFile, "etcd_key_file", s.EtcdKeyFile)
	c.within("heartbeat_interval_secs", int64(s.HeartbeatIntervalSecs), 1, 3600)
	if s.LeaseTTLSecs <= s.HeartbeatIntervalSecs {
		c.report("lease_ttl_secs", strconv.Itoa(s.LeaseTTLSecs), "is not longer than server.heartbeat_interval_secs",
			"give three times the heartbeat interval, so that one lost heartbeat does no harm")
	}
	c.within("max_receive_bytes", int64(s.MaxReceiveBytes), 2<<20, 1<<30)
	c.within("max_header_bytes", int64(s.MaxHeaderBytes), 4<<10, 1<<20)
	c.within("drain_delay_ms", int64(s.DrainDelayMS), 0, 10_000)
	c.within("drain_timeout_ms", int64(s.DrainTimeoutMS), 1, 15_000)
	return c.problems
}

func isHostname(name string) bool {
	return name != "" && !strings.ContainsAny(name, ":/ ")
}

// Validate returns every problem.
func (s *Storage) Validate() []config.Problem {
	c := &checks{section: "storage", problems: s.Config.Validate()}
	c.within("shard_count", int64(s.ShardCount), 1, 65536)
	c.within("batch_size", int64(s.BatchSize), 0, math.MaxInt32)
	c.within("batch_max_bytes", int64(s.BatchMaxBytes), 64<<10, 64<<20)
	c.within("batch_flush_interval_ms", int64(s.BatchFlushIntervalMS), 0, 60_000)
	c.within("window", int64(s.Window), 1, 256)
	c.within("put_timeout_ms", int64(s.PutTimeoutMS), 100, 60_000)
	c.within("max_inflight_bytes", s.MaxInflightBytes, int64(s.BatchMaxBytes), math.MaxInt64)
	c.within("recent_bytes", s.RecentBytes, 0, math.MaxInt64)
	c.within("roll_interval_secs", int64(s.RollIntervalSecs), 1, 30*86_400)
	c.within("roll_bytes", s.RollBytes, 1<<20, math.MaxInt64)
	c.within("cleanup_interval_secs", int64(s.CleanupIntervalSecs), 1, 86_400)
	c.within("cleanup_grace_period_secs", int64(s.CleanupGraceSecs), 0, 365*86_400)
	return c.problems
}

// Validate returns every problem.
func (d *Database) Validate() []config.Problem {
	c := &checks{section: "database"}
	c.within("max_connections", int64(d.MaxConnections), 1, 10_000)
	c.pair("cert_file", d.CertFile, "key_file", d.KeyFile)
	if d.URL != "" {
		if _, err := pgxpool.ParseConfig(d.URL); err != nil {
			// The error would show the password.
			c.report("url", d.URL, "is no connection string", "give postgres://user:password@host:port/name")
		}
		return c.problems
	}
	if d.Host == "" {
		c.report("host", "", "is empty", "give Postgres's host, or all of it in database.url")
	}
	c.within("port", int64(d.Port), 1, 65535)
	if d.DatabaseName == "" {
		c.report("database_name", "", "is empty", "give the database's name, such as samsa_metadata")
	}
	if !slices.Contains([]string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}, d.SSLMode) {
		c.report("sslmode", d.SSLMode, "is no mode", "give disable, allow, prefer, require, verify-ca or verify-full")
	}
	return c.problems
}

// Validate returns every problem.
func (n *NATS) Validate() []config.Problem {
	c := &checks{section: "nats"}
	c.urls("urls", n.URLs, "nats://localhost:4222", "nats", "tls", "ws", "wss")
	c.pair("cert_file", n.CertFile, "key_file", n.KeyFile)
	return c.problems
}
