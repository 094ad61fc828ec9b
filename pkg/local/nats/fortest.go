package nats

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// TestServer is a NATS server that a test stops and starts as it likes, always
// on the same port.
type TestServer struct {
	*Server // of the last start

	t       testing.TB
	dir     string
	running bool
}

// ForTest starts a server that ends with the test.
func ForTest(t testing.TB) *TestServer {
	t.Helper()
	s := &TestServer{t: t, dir: t.TempDir()}
	release, err := ports.Reserve(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// Stop is an outage: NATS is gone until Restart.
func (s *TestServer) Stop() {
	s.t.Helper()
	if !s.running {
		return
	}
	s.running = false
	if err := s.Server.Stop(context.Background()); err != nil {
		s.t.Error(err)
	}
}

// Restart ends the outage, or makes a short one.
func (s *TestServer) Restart() {
	s.t.Helper()
	s.Stop()
	server, err := Start(context.Background(), Options{Dir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.Server != nil && s.Port != server.Port {
		_ = server.Stop(context.Background())
		s.t.Fatalf("the port %d of NATS was taken while it was down", s.Port)
	}
	s.Server, s.running = server, true
}

// Connect connects through the loopback address for as long as the test runs.
func (s *TestServer) Connect(options ...nats.Option) *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect(s.URL, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}
