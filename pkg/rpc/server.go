package rpc

import (
	"math"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

const (
	// DefaultMaxReceiveBytes bounds one message to a server: a batch of 1 MiB
	// metered, with room for headers and framing.
	DefaultMaxReceiveBytes = 4 << 20

	// DefaultMaxHeaderBytes bounds the headers of a call.
	DefaultMaxHeaderBytes = 64 << 10

	// DefaultMaxStreams bounds the calls at once on one connection. A router has all
	// calls to an instance on one.
	DefaultMaxStreams = 100_000

	// What one stream may have under way unread, and so the memory that a slow
	// reader of it costs. Appends come from afar, so servers leave more room.
	serverStreamWindow = 2 << 20
	clientStreamWindow = 1 << 20
	connWindow         = 16 << 20

	writeBuffer = 128 << 10
	readBuffer  = 128 << 10

	pingEvery   = 10 * time.Second // the least that grpc-go's clients accept
	pingTimeout = 5 * time.Second
	// connectionTimeout is what a client has for TLS and the first frames.
	connectionTimeout = 20 * time.Second

	minPing = 5 * time.Second // callers who ping more often are sent away
)

// ServerConfig is what a server needs; the zero value works.
type ServerConfig struct {
	Log             *zap.Logger          // nil: none
	Metrics         *Metrics             // nil: none
	Tracer          trace.TracerProvider // nil or no-op: no spans
	MaxReceiveBytes int                  // one message; 0: DefaultMaxReceiveBytes
	MaxHeaderBytes  int                  // of one call; 0: DefaultMaxHeaderBytes
	MaxStreams      uint32               // calls at once on one connection; 0: DefaultMaxStreams
	MaxIdle         time.Duration        // of a connection without calls; 0: for ever
	Refused         func(limit string)   // called for what is refused for its size, with the limit's setting; nil: nothing is
}

// NewServer returns a gRPC server with ServerOptions and more, which come last
// and so win.
func NewServer(c ServerConfig, more ...grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(ServerOptions(c), more...)...)
}

// ServerOptions are the options of every Samsa server: typed errors, request
// ids, recovery, metrics, traces, keepalive, limits and windows.
func ServerOptions(c ServerConfig) []grpc.ServerOption {
	edge, pool := newEdge(c), newBufferPool()
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(edge.unary, c.Metrics.unaryServer(), edge.recoverUnary),
		grpc.ChainStreamInterceptor(edge.stream, c.Metrics.streamServer(), edge.recoverStream),
		grpc.UnknownServiceHandler(unknownMethod),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout, MaxConnectionIdle: c.MaxIdle}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(hardReceive * c.maxReceive()),
		grpc.MaxHeaderListSize(uint32(hardHeaders * c.maxHeaders())),
		grpc.MaxConcurrentStreams(c.maxStreams()),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(serverStreamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.WriteBufferSize(writeBuffer),
		grpc.ReadBufferSize(readBuffer),
		experimental.BufferPool(pool),
		grpc.ForceServerCodecV2(newIntakeCodec(pool, edge)),
		// Stop then leaves no handler behind.
		grpc.WaitForHandlers(true),
	}
	if tracing(c.Tracer) {
		options = append(options, grpc.StatsHandler(otelgrpc.NewServerHandler(tracingOptions(c.Tracer)...)))
	}
	return options
}

func (c ServerConfig) maxReceive() int {
	if c.MaxReceiveBytes > 0 {
		return c.MaxReceiveBytes
	}
	return DefaultMaxReceiveBytes
}

func (c ServerConfig) maxHeaders() int {
	if c.MaxHeaderBytes > 0 {
		return c.MaxHeaderBytes
	}
	return DefaultMaxHeaderBytes
}

func (c ServerConfig) maxStreams() uint32 {
	if c.MaxStreams > 0 {
		return c.MaxStreams
	}
	return DefaultMaxStreams
}

func unknownMethod(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	return Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "no such method: %s", method).Under(codes.Unimplemented)
}

// tracing is false for providers that record nothing, which then cost nothing.
func tracing(p trace.TracerProvider) bool {
	if p == nil {
		return false
	}
	_, none := p.(noop.TracerProvider)
	return !none
}

func tracingOptions(p trace.TracerProvider) []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(p),
		otelgrpc.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelgrpc.WithPropagators(Propagator()),
	}
}

// Propagator carries traces between services as W3C headers.
func Propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}
