package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	_ "google.golang.org/grpc/health" // lets clients honour healthCheckConfig
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
)

// ErrDialerClosed is returned by Conn after Close.
var ErrDialerClosed = errors.New("dialer is closed")

// roleConfig is the service config of "samsa:///role": spread over the healthy
// instances, and repeat what has no side effect.
const roleConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": ""},
  "methodConfig": [{
    "name": [
      {"service": "samsa.v1.AccountService", "method": "ListBuckets"},
      {"service": "samsa.v1.AccountService", "method": "GetBucketConfig"},
      {"service": "samsa.v1.AccountService", "method": "ListAccessTokens"},
      {"service": "samsa.v1.BucketService", "method": "ListStreams"},
      {"service": "samsa.v1.BucketService", "method": "GetStreamConfig"},
      {"service": "samsa.v1.StreamService", "method": "Read"},
      {"service": "samsa.v1.StreamService", "method": "ReadSession"}
    ],
    "retryPolicy": {
      "maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

// DialerConfig is what a Dialer needs; the zero value dials sockets.
type DialerConfig struct {
	Inproc      *Inproc                          // nil: no in-process addresses
	Resolvers   []resolver.Builder               // for role targets: the one of scheme "samsa"
	Credentials credentials.TransportCredentials // nil: plain text
	PerCall     credentials.PerRPCCredentials    // nil: none; sent with every call
	Metrics     *Metrics                         // nil: none
	Tracer      trace.TracerProvider             // nil or no-op: no spans
}

// Dialer keeps one connection for each address.
type Dialer struct {
	config DialerConfig
	pool   *bufferPool
	tcp    net.Dialer

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewDialer returns a Dialer without connections.
func NewDialer(c DialerConfig) *Dialer {
	return &Dialer{config: c, pool: newBufferPool(), conns: make(map[string]*grpc.ClientConn)}
}

// Conn returns the connection of an address: "host:port", "inproc:name" or
// "samsa:///role". It is shared and stays open until Forget or Close; it connects
// at its first call, and again by itself after a failure. Calls do not wait for
// a broken connection to come back unless they ask for it (grpc.WaitForReady).
func (d *Dialer) Conn(address string) (*grpc.ClientConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrDialerClosed
	}
	if conn := d.conns[address]; conn != nil {
		return conn, nil
	}
	conn, err := grpc.NewClient(target(address), d.options(address)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	d.conns[address] = conn
	return conn, nil
}

// Forget closes the connection of an address that is gone for good; calls on it
// end as cancelled.
func (d *Dialer) Forget(address string) {
	d.mu.Lock()
	conn := d.conns[address]
	delete(d.conns, address)
	d.mu.Unlock()
	if conn != nil {
		// Close only fails on a closed connection.
		_ = conn.Close()
	}
}

// Close closes every connection.
func (d *Dialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	var errs []error
	for _, conn := range d.conns {
		errs = append(errs, conn.Close())
	}
	clear(d.conns)
	return errors.Join(errs...)
}

// target leaves names to the dialer, which looks them up at each attempt; only
// role targets need a resolver.
func target(address string) string {
	if isRole(address) {
		return address
	}
	return "passthrough:///" + address
}

func isRole(address string) bool { return strings.Contains(address, "://") }

func (d *Dialer) options(address string) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(d.credentials()),
		grpc.WithContextDialer(d.dial),
		grpc.WithResolvers(d.config.Resolvers...),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
		experimental.WithBufferPool(d.pool),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec(d.pool)),
			grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithInitialWindowSize(clientStreamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithWriteBufferSize(writeBuffer),
		grpc.WithReadBufferSize(readBuffer),
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(unaryRequestID),
		grpc.WithChainStreamInterceptor(streamRequestID),
	}
	if d.config.PerCall != nil {
		options = append(options, grpc.WithPerRPCCredentials(d.config.PerCall))
	}
	if isRole(address) {
		options = append(options, grpc.WithDefaultServiceConfig(roleConfig))
	}
	return append(options, d.instruments()...)
}

func (d *Dialer) credentials() credentials.TransportCredentials {
	if d.config.Credentials != nil {
		return d.config.Credentials
	}
	return insecure.NewCredentials()
}

func (d *Dialer) instruments() []grpc.DialOption {
	var options []grpc.DialOption
	if m := d.config.Metrics; m != nil {
		options = append(options,
			grpc.WithChainUnaryInterceptor(m.client.UnaryClientInterceptor()),
			grpc.WithChainStreamInterceptor(m.client.StreamClientInterceptor()))
	}
	if tracing(d.config.Tracer) {
		options = append(options, grpc.WithStatsHandler(otelgrpc.NewClientHandler(tracingOptions(d.config.Tracer)...)))
	}
	return options
}

func (d *Dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	name, ok := strings.CutPrefix(address, InprocPrefix)
	if !ok {
		return d.tcp.DialContext(ctx, "tcp", address)
	}
	if d.config.Inproc == nil {
		return nil, fmt.Errorf("dial %s: this process has no in-process listeners", address)
	}
	return d.config.Inproc.DialContext(ctx, name)
}

func unaryRequestID(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(sendRequestID(ctx), method, req, reply, cc, opts...)
}

func streamRequestID(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return streamer(sendRequestID(ctx), desc, cc, method, opts...)
}
