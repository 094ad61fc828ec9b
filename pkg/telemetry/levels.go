package telemetry

import (
	"fmt"
	"strings"

	"go.uber.org/zap/zapcore"
)

// Levels says from which level on each named logger writes.
type Levels struct {
	Default zapcore.Level
	Modules map[string]zapcore.Level
}

// quiet are modules that tell more than anybody wants to know at info. Their
// levels can be set like any other's.
func quiet() map[string]zapcore.Level { return map[string]zapcore.Level{"etcd": zapcore.WarnLevel} }

// ParseLevels reads "info" or "info,writer=debug,etcd=warn": one level for all
// (info if it is left out) and the levels of modules. A module is a logger's
// name; its level holds for the loggers below it ("writer.log") as well.
func ParseLevels(text string) (Levels, error) {
	levels := Levels{Default: zapcore.InfoLevel, Modules: map[string]zapcore.Level{}}
	for part := range strings.SplitSeq(text, ",") {
		module, name, isModule := strings.Cut(strings.TrimSpace(part), "=")
		if !isModule {
			module, name = "", module
		}
		level, err := parseLevel(name)
		switch {
		case err != nil:
			return Levels{}, err
		case !isModule:
			levels.Default = level
		case module == "":
			return Levels{}, fmt.Errorf("%q names no module", part)
		default:
			levels.Modules[module] = level
		}
	}
	for module, level := range quiet() {
		if _, set := levels.Modules[module]; !set {
			levels.Modules[module] = max(level, levels.Default)
		}
	}
	return levels, nil
}

func parseLevel(name string) (zapcore.Level, error) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "debug", "trace":
		return zapcore.DebugLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "warn", "warning":
		return zapcore.WarnLevel, nil
	case "error":
		return zapcore.ErrorLevel, nil
	}
	return 0, fmt.Errorf("has the unknown level %q", name)
}

// Of is the level of a named logger: its own, that of the nearest name above it,
// or the default.
func (l Levels) Of(logger string) zapcore.Level {
	for name := logger; name != ""; {
		if level, ok := l.Modules[name]; ok {
			return level
		}
		dot := strings.LastIndexByte(name, '.')
		name = name[:max(dot, 0)]
	}
	return l.Default
}

// lowest is the level below which no logger writes.
func (l Levels) lowest() zapcore.Level {
	lowest := l.Default
	for _, level := range l.Modules {
		lowest = min(lowest, level)
	}
	return lowest
}
