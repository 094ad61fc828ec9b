// Package ports picks TCP ports on the loopback address and remembers them, so
// that a server that starts again is where it was.
package ports

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Loopback is the address that local servers listen on.
const Loopback = "127.0.0.1"

// Address is the host:port of a port on the loopback address.
func Address(port int) string { return net.JoinHostPort(Loopback, strconv.Itoa(port)) }

// choose gives the port that Save kept in dir if it is free, else any free one.
func choose(dir string) (int, error) {
	if dir == "" {
		return Free()
	}
	if port, err := Saved(dir); err == nil && IsFree(port) {
		return port, nil
	}
	return Free()
}

// Saved gives the port that Save kept in dir.
func Saved(dir string) (int, error) {
	text, err := os.ReadFile(file(dir))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Save keeps the port for the next Start.
func Save(dir string, port int) error {
	return os.WriteFile(file(dir), []byte(strconv.Itoa(port)+"\n"), 0o644)
}

func file(dir string) string { return filepath.Join(dir, "port") }

// IsFree tells whether nobody listens on the port.
func IsFree(port int) bool {
	l, err := net.Listen("tcp", Address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Free is a port that nobody listens on yet.
func Free() (int, error) {
	l, err := net.Listen("tcp", Address(0))
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
