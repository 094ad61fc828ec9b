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
	port, err := choosePort(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	s, err := start(o, port)
	if err != nil {
		return nil, fmt.Errorf("start NATS on port %d: %w", port, err)
	}
	o.Log.Info("NATS runs", zap.Int("port", port))
	return s, nil
}

func choosePort(dir string) (int, error) {
	if dir == "" {
		return ports.Free()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	port, err := ports.Choose(dir)
	if err != nil {
		return 0, err
	}
	return port, ports.Save(dir, port)
}

func start(o Options, port int) (*Server, error) {
	n, err := server.NewServer(&server.Options{
		ServerName: "samsa", Host: ports.Loopback, Port: port,
		NoSigs:          true, // signals are the program's
		NoSystemAccount: true,
	})
	if err != nil {
		return nil, err
	}
	n.SetLoggerV2(logger{o.Log.Sugar()}, false, false, false)
	n.Start()
	if !n.ReadyForConnections(o.StartTimeout) {
		n.Shutdown()
		n.WaitForShutdown()
		return nil, fmt.Errorf("not ready within %v", o.StartTimeout)
	}
	return &Server{URL: "nats://" + ports.Address(port), Port: port, server: n}, nil
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
type logger struct{ log *zap.SugaredLogger }

func (l logger) Noticef(format string, v ...any) { l.log.Debugf("NATS: "+format, v...) }
func (l logger) Warnf(format string, v ...any)   { l.log.Debugf("NATS: "+format, v...) }
func (l logger) Errorf(format string, v ...any)  { l.log.Errorf("NATS: "+format, v...) }
func (l logger) Fatalf(format string, v ...any)  { l.log.Errorf("NATS: "+format, v...) }
func (l logger) Debugf(format string, v ...any)  { l.log.Debugf("NATS: "+format, v...) }
func (l logger) Tracef(format string, v ...any)  { l.log.Debugf("NATS: "+format, v...) }
