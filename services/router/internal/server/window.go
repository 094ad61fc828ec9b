package server

import (
	"context"
	"encoding/binary"
	"io"
	"sync"

	"google.golang.org/grpc"
)

// grpc-go reads the body of a gRPC request that arrives through net/http as fast
// as it comes, and keeps it until the handler asks. A client that sends faster
// than the backend takes would fill the memory. So the body is read through a
// window: reading pauses while more than windowBytes wait for the handler, and HTTP/2
// flow control then stops the client. What waits may be a message that has not ended:
// that is read on only while the handler waits for it. gRPC has then looked at its
// length, and has refused it if that is too much.

// windowBytes is how much of one request waits, give or take one read.
const windowBytes = 1 << 20

// messageHeaderBytes is the size of what precedes each gRPC message: a flag and
// the length.
const messageHeaderBytes = 5

type windowKey struct{}

// window is a request body that is read no further than the handler follows.
type window struct {
	body io.ReadCloser

	mu     sync.Mutex
	moved  *sync.Cond
	closed bool
	asked  bool // the handler waits for a message
	// waiting holds the sizes of the complete messages that the handler has not
	// received, waitingBytes their sum.
	waiting      []int
	waitingBytes int

	framing framing // used by the reading goroutine alone
}

func newWindow(body io.ReadCloser) *window {
	w := &window{body: body}
	w.moved = sync.NewCond(&w.mu)
	return w
}

// Read implements io.Reader.
func (w *window) Read(p []byte) (int, error) {
	if !w.await() {
		return 0, io.ErrClosedPipe
	}
	n, err := w.body.Read(p)
	w.arrived(w.framing.scan(p[:n]))
	return n, err
}

// Close implements io.Closer. It also ends a Read that waits.
func (w *window) Close() error {
	w.mu.Lock()
	w.closed = true
	w.moved.Broadcast()
	w.mu.Unlock()
	return w.body.Close()
}

func (w *window) await() (open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.isFull() && !w.closed {
		w.moved.Wait()
	}
	return !w.closed
}

// isFull is called with the lock held, by the reading goroutine.
func (w *window) isFull() bool {
	missed := w.asked && len(w.waiting) == 0 // the message that has not ended
	return !missed && w.waitingBytes+w.framing.size > windowBytes
}

// ask notes that the handler waits for a message.
func (w *window) ask() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = true
	w.moved.Broadcast()
}

func (w *window) arrived(sizes []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, size := range sizes {
		w.waiting = append(w.waiting, size)
		w.waitingBytes += size
	}
}

// received notes that the handler has taken a message.
func (w *window) received() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = false
	if len(w.waiting) == 0 {
		return
	}
	w.waitingBytes -= w.waiting[0]
	w.waiting = w.waiting[1:]
	w.moved.Broadcast()
}

// framing finds the ends of gRPC messages in a body.
type framing struct {
	header [messageHeaderBytes]byte
	have   int // bytes of header
	left   int // bytes of the message's content that are to come
	size   int // of the message so far
}

// scan returns the sizes of the messages that end in b.
func (f *framing) scan(b []byte) (ended []int) {
	for len(b) > 0 {
		var n int
		if f.have < messageHeaderBytes {
			n = copy(f.header[f.have:], b)
			f.have += n
			if f.have == messageHeaderBytes {
				f.left = int(binary.BigEndian.Uint32(f.header[1:]))
			}
		} else {
			n = min(len(b), f.left)
			f.left -= n
		}
		f.size += n
		b = b[n:]
		if f.have == messageHeaderBytes && f.left == 0 {
			ended = append(ended, f.size)
			*f = framing{}
		}
	}
	return ended
}

// withWindow tells the handler of ctx about its request's window.
func withWindow(ctx context.Context, w *window) context.Context {
	return context.WithValue(ctx, windowKey{}, w)
}

// openWindow lets the body of a request be read on as its messages are received.
func openWindow(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if w, ok := ss.Context().Value(windowKey{}).(*window); ok {
		ss = &windowedStream{ss, w}
	}
	return handler(srv, ss)
}

type windowedStream struct {
	grpc.ServerStream
	window *window
}

func (s *windowedStream) RecvMsg(m any) error {
	s.window.ask()
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.window.received()
	}
	return err
}
