package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// Front runs an HTTP server.
type Front struct {
	server  *http.Server
	address string
	wrap    func(net.Listener) net.Listener
	failed  func(error)
	ln      net.Listener
	served  chan struct{}
}

// NewFront makes a front for address ("host:port", port 0: any). wrap, which may be
// nil, protects its listener. failed is called if it ends by itself.
func NewFront(server *http.Server, address string, wrap func(net.Listener) net.Listener, failed func(error)) *Front {
	return &Front{server: server, address: address, wrap: wrap, failed: failed, served: make(chan struct{})}
}

// Start listens and serves.
func (f *Front) Start(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", f.address)
	if err != nil {
		return fmt.Errorf("HTTP server: %w; set server.http_port to a free port, or 0 for any", err)
	}
	if f.wrap != nil {
		ln = f.wrap(ln)
	}
	f.ln = ln
	go func() {
		defer close(f.served)
		if err := f.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			f.failed(err)
		}
	}()
	return nil
}

// Address is where a started front listens.
func (f *Front) Address() string { return f.ln.Addr().String() }

// Stop ends the server after the requests under way, or when ctx ends. A front
// that has not started is left alone.
func (f *Front) Stop(ctx context.Context) error {
	if f.ln == nil {
		return nil
	}
	err := f.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, f.server.Close())
	}
	<-f.served
	return err
}
