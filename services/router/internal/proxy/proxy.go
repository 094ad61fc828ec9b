package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// Backends finds who answers a call.
type Backends interface {
	// Any lists the living members of a role in the order in which to try them.
	Any(role string) []Backend
	// Readers lists the living stream-readers, the one to read the stream first.
	Readers(name stream.Name) []Backend
	// Owner calls try with the stream's owner, and again with whoever it finds to
	// be the owner instead, until ctx ends, while the error says that nothing
	// happened: a NotOwner detail, a typed SERVICE_UNAVAILABLE, or ErrUnreachable.
	// Another error makes it look for a new owner only on behalf of later calls.
	// The end of ctx must not interrupt try.
	Owner(ctx context.Context, name stream.Name, try func(context.Context, Backend) error) error
	// Stuck reports that a backend has not answered for a while, so that someone
	// looks whether it still lives.
	Stuck(name stream.Name, backend Backend)
}

// Backend is an instance of a service.
type Backend struct {
	Instance string
	Conn     grpc.ClientConnInterface
}

// Config holds the proxy's times.
type Config struct {
	// ConnectTimeout is how long a call waits for a connection to one backend.
	ConnectTimeout time.Duration
	// RouteTimeout is how long a call looks for an owner that accepts it.
	RouteTimeout time.Duration
	// SlowAnswer is after how long without an answer an owner is reported stuck.
	SlowAnswer time.Duration
}

// Proxy forwards the calls of a routing table.
type Proxy struct {
	table    route.Table
	backends Backends
	config   Config
	log      *zap.Logger
	// uploads are the goroutines that carry client messages to backends. Each ends
	// with its client's stream, which the server closes after the handler returns.
	uploads sync.WaitGroup
}

// New makes a proxy for the methods in table.
func New(table route.Table, backends Backends, config Config, log *zap.Logger) *Proxy {
	return &Proxy{table: table, backends: backends, config: config, log: log}
}

// Wait returns once no call is left; call it after the gRPC server has stopped.
func (p *Proxy) Wait() { p.uploads.Wait() }

// Handler serves the calls that the gRPC server has no service for. The server
// must use the codec of package rpc, which passes frames as they are.
func (p *Proxy) Handler(_ any, client grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(client)
	method, ok := p.table[name]
	if !ok {
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "no such method: %s", name).Under(codes.Unimplemented)
	}
	first := &rpc.Frame{}
	if err := client.RecvMsg(first); err != nil {
		return noFirstMessage(method, err)
	}
	defer first.Free()
	x := &exchange{proxy: p, method: method, client: client, first: first}
	return x.run()
}

// noFirstMessage is the answer to a call that ended before its first message. A
// session without any is over, and that is no error.
func noFirstMessage(method route.Method, err error) error {
	switch {
	case errors.Is(err, io.EOF) && method.ClientStreams:
		return nil
	case errors.Is(err, io.EOF):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "the call has no request message")
	case status.Code(err) == codes.ResourceExhausted:
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "the request is too large: %s", status.Convert(err).Message())
	}
	return err
}
