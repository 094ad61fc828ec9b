package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/limit"
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
	Owner(ctx context.Context, name stream.Name, try Try) error
	// AskOwner is Owner for calls that may be repeated whatever became of them. The
	// end of try's context ends an attempt that takes too long.
	AskOwner(ctx context.Context, name stream.Name, try Try) error
	// Replaced has a backend looked into that has not answered for a while, and
	// tells whether another one owns the stream by then. Until it is known to, calls
	// go on to the backend.
	Replaced(ctx context.Context, name stream.Name, backend Backend) bool
	// Lost says that the connection to the stream's owner broke, so that the next
	// one is looked for already.
	Lost(name stream.Name, backend Backend)
}

// Try is one attempt with one backend.
type Try = func(context.Context, Backend) error

// Backend is an instance of a service.
type Backend struct {
	Instance string
	Conn     grpc.ClientConnInterface
	Shard    stream.Shard // of an owner: as whose it is called
}

// Config holds the proxy's times.
type Config struct {
	// ConnectTimeout is how long a call waits for a connection to one backend.
	ConnectTimeout time.Duration
	// RouteTimeout is how long a call looks for an owner that accepts it.
	RouteTimeout time.Duration
	// SlowAnswer is after how long without an answer an owner is looked into.
	SlowAnswer time.Duration
	// FirstMessage is how long a client may take to send its request, or the first of
	// a session.
	FirstMessage time.Duration
	// Idle is how long an append session may go without a message.
	Idle time.Duration
	// Stall is how long the client of a session may take nothing.
	Stall time.Duration
	// Heartbeat is how often a read session that has to wait says that it lives, if
	// its client wants to know.
	Heartbeat time.Duration
	// Room is for what calls hold while they wait for their answer; nil: any much.
	Room *limit.Room
	// Limits counts refusals; nil: nothing does.
	Limits *limit.Metrics
	Log    *zap.Logger // nil: none
}

// Proxy forwards the calls of a routing table.
type Proxy struct {
	table    route.Table
	backends Backends
	config   Config
	// live ends when the sessions are to end.
	live  context.Context
	drain context.CancelFunc
	// work is the goroutines that receive from clients or send to them beside the
	// call's handler, and those that look into silent owners. Each ends with its
	// client's stream, which the server closes after the handler returns, or with
	// that of the last one who waits for the owner.
	work   sync.WaitGroup
	vigils vigils
	own    chan struct{} // has a place for each call that ownStream receives for
	log    *zap.Logger   // one line a second of each kind
}

// New makes a proxy for the methods in table.
func New(table route.Table, backends Backends, config Config) *Proxy {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	sampled := config.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 1, 0)
	}))
	p := &Proxy{table: table, backends: backends, config: config, vigils: vigils{all: map[watched]*vigil{}}, own: make(chan struct{}, maxOwn), log: sampled}
	p.live, p.drain = context.WithCancel(context.Background())
	return p
}

// Register makes the server forward the methods of the services. It must use
// rpc.FrameCodec, which passes frames as they are. Reflection and metrics see the
// services as if they were served here.
func (p *Proxy) Register(server grpc.ServiceRegistrar, services ...protoreflect.ServiceDescriptor) {
	for _, service := range services {
		desc := &grpc.ServiceDesc{
			ServiceName: string(service.FullName()),
			HandlerType: (*any)(nil),
			Metadata:    service.ParentFile().Path(),
		}
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			desc.Streams = append(desc.Streams, grpc.StreamDesc{
				StreamName: string(method.Name()),
				Handler:    p.handle,
				// grpc-go calls no stream interceptor for a method that streams
				// neither way. On the wire there is no difference.
				ClientStreams: true, ServerStreams: true,
			})
		}
		server.RegisterService(desc, nil)
	}
}

// Drain ends the sessions, each with a hint to try again: those that read at
// once, those that append when what they have sent on is acknowledged. What is
// one request and one answer goes on.
func (p *Proxy) Drain() { p.drain() }

// Wait returns once no call is left; call it after the gRPC server has stopped.
func (p *Proxy) Wait() { p.work.Wait() }

func (p *Proxy) handle(_ any, client grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(client)
	method, ok := p.table[name]
	if !ok { // not of the services that the table was made from
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INTERNAL_ERROR, "no route for %s", name)
	}
	first := &rpc.Frame{}
	if err := p.receiveFirst(client, first); err != nil {
		return noFirstMessage(method, err)
	}
	defer first.Free()
	leave, err := p.admit(method, first)
	if err != nil {
		return err
	}
	defer leave()
	x := &exchange{proxy: p, method: method, client: client, first: first}
	return x.run()
}

// callBytes is about what a call takes here besides its message: goroutines,
// headers and buffers on both sides.
const callBytes = 24 << 10

// admit takes room for a call with one request, so that backends which are slow to
// answer many do not fill the memory here. Sessions are bounded otherwise: what they
// send waits at the client.
func (p *Proxy) admit(method route.Method, first *rpc.Frame) (leave func(), err error) {
	if method.ClientStreams || method.ServerStreams {
		return func() {}, nil
	}
	leave, err = p.config.Room.Enter(int64(first.Len()) + callBytes)
	var full *limit.Exceeded
	if errors.As(err, &full) {
		return nil, full.RPC()
	}
	return leave, err
}

// noFirstMessage is the answer to a call that ended before its first message. A
// session without any is over, and that is no error.
func noFirstMessage(method route.Method, err error) error {
	switch {
	case errors.Is(err, io.EOF) && method.ClientStreams:
		return nil
	case errors.Is(err, io.EOF):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "the call has no request message")
	}
	return err
}
