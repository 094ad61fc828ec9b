package cluster

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Link is a network connection of a process that a test can break: a TCP proxy in
// front of one of its dependencies, or in front of the process itself.
type Link struct {
	Address string // host:port to connect to

	target string
	listen net.Listener
	work   sync.WaitGroup

	mu      sync.Mutex
	state   linkState
	changed chan struct{} // closed when state changes
	conns   map[net.Conn]bool
	closed  bool
}

type linkState struct {
	cut, stalled bool
	delay        time.Duration
}

// newLink proxies to target (host:port) until the test ends.
func newLink(t testing.TB, target string) *Link {
	t.Helper()
	listen, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{Address: listen.Addr().String(), target: target, listen: listen, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	l.work.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

// Cut ends all connections and refuses new ones.
func (l *Link) Cut() { l.set(linkState{cut: true}) }

// Stall lets nothing through, and no end of a connection either, as if packets got
// lost. What was sent arrives after Heal.
func (l *Link) Stall() { l.set(linkState{stalled: true}) }

// Delay holds everything that is sent back for so long.
func (l *Link) Delay(d time.Duration) { l.set(linkState{delay: d}) }

// Heal makes the link work again.
func (l *Link) Heal() { l.set(linkState{}) }

func (l *Link) set(s linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	close(l.changed)
	l.changed = make(chan struct{})
	if s.cut {
		l.endAll()
	}
}

// endAll resets the connections; the caller holds mu.
func (l *Link) endAll() {
	for conn := range l.conns {
		reset(conn)
	}
}

// reset closes a connection so that the other end gets an error, not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (l *Link) close() {
	_ = l.listen.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Cut()
	l.work.Wait()
}

func (l *Link) accept() {
	for {
		conn, err := l.listen.Accept()
		if err != nil {
			return
		}
		if l.add(conn) {
			l.work.Go(func() { l.serve(conn) })
		}
	}
}

// add takes a connection on; false: the link is cut, and the connection closed.
func (l *Link) add(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.cut || l.closed {
		reset(conn)
		return false
	}
	l.conns[conn] = true
	return true
}

func (l *Link) remove(conn net.Conn) {
	reset(conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

func (l *Link) serve(conn net.Conn) {
	defer l.remove(conn)
	out, err := net.Dial("tcp", l.target)
	if err != nil || !l.add(out) {
		return
	}
	defer l.remove(out)
	var both sync.WaitGroup
	both.Go(func() { l.pump(out, conn) })
	both.Go(func() { l.pump(conn, out) })
	both.Wait()
}

// pump copies until an end, which it passes on.
func (l *Link) pump(to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		l.hold()
		if n > 0 {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				reset(from)
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		case err != nil:
			reset(to)
			return
		}
	}
}

// hold waits as long as the link's state asks for.
func (l *Link) hold() {
	for begun := time.Now(); ; {
		l.mu.Lock()
		state, changed := l.state, l.changed
		l.mu.Unlock()
		left := state.delay - time.Since(begun)
		if state.cut || !state.stalled && left <= 0 {
			return
		}
		if state.stalled {
			<-changed
			continue
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}
