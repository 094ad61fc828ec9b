package etcd

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

// TestServer is an etcd that a test stops and starts as it likes, always on the
// same port.
type TestServer struct {
	*Server // of the last start

	t       testing.TB
	dir     string
	running bool
}

// ForTest starts an etcd that ends with the test. It is not durable.
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

// Stop is an outage: etcd is gone until Restart.
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
	server, err := Start(context.Background(), Options{Dir: s.dir, Fast: true})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.Server != nil && s.Port != server.Port {
		_ = server.Stop(context.Background())
		s.t.Fatalf("etcd's port %d was taken while it was down", s.Port)
	}
	s.Server, s.running = server, true
}

// Forget loses all data; etcd must be stopped.
func (s *TestServer) Forget() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		s.t.Fatal(err)
	}
}

// Client connects to the server for as long as the test runs.
func (s *TestServer) Client() *clientv3.Client {
	s.t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.Endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}
