// Package etcd runs an etcd of one node inside the process, for `samsa dev` and
// for tests. It listens on the loopback address alone and keeps its port, so
// that clients find it again after a restart.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// Options say how a Server runs; Start fills in what is zero but Dir.
type Options struct {
	Dir string // keeps the data and the port; made if missing
	Log *zap.Logger
	// Fast gives up durability for speed. Only for data that nobody will miss.
	Fast         bool
	StartTimeout time.Duration // 30 s
}

// Server is a running etcd.
type Server struct {
	Endpoint string // http://127.0.0.1:<port>
	Port     int

	etcd *embed.Etcd
}

// Start starts the server on o.Dir and returns once it answers.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start etcd in %s: %w", o.Dir, err)
		}
	}()
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 30 * time.Second
	}
	if err = os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	return ports.Start(ctx, o.Dir, func(port int) (*Server, error) { return start(ctx, o, port) })
}

func start(ctx context.Context, o Options, port int) (*Server, error) {
	e, err := embed.StartEtcd(configuration(o, port))
	if err != nil {
		return nil, err
	}
	s := &Server{Endpoint: "http://" + ports.Address(port), Port: port, etcd: e}
	select {
	case <-e.Server.ReadyNotify():
		o.Log.Info("etcd runs", zap.Int("port", port), zap.String("data", o.Dir))
		return s, nil
	case <-time.After(o.StartTimeout):
		err = fmt.Errorf("not ready within %v", o.StartTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case err = <-e.Err():
	}
	e.Close()
	return nil, err
}

func configuration(o Options, port int) *embed.Config {
	c := embed.NewConfig()
	c.Dir = filepath.Join(o.Dir, "data")
	c.UnsafeNoFsync = o.Fast
	// Alone, a node elects itself: there is nobody to wait for. The election time
	// also bounds how short a lease can be.
	c.TickMs, c.ElectionMs = 10, 100
	c.ListenClientUrls = []url.URL{{Scheme: "http", Host: ports.Address(port)}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	// Nobody connects as a peer, but etcd insists on listening.
	c.ListenPeerUrls = []url.URL{{Scheme: "http", Host: ports.Address(0)}}
	c.AdvertisePeerUrls = c.ListenPeerUrls
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	c.AutoCompactionMode, c.AutoCompactionRetention = "revision", "1000"
	// It warns of what is meant to be so and calls things at start errors that are
	// none; real ones reach its clients, or are fatal.
	quiet := o.Log.WithOptions(zap.IncreaseLevel(zap.DPanicLevel))
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet)
	return c
}

// Failed delivers what ended the server, if it was not Stop.
func (s *Server) Failed() <-chan error { return s.etcd.Err() }

// Stop ends the server. Clients that follow something do not delay it.
func (s *Server) Stop(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.etcd.Close()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("etcd is still stopping"), context.Cause(ctx))
	}
}
