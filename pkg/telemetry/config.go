package telemetry

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/samsa-io/samsa/pkg/config"
)

// Log formats.
const (
	FormatAuto    = "auto" // console when stderr is a terminal, else JSON
	FormatJSON    = "json"
	FormatConsole = "console"
)

// Config is the section [observability].
type Config struct {
	MetricsPort       int     `koanf:"metrics_port" about:"port of /metrics, /healthz and /readyz on server.address; 0: a free one, -1: none"`
	LogLevel          string  `koanf:"log_level" about:"debug, info, warn or error, and levels of modules: info,writer=debug"`
	LogFormat         string  `koanf:"log_format" about:"json, console, or auto: console on a terminal"`
	ServiceName       string  `koanf:"service_name" about:"name in logs and traces; empty: the program's"`
	EnableOtelTracing bool    `koanf:"enable_otel_tracing" about:"send traces to otel_endpoint"`
	OtelEndpoint      string  `koanf:"otel_endpoint" about:"OTLP over gRPC: http://host:port or https://host:port"`
	TraceSampleRatio  float64 `koanf:"trace_sample_ratio" about:"share of the traces begun here that are recorded, 0 to 1"`
}

// Default suits a laptop and compose.yaml.
func Default() Config {
	return Config{
		MetricsPort: 9090, LogLevel: "info", LogFormat: FormatAuto,
		OtelEndpoint: "http://localhost:4317", TraceSampleRatio: 0.01,
	}
}

// Validate returns every problem.
func (c *Config) Validate() []config.Problem {
	var problems []config.Problem
	report := func(key, value, what, remedy string) {
		problems = append(problems, config.Problem{Key: "observability." + key, Value: value, What: what, Remedy: remedy})
	}
	if c.MetricsPort < -1 || c.MetricsPort > 65535 {
		report("metrics_port", strconv.Itoa(c.MetricsPort), "is no port", "give 1 to 65535, 0 for a free one or -1 for none")
	}
	if _, err := ParseLevels(c.LogLevel); err != nil {
		report("log_level", c.LogLevel, err.Error(), "give debug, info, warn or error, such as info,writer=debug")
	}
	if !slices.Contains([]string{FormatAuto, FormatJSON, FormatConsole}, c.LogFormat) {
		report("log_format", c.LogFormat, "is no log format", "give auto, json or console")
	}
	if c.TraceSampleRatio < 0 || c.TraceSampleRatio > 1 {
		report("trace_sample_ratio", fmt.Sprint(c.TraceSampleRatio), "is no share", "give 0 to 1")
	}
	if c.EnableOtelTracing && !isEndpoint(c.OtelEndpoint) {
		report("otel_endpoint", c.OtelEndpoint, "is no address", "give http://host:port or https://host:port")
	}
	return problems
}

func isEndpoint(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
