// Package nats runs a NATS server inside the process, for `samsa dev` and for
// tests. Programs connect through the loopback address, the process itself
// without a socket. It keeps no messages.
package nats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// Options say how a Server runs; Start fills in what is zero.
type Options struct {
	Dir          string // keeps the port; "": a free one each time
	Log          *zap.Logger
	StartTimeout time.Duration // 10 s
}

// Server is a running NATS server.
type Server struct {
	URL  string // nats://127.0.0.1:<port>
	Port int

	server *server.Server
}

// Start starts the server and returns once it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 10 * time.Second
	}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, fmt.Errorf("start NATS: %w", err)
		}
	}
	s, err := ports.Start(ctx, o.Dir, func(port int) (*Server, error) { return start(ctx, o, port) })
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	o.Log.Info("NATS runs", zap.Int("port", s.Port))
	return s, nil
}

func start(ctx context.Context, o Options, port int) (*Server, error) {
	n, err := server.NewServer(&server.Options{
		ServerName: "samsa", Host: ports.Loopback, Port: port,
		NoSigs:          true, // signals are the program's
		NoSystemAccount: true,
	})
	if err != nil {
		return nil, err
	}
	log := logger{log: o.Log.Sugar(), failed: make(chan error, 1)}
	n.SetLoggerV2(log, false, false, false)
	n.Start()
	if err = awaitReady(ctx, n, log.failed, o.StartTimeout); err != nil {
		n.Shutdown()
		n.WaitForShutdown()
		return nil, fmt.Errorf("on port %d: %w", port, err)
	}
	return &Server{URL: "nats://" + ports.Address(port), Port: port, server: n}, nil
}

func awaitReady(ctx context.Context, n *server.Server, failed <-chan error, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready within %v", timeout))
	defer cancel()
	for !n.ReadyForConnections(50 * time.Millisecond) {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
	}
	return nil
}

// InProcess makes nats.Connect reach this server without a socket.
func (s *Server) InProcess() nats.Option { return nats.InProcessServer(s.server) }

// Stop ends the server; its clients see their connection go.
func (s *Server) Stop(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("NATS is still stopping"), context.Cause(ctx))
	}
}

// logger passes on what a person must know; the rest is for debugging.
type logger struct {
	log    *zap.SugaredLogger
	failed chan error // has room for one: why the server cannot run
}

func (l logger) Noticef(format string, v ...any) { l.log.Debugf("NATS: "+format, v...) }
func (l logger) Warnf(format string, v ...any)   { l.log.Debugf("NATS: "+format, v...) }
func (l logger) Errorf(format string, v ...any)  { l.log.Errorf("NATS: "+format, v...) }
func (l logger) Debugf(format string, v ...any)  { l.log.Debugf("NATS: "+format, v...) }
func (l logger) Tracef(format string, v ...any)  { l.log.Debugf("NATS: "+format, v...) }

func (l logger) Fatalf(format string, v ...any) {
	l.Errorf(format, v...)
	select {
	case l.failed <- fmt.Errorf(format, v...):
	default:
	}
}
