package ports

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func reserve(t *testing.T, dir string) (port int) {
	t.Helper()
	release, err := Reserve(dir)
	require.NoError(t, err)
	t.Cleanup(release)
	port, err = Saved(dir)
	require.NoError(t, err)
	return port
}

func TestReserve_KeepsThePortForWhoeverNamesIt(t *testing.T) {
	dir := t.TempDir()
	port := reserve(t, dir)
	for range 3 { // a server that is started again
		_, err := net.Dial("tcp", Address(port))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := net.Listen("tcp", Address(port))
		require.NoError(t, err)
		conn, err := net.Dial("tcp", Address(port))
		require.NoError(t, err)
		require.NoError(t, errors.Join(conn.Close(), l.Close()))
	}
	chosen, err := choose(dir)
	require.NoError(t, err)
	require.Equal(t, port, chosen)
}

func TestReserve_KeepsThePortFromWhoeverTakesAny(t *testing.T) {
	server, err := net.Listen("tcp", Address(0))
	require.NoError(t, err)
	defer server.Close()
	port := reserve(t, t.TempDir())
	// To a socket with this option the kernel has just this port to give.
	var unknown error
	just := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			const ipLocalPortRange = 51
			unknown = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipLocalPortRange, port<<16|port)
		})
	}
	l, err := (&net.ListenConfig{Control: just}).Listen(t.Context(), "tcp", Address(0))
	if errors.Is(unknown, syscall.ENOPROTOOPT) {
		require.NoError(t, l.Close())
		t.Skip("the kernel is older than 6.3")
	}
	require.NoError(t, unknown)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = (&net.Dialer{Control: just}).DialContext(t.Context(), "tcp", server.Addr().String())
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
}
