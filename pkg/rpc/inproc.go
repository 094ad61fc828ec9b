package rpc

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc/test/bufconn"
)

// InprocPrefix begins the addresses of listeners in the same process.
const InprocPrefix = "inproc:"

// inprocBuffer is what each direction of an in-process connection holds.
const inprocBuffer = 256 << 10

// Inproc holds the listeners of one process by name.
type Inproc struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
}

// NewInproc returns an empty registry.
func NewInproc() *Inproc {
	return &Inproc{listeners: make(map[string]*bufconn.Listener)}
}

// Listen opens the listener of a name, which must be free.
func (i *Inproc) Listen(name string) (net.Listener, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, taken := i.listeners[name]; taken {
		return nil, fmt.Errorf("listen on %s%s: %w", InprocPrefix, name, syscall.EADDRINUSE)
	}
	inner := bufconn.Listen(inprocBuffer)
	i.listeners[name] = inner
	return &inprocListener{Listener: inner, registry: i, name: name}, nil
}

// DialContext connects to the listener of a name.
func (i *Inproc) DialContext(ctx context.Context, name string) (net.Conn, error) {
	i.mu.Lock()
	l := i.listeners[name]
	i.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s%s: %w", InprocPrefix, name, syscall.ECONNREFUSED)
	}
	return l.DialContext(ctx)
}

func (i *Inproc) remove(name string, l *bufconn.Listener) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.listeners[name] == l {
		delete(i.listeners, name)
	}
}

// inprocListener leaves the registry when it is closed.
type inprocListener struct {
	*bufconn.Listener
	registry *Inproc
	name     string
}

func (l *inprocListener) Close() error {
	l.registry.remove(l.name, l.Listener)
	return l.Listener.Close()
}

func (l *inprocListener) Addr() net.Addr { return inprocAddr(l.name) }

type inprocAddr string

func (inprocAddr) Network() string  { return "inproc" }
func (a inprocAddr) String() string { return InprocPrefix + string(a) }

// Listen opens "host:port", or "inproc:name" in the given registry.
func Listen(ctx context.Context, address string, inproc *Inproc) (net.Listener, error) {
	name, ok := strings.CutPrefix(address, InprocPrefix)
	if !ok {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	if inproc == nil {
		return nil, fmt.Errorf("listen on %s: this process has no in-process listeners", address)
	}
	return inproc.Listen(name)
}
