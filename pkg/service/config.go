package service

import (
	"cmp"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

// Config is the sections that every program knows. The zero value is of no use:
// begin with Default.
type Config struct {
	Server        Server
	Storage       Storage
	Database      Database
	NATS          NATS
	Auth          Auth
	TLS           TLS
	Observability telemetry.Config
}

// Default runs against compose.yaml.
func Default() Config {
	return Config{
		Server:        defaultServer(),
		Storage:       defaultStorage(),
		Database:      defaultDatabase(),
		NATS:          NATS{URLs: []string{"nats://localhost:4222"}},
		Auth:          defaultAuth(),
		TLS:           defaultTLS(),
		Observability: telemetry.Default(),
	}
}

// Sections is c for config.Load, which fills c.
func (c *Config) Sections() []config.Section {
	return []config.Section{
		{Name: "server", Value: &c.Server},
		{Name: "storage", Value: &c.Storage},
		{Name: "database", Value: &c.Database},
		{Name: "nats", Value: &c.NATS},
		{Name: "auth", Value: &c.Auth},
		{Name: "tls", Value: &c.TLS},
		{Name: "observability", Value: &c.Observability},
	}
}

// Foreign names the sections that some program of the project has and others do
// not, so that one file can serve all of them.
func Foreign() []string {
	return []string{"account", "bucket", "stream_writer", "stream_reader", "compactor", "router"}
}

// Server is the section [server].
type Server struct {
	Address               string   `koanf:"address" about:"address to listen on"`
	Port                  int      `koanf:"port" about:"port for gRPC; 0: a free one"`
	HTTPPort              int      `koanf:"http_port" about:"router: port for HTTP, REST and gRPC; 0: a free one"`
	AdvertiseAddress      string   `koanf:"advertise_address" about:"host or host:port that others reach this program at; empty: address, or the host's name if that is 0.0.0.0"`
	NodeID                string   `koanf:"node_id" about:"name of this instance, unique in its role and the same after a restart; empty: the host's name"`
	Zone                  string   `koanf:"zone" about:"availability zone, to prefer near instances"`
	EtcdEndpoints         []string `koanf:"etcd_endpoints" about:"etcd, where instances find each other"`
	EtcdPrefix            string   `koanf:"etcd_prefix" about:"of all keys in etcd; clusters that share one etcd differ in it"`
	EtcdCAFile            string   `koanf:"etcd_ca_file" about:"CAs that etcd's certificates are checked with; empty: the system's"`
	EtcdCertFile          string   `koanf:"etcd_cert_file" about:"certificate that is shown to etcd; empty: none"`
	EtcdKeyFile           string   `koanf:"etcd_key_file" about:"its key"`
	HeartbeatIntervalSecs int      `koanf:"heartbeat_interval_secs" about:"seconds between signs of life to etcd"`
	LeaseTTLSecs          int      `koanf:"lease_ttl_secs" about:"seconds without one after which an instance is dropped"`
	MaxReceiveBytes       int      `koanf:"max_receive_bytes" about:"largest message taken, in bytes"`
	MaxHeaderBytes        int      `koanf:"max_header_bytes" about:"largest headers of one call, in bytes; each counts 32 more than its name and value"`
	DrainDelayMS          int      `koanf:"drain_delay_ms" about:"milliseconds between leaving discovery and refusing work"`
	DrainTimeoutMS        int      `koanf:"drain_timeout_ms" about:"milliseconds that calls under way may take to end when the program stops"`
}

func defaultServer() Server {
	return Server{
		Address: "127.0.0.1", Port: 50052, HTTPPort: 8080,
		EtcdEndpoints: []string{"http://localhost:2379"}, EtcdPrefix: "/samsa",
		HeartbeatIntervalSecs: 2, LeaseTTLSecs: 6,
		MaxReceiveBytes: 4 << 20, MaxHeaderBytes: 64 << 10, DrainDelayMS: 200, DrainTimeoutMS: 10_000,
	}
}

// Heartbeat is the time between signs of life to etcd.
func (s *Server) Heartbeat() time.Duration {
	return time.Duration(s.HeartbeatIntervalSecs) * time.Second
}

// LeaseTTL is how long an instance that gives no sign of life stays listed.
func (s *Server) LeaseTTL() time.Duration { return time.Duration(s.LeaseTTLSecs) * time.Second }

// DrainDelay is the time between leaving discovery and refusing work.
func (s *Server) DrainDelay() time.Duration { return time.Duration(s.DrainDelayMS) * time.Millisecond }

// DrainTimeout is how long calls under way may take to end.
func (s *Server) DrainTimeout() time.Duration {
	return time.Duration(s.DrainTimeoutMS) * time.Millisecond
}

// Listen is the address of the gRPC server.
func (s *Server) Listen() string { return net.JoinHostPort(s.Address, strconv.Itoa(s.Port)) }

// Instance is this program's name in its role.
func (s *Server) Instance() string { return cmp.Or(s.NodeID, hostname()) }

// Advertised is where others reach a server that listens on the given address.
func (s *Server) Advertised(listening string) string {
	host, port, err := net.SplitHostPort(listening)
	if err != nil { // inproc:name
		return listening
	}
	if s.AdvertiseAddress != "" {
		if _, _, err := net.SplitHostPort(s.AdvertiseAddress); err == nil {
			return s.AdvertiseAddress
		}
		return net.JoinHostPort(s.AdvertiseAddress, port)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = hostname()
	}
	return net.JoinHostPort(host, port)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// Storage is the section [storage]: the store, and how logs are written to it.
type Storage struct {
	objstore.Config      `koanf:",squash"`
	ShardCount           uint32 `koanf:"shard_count" about:"shards of a new cluster, for ever; a power of two spreads best"`
	BatchSize            int    `koanf:"batch_size" about:"records after which a segment closes; 0: no limit"`
	BatchMaxBytes        int    `koanf:"batch_max_bytes" about:"bytes at which a segment closes"`
	BatchFlushIntervalMS int    `koanf:"batch_flush_interval_ms" about:"milliseconds that a standard stream's records may wait for more"`
	Window               uint32 `koanf:"window" about:"segments in flight to the store"`
	PutTimeoutMS         int    `koanf:"put_timeout_ms" about:"milliseconds after which a put is tried again, with twice the time, then four times"`
	MaxInflightBytes     int64  `koanf:"max_inflight_bytes" about:"bytes of records that wait for the store before appends are refused"`
	RecentBytes          int64  `koanf:"recent_bytes" about:"bytes of recent records that a writer keeps in memory for readers"`
	RollIntervalSecs     int    `koanf:"roll_interval_secs" about:"seconds after which a writer begins another log, so that the old one's storage can be freed"`
	RollBytes            int64  `koanf:"roll_bytes" about:"bytes in its log after which a writer begins another one sooner"`
	CleanupIntervalSecs  int    `koanf:"cleanup_interval_secs" about:"seconds between looks for records that have expired, and for objects that are not needed any more"`
	CleanupGraceSecs     int    `koanf:"cleanup_grace_period_secs" about:"seconds for which such objects are kept, for readers that still use them"`
}

func defaultStorage() Storage {
	return Storage{
		Config: objstore.Default(), ShardCount: 64,
		BatchMaxBytes: 4 << 20, BatchFlushIntervalMS: 50, Window: 8,
		PutTimeoutMS: 3000, MaxInflightBytes: 256 << 20, RecentBytes: 256 << 20,
		RollIntervalSecs: 3600, RollBytes: 32 << 30, CleanupIntervalSecs: 60, CleanupGraceSecs: 300,
	}
}

// BatchFlushInterval is the linger of standard streams.
func (s *Storage) BatchFlushInterval() time.Duration {
	return time.Duration(s.BatchFlushIntervalMS) * time.Millisecond
}

// PutTimeout is how long one put may take.
func (s *Storage) PutTimeout() time.Duration {
	return time.Duration(s.PutTimeoutMS) * time.Millisecond
}

// RollInterval is the time between two logs of a writer.
func (s *Storage) RollInterval() time.Duration {
	return time.Duration(s.RollIntervalSecs) * time.Second
}

// CleanupInterval is the time between looks for what is not needed any more.
func (s *Storage) CleanupInterval() time.Duration {
	return time.Duration(s.CleanupIntervalSecs) * time.Second
}

// CleanupGrace is for how long what is not needed any more is kept.
func (s *Storage) CleanupGrace() time.Duration {
	return time.Duration(s.CleanupGraceSecs) * time.Second
}

// Database is the section [database].
type Database struct {
	URL            string `koanf:"url" secret:"true" about:"postgres://user:password@host:port/name; if set, the other keys but max_connections are not used"`
	Host           string `koanf:"host" about:"Postgres's host"`
	Port           int    `koanf:"port" about:"Postgres's port"`
	Username       string `koanf:"username" about:"who to log in as"`
	Password       string `koanf:"password" secret:"true" about:"empty: none, or what ~/.pgpass says"`
	DatabaseName   string `koanf:"database_name" about:"the database"`
	SSLMode        string `koanf:"sslmode" about:"disable, allow, prefer, require, verify-ca or verify-full"`
	CAFile         string `koanf:"ca_file" about:"CAs that Postgres's certificate is checked with; empty: the system's"`
	CertFile       string `koanf:"cert_file" about:"certificate that is shown to Postgres; empty: none"`
	KeyFile        string `koanf:"key_file" about:"its key"`
	MaxConnections int    `koanf:"max_connections" about:"connections of one program, at most"`
}

func defaultDatabase() Database {
	return Database{
		Host: "localhost", Port: 5432, Username: "postgres", DatabaseName: "samsa_metadata",
		SSLMode: "prefer", MaxConnections: 10,
	}
}

// NATS is the section [nats].
type NATS struct {
	URLs     []string `koanf:"urls" about:"NATS servers, which carry hints of new records and changes"`
	CAFile   string   `koanf:"ca_file" about:"CAs that NATS's certificates are checked with, which makes TLS a must; empty: the system's"`
	CertFile string   `koanf:"cert_file" about:"certificate that is shown to NATS; empty: none"`
	KeyFile  string   `koanf:"key_file" about:"its key"`
}
