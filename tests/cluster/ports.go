package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Ports are taken from below those that the kernel gives to outgoing connections
// (from 32768 on Linux), so that a server that is down finds its port free again.
// Test binaries that run at the same time take theirs from different blocks.
const (
	firstPort = 20000
	blockSize = 600
	blocks    = 20
)

// ports are a block, and the file that keeps it this test binary's until that ends.
type ports struct {
	first int
	lock  *os.File
}

var block = sync.OnceValues(func() (ports, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("samsa-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ports{}, err
	}
	for _, i := range rand.Perm(blocks) {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(i)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return ports{}, err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return ports{firstPort + i*blockSize, f}, nil
		}
		_ = f.Close()
	}
	return ports{}, fmt.Errorf("all %d blocks of ports are in use: see the locks in %s", blocks, dir)
})

// taken are the ports given out by this test binary.
var taken struct {
	sync.Mutex
	ports map[int]bool
}

// freePort is a port that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	b, err := block()
	if err != nil {
		t.Fatal(err)
	}
	taken.Lock()
	defer taken.Unlock()
	if taken.ports == nil {
		taken.ports = map[int]bool{}
	}
	for _, i := range rand.Perm(blockSize) {
		port := b.first + i
		if taken.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		taken.ports[port] = true
		return port
	}
	t.Fatalf("no free port from %d to %d", b.first, b.first+blockSize-1)
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
