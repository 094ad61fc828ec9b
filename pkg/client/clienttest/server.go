package clienttest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Faults are asked at the points that their names tell, with the count of that
// point so far, from 1. An error that they return is what the call ends with. They
// may block, and may call Server.KillConnections.
type Faults struct {
	BeforeAppend func(n int) error // nothing has happened yet
	AfterAppend  func(n int) error // the batch stands, its ack is not on its way
	BeforeAck    func(n int) error // of a session, in a goroutine of its own
	BeforeRead   func(n int) error // before a message of a read session is sent
	OnUnary      func(method string) error
}

// Server is a Samsa server in memory, on a port of the loopback interface.
type Server struct {
	grpc     *grpc.Server
	listener *trackedListener
	served   chan struct{}

	mu      sync.Mutex
	faults  Faults
	counts  map[string]int
	token   string
	buckets map[string]*bucket
	tokens  map[string]*samsav1.AccessTokenInfo
}

// Start starts a server. Stop must be called.
func Start() (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{
		listener: &trackedListener{Listener: listener, conns: map[net.Conn]struct{}{}},
		served:   make(chan struct{}),
		counts:   map[string]int{},
		buckets:  map[string]*bucket{},
		tokens:   map[string]*samsav1.AccessTokenInfo{},
	}
	s.grpc = grpc.NewServer(
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(16<<20), grpc.InitialWindowSize(8<<20), grpc.InitialConnWindowSize(32<<20))
	samsav1.RegisterAccountServiceServer(s.grpc, account{s: s})
	samsav1.RegisterBucketServiceServer(s.grpc, bucketService{s: s})
	samsav1.RegisterStreamServiceServer(s.grpc, streamService{s: s})
	go func() {
		defer close(s.served)
		_ = s.grpc.Serve(s.listener)
	}()
	return s, nil
}

// Address is what client.New takes.
func (s *Server) Address() string { return "http://" + s.listener.Addr().String() }

// Stop ends the server and all calls.
func (s *Server) Stop() {
	s.grpc.Stop()
	<-s.served
}

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// RequireToken refuses calls without that access token.
func (s *Server) RequireToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// KillConnections cuts all connections without a word.
func (s *Server) KillConnections() { s.listener.kill() }

// fault asks one of the faults.
func (s *Server) fault(point string, pick func(Faults) func(int) error) error {
	s.mu.Lock()
	f := pick(s.faults)
	s.counts[point]++
	n := s.counts[point]
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(n)
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := s.authorize(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	f := s.faults.OnUnary
	s.mu.Unlock()
	if f != nil {
		if err := f(info.FullMethod); err != nil {
			return nil, err
		}
	}
	return handle(ctx, req)
}

func (s *Server) stream(srv any, call grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := s.authorize(call.Context()); err != nil {
		return err
	}
	return handle(srv, call)
}

func (s *Server) authorize(ctx context.Context) error {
	s.mu.Lock()
	want := s.token
	s.mu.Unlock()
	got := metadata.ValueFromIncomingContext(ctx, "authorization")
	if want == "" || len(got) == 1 && got[0] == "Bearer "+want {
		return nil
	}
	return Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN, codes.Unauthenticated, nil, "the access token is not valid")
}

// Errorf makes an error as a Samsa server sends it.
func Errorf(code samsav1.ErrorCode, grpcCode codes.Code, facts map[string]string, format string, a ...any) error {
	message := fmt.Sprintf(format, a...)
	return withDetails(grpcCode, message, &samsav1.ErrorDetail{Code: code, Message: message, Metadata: facts, RequestId: new("req-1")})
}

// Unavailable is an error that says that nothing has happened. retry, if not nil,
// asks for a wait.
func Unavailable(retry *errdetails.RetryInfo) error {
	const message = "no writer is there"
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(
		&samsav1.ErrorDetail{Code: samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, Message: message})}
	if retry != nil {
		details = append(details, protoadapt.MessageV1Of(retry))
	}
	st, err := status.New(codes.Unavailable, message).WithDetails(details...)
	if err != nil {
		return err
	}
	return st.Err()
}

// OutcomeUnknown is an error that says that an append may have happened.
func OutcomeUnknown() error {
	return Errorf(samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, codes.Unknown, nil, "the log is gone")
}

// ForgetProducers has all streams forget their producers, as many others would.
func (s *Server) ForgetProducers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.buckets {
		for _, l := range b.streams {
			l.forgetProducers(len(l.producers))
		}
	}
}

func forgotten() error {
	return Errorf(samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, codes.Unknown,
		map[string]string{"reason": "producer_forgotten"}, "the producer is forgotten")
}

func withDetails(code codes.Code, message string, detail *samsav1.ErrorDetail) error {
	st, err := status.New(code, message).WithDetails(protoadapt.MessageV1Of(detail))
	if err != nil {
		return err
	}
	return st.Err()
}

func invalid(field, format string, a ...any) error {
	message := fmt.Sprintf(format, a...)
	return withDetails(codes.InvalidArgument, message,
		&samsav1.ErrorDetail{Code: samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, Message: message, Field: &field})
}

func notFound(format string, a ...any) error {
	return Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, codes.NotFound, nil, format, a...)
}

func exists(format string, a ...any) error {
	return Errorf(samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS, codes.AlreadyExists, nil, format, a...)
}

func failed(reason string, facts map[string]string, format string, a ...any) error {
	facts["reason"] = reason
	return Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, codes.FailedPrecondition, facts, format, a...)
}

// trackedListener knows its connections, to cut them.
type trackedListener struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (l *trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, listener: l}
	l.mu.Lock()
	l.conns[tracked] = struct{}{}
	l.mu.Unlock()
	return tracked, nil
}

func (l *trackedListener) kill() {
	l.mu.Lock()
	conns := make([]net.Conn, 0, len(l.conns))
	for conn := range l.conns {
		conns = append(conns, conn)
	}
	l.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	listener *trackedListener
}

func (c *trackedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
