package mtls

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// IsInProcess tells the address of a connection that never leaves the process.
func IsInProcess(a net.Addr) bool {
	return a != nil && (a.Network() == "bufconn" || a.Network() == "inproc")
}

// Credentials are gRPC's for a TLS configuration. Connections within the process
// go without.
func Credentials(c *tls.Config) credentials.TransportCredentials {
	return mixed{TransportCredentials: credentials.NewTLS(c), plain: insecure.NewCredentials()}
}

type mixed struct {
	credentials.TransportCredentials
	plain credentials.TransportCredentials
}

func (m mixed) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if IsInProcess(conn.RemoteAddr()) {
		return m.plain.ClientHandshake(ctx, authority, conn)
	}
	return m.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

func (m mixed) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if IsInProcess(conn.LocalAddr()) {
		return m.plain.ServerHandshake(conn)
	}
	return m.TransportCredentials.ServerHandshake(conn)
}

func (m mixed) Clone() credentials.TransportCredentials {
	return mixed{TransportCredentials: m.TransportCredentials.Clone(), plain: m.plain.Clone()}
}
