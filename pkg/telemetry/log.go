package telemetry

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// NewLogger returns a logger that writes to out, usually os.Stderr: JSON, or for
// people when out is a terminal or the format says so. Modules name their loggers
// (log.Named("writer")) and have levels of their own.
func NewLogger(c Config, out io.Writer) (*zap.Logger, error) {
	levels, err := ParseLevels(c.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("observability.log_level = %q %w", c.LogLevel, err)
	}
	inner := zapcore.NewCore(encoder(c.LogFormat, out), zapcore.Lock(zapcore.AddSync(out)), levels.lowest())
	log := zap.New(&levelCore{Core: inner, levels: levels}, zap.AddStacktrace(zapcore.PanicLevel))
	if c.ServiceName != "" {
		log = log.With(zap.String("service", c.ServiceName))
	}
	return log, nil
}

func encoder(format string, out io.Writer) zapcore.Encoder {
	if format == FormatConsole || format == FormatAuto && isTerminal(out) {
		return zapcore.NewConsoleEncoder(consoleEncoding())
	}
	c := zap.NewProductionEncoderConfig()
	c.TimeKey = "time"
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.StringDurationEncoder
	return zapcore.NewJSONEncoder(c)
}

func consoleEncoding() zapcore.EncoderConfig {
	c := zap.NewDevelopmentEncoderConfig()
	c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	c.EncodeLevel = zapcore.CapitalColorLevelEncoder
	return c
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// levelCore lets an entry pass by the level of the logger that wrote it.
type levelCore struct {
	zapcore.Core
	levels Levels
}

func (c *levelCore) With(fields []zapcore.Field) zapcore.Core {
	return &levelCore{Core: c.Core.With(fields), levels: c.levels}
}

func (c *levelCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if entry.Level < c.levels.Of(entry.LoggerName) {
		return checked
	}
	return c.Core.Check(entry, checked)
}
