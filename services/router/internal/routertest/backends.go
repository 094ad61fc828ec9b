package routertest

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
)

// Backends are fixed lists of services by role. Appends try the writers in turn.
type Backends struct {
	mu      sync.Mutex
	Members map[string][]*Service
	stuck   []string
	taken   bool
}

func (b *Backends) add(role string, s *Service) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Members[role] = append(b.Members[role], s)
}

// Any implements proxy.Backends.
func (b *Backends) Any(role string) []proxy.Backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []proxy.Backend
	for _, s := range b.Members[role] {
		out = append(out, proxy.Backend{Instance: s.Instance, Conn: s.Conn})
	}
	return out
}

// Readers implements proxy.Backends.
func (b *Backends) Readers(stream.Name) []proxy.Backend { return b.Any("stream-reader") }

// Owner implements proxy.Backends: it tries each stream-writer once.
func (b *Backends) Owner(ctx context.Context, _ stream.Name, try proxy.Try) error {
	return b.tryWriters(ctx, try, nothingHappened)
}

// AskOwner implements proxy.Backends, likewise.
func (b *Backends) AskOwner(ctx context.Context, _ stream.Name, try proxy.Try) error {
	return b.tryWriters(ctx, try, func(err error) bool {
		return nothingHappened(err) || status.Code(err) == codes.Unavailable
	})
}

func (b *Backends) tryWriters(ctx context.Context, try proxy.Try, again func(error) bool) error {
	err := errors.New("no stream-writer")
	for _, backend := range b.Any("stream-writer") {
		if err = try(ctx, backend); !again(err) {
			return err
		}
	}
	return err
}

func nothingHappened(err error) bool {
	return errors.Is(err, proxy.ErrUnreachable) || proxy.IsNotOwner(err) ||
		rpc.Detail(err).GetCode() == samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE
}

// Replaced implements proxy.Backends: whoever is silent has lost its streams once
// TakeOver was called.
func (b *Backends) Replaced(_ context.Context, _ stream.Name, backend proxy.Backend) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = append(b.stuck, backend.Instance)
	return b.taken
}

// TakeOver has silent writers count as replaced.
func (b *Backends) TakeOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = true
}

// Lost implements proxy.Backends.
func (b *Backends) Lost(_ stream.Name, backend proxy.Backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = append(b.stuck, backend.Instance)
}

// Reported lists the instances that were looked into, or lost.
func (b *Backends) Reported() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.stuck...)
}

type connSet struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (s *connSet) add(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
}

func (s *connSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}
