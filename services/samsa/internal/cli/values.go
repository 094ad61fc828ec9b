package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/samsa-io/samsa/pkg/client"
)

// parseAge reads an age: 7d, 2w, 36h, 90s, or seconds without a unit.
func parseAge(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(s, 10, 64); err == nil {
		return scaled(seconds, time.Second)
	}
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, is := strings.CutSuffix(s, unit); is {
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				break
			}
			return scaled(n, length)
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Second != 0 {
		return 0, fmt.Errorf("%q: want whole seconds, such as 7d, 36h, 90s or 0", s)
	}
	return d, nil
}

func scaled(n uint64, unit time.Duration) (time.Duration, error) {
	if n > uint64(math.MaxInt64/unit) {
		return 0, fmt.Errorf("%d × %v is more than 292 years; 0 is for ever", n, unit)
	}
	return time.Duration(n) * unit, nil
}

// formatAge is the inverse of parseAge, for people.
func formatAge(d *time.Duration, zero string) string {
	switch {
	case d == nil:
		return "-"
	case *d == 0:
		return zero
	case *d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", *d/(24*time.Hour))
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// parseMillis reads a time: Unix milliseconds or RFC 3339.
func parseMillis(s string) (uint64, error) {
	if ms, err := strconv.ParseUint(s, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.UnixMilli() < 0 {
		return 0, fmt.Errorf("%q: want Unix milliseconds, or a time such as 2025-01-31T12:00:00Z", s)
	}
	return uint64(t.UnixMilli()), nil
}

// parsed is a flag whose text is parsed into an optional value.
type parsed[T any] struct {
	to    **T
	parse func(string) (T, error)
	kind  string
	text  string
}

func (p *parsed[T]) String() string { return p.text }
func (p *parsed[T]) Type() string   { return p.kind }

func (p *parsed[T]) Set(s string) error {
	v, err := p.parse(s)
	if err == nil {
		*p.to, p.text = &v, s
	}
	return err
}

func optional[T any](flags *pflag.FlagSet, to **T, name, kind, usage string, parse func(string) (T, error)) {
	flags.Var(&parsed[T]{to: to, parse: parse, kind: kind}, name, usage)
}

func optionalBool(flags *pflag.FlagSet, to **bool, name, usage string) {
	flags.Var(&parsed[bool]{to: to, parse: strconv.ParseBool, kind: "bool"}, name, usage)
	flags.Lookup(name).NoOptDefVal = "true"
}

func parseUint(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
func parseText(s string) (string, error) { return s, nil }

// storageClasses are their names.
func storageClasses() map[string]client.StorageClass {
	return map[string]client.StorageClass{
		"standard": client.StorageClassStandard, "express": client.StorageClassExpress,
	}
}

// timestampings are the names of the modes.
func timestampings() map[string]client.TimestampingMode {
	return map[string]client.TimestampingMode{
		"client-prefer": client.TimestampingClientPrefer, "client-require": client.TimestampingClientRequire,
		"arrival": client.TimestampingArrival,
	}
}

// named is a flag that takes one of some names.
func named[T any](values map[string]T) func(string) (T, error) {
	return func(s string) (T, error) {
		v, ok := values[s]
		if !ok {
			return v, fmt.Errorf("%q: want one of %s", s, strings.Join(sortedKeys(values), ", "))
		}
		return v, nil
	}
}

func nameOf[T comparable](values map[string]T, v T) string {
	for name, value := range values {
		if value == v {
			return name
		}
	}
	return "-"
}

// streamFlags are the settings of a stream.
type streamFlags struct {
	class      *client.StorageClass
	retention  *time.Duration
	timestamps *client.TimestampingMode
	future     *bool
	deleteIdle *time.Duration
}

func (s *streamFlags) add(c *cobra.Command) {
	flags := c.Flags()
	optional(flags, &s.class, "storage-class", "standard|express", "standard shares puts, express is put at once", named(storageClasses()))
	optional(flags, &s.retention, "retention", "age", "how long records are kept, such as 7d; 0: for ever", parseAge)
	optional(flags, &s.timestamps, "timestamping", "mode", "client-prefer, client-require or arrival", named(timestampings()))
	optionalBool(flags, &s.future, "allow-future-timestamps", "keep timestamps that lie ahead of the arrival")
	optional(flags, &s.deleteIdle, "delete-on-empty", "age", "delete the stream once it has been empty for so long; 0: never", parseAge)
}

// config is the settings that were given, and their paths.
func (s *streamFlags) config() (config client.StreamConfig, mask []string) {
	if s.class != nil {
		config.StorageClass = *s.class
		mask = append(mask, client.PathStorageClass)
	}
	if s.retention != nil {
		config.RetentionAge = s.retention
		mask = append(mask, client.PathRetentionAge)
	}
	if s.timestamps != nil {
		config.TimestampingMode = *s.timestamps
		mask = append(mask, client.PathTimestampingMode)
	}
	if s.future != nil {
		config.AllowFutureTimestamps = s.future
		mask = append(mask, client.PathAllowFutureTimestamps)
	}
	if s.deleteIdle != nil {
		config.DeleteOnEmptyMinAge = s.deleteIdle
		mask = append(mask, client.PathDeleteOnEmptyMinAge)
	}
	return config, mask
}

// streamSettings is a stream's settings as they are printed.
type streamSettings struct {
	StorageClass          string  `json:"storage_class,omitempty"`
	RetentionAgeSeconds   *uint64 `json:"retention_age_seconds,omitempty"`
	Timestamping          string  `json:"timestamping_mode,omitempty"`
	AllowFutureTimestamps *bool   `json:"allow_future_timestamps,omitempty"`
	DeleteOnEmptySeconds  *uint64 `json:"delete_on_empty_min_age_seconds,omitempty"`
	config                client.StreamConfig
}

func streamSettingNames() []string {
	return []string{"storage class", "retention", "timestamping", "allow future timestamps", "delete on empty"}
}

func settingsOf(c client.StreamConfig) streamSettings {
	return streamSettings{
		StorageClass: nameOf(storageClasses(), c.StorageClass), Timestamping: nameOf(timestampings(), c.TimestampingMode),
		RetentionAgeSeconds: seconds(c.RetentionAge), DeleteOnEmptySeconds: seconds(c.DeleteOnEmptyMinAge),
		AllowFutureTimestamps: c.AllowFutureTimestamps, config: c,
	}
}

func (s streamSettings) cells() []string {
	return []string{
		s.StorageClass, formatAge(s.config.RetentionAge, "for ever"), s.Timestamping,
		cellBool(s.AllowFutureTimestamps), formatAge(s.config.DeleteOnEmptyMinAge, "never"),
	}
}

func seconds(d *time.Duration) *uint64 {
	if d == nil {
		return nil
	}
	return new(uint64(*d / time.Second))
}

func cellBool(b *bool) string {
	if b == nil {
		return "-"
	}
	return map[bool]string{true: "yes", false: "no"}[*b]
}
