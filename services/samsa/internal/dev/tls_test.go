package dev

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/samsa/internal/settings"
)

// The services talk through sockets, as separate programs do, with a certificate
// for all their roles.
func TestTLS_OutsideAndInside(t *testing.T) {
	const domain = "samsa.internal"
	ca, err := mtls.OpenCA(t.TempDir(), time.Hour)
	require.NoError(t, err)
	inside, err := ca.IssueRoles(domain, "all", []string{"account", "bucket", "stream-writer", "stream-reader", "router"}, time.Hour)
	require.NoError(t, err)
	outside, err := ca.IssueHosts("public", []string{"127.0.0.1"}, time.Hour)
	require.NoError(t, err)
	s := startSite(t, func(all *settings.All) {
		c := &all.Platform.TLS
		c.CertFile, c.KeyFile, c.CAFile = inside.Cert, inside.Key, inside.CA
		c.PublicCertFile, c.PublicKeyFile = outside.Cert, outside.Key
		all.Account.Listen, all.Bucket.Listen, all.Reader.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		all.Writer.Listen = "127.0.0.1:0"
	})
	writers, err := clusterv1.NewAdminServiceClient(s.conn).ListWriters(as(t.Context(), root), &clusterv1.ListWritersRequest{})
	require.NoError(t, err)
	require.Len(t, writers.GetWriters(), 1)
	writer := writers.GetWriters()[0].GetAddress()
	t.Run("REST", func(t *testing.T) {
		token := s.issue(t, catalog.AccessToken{Scope: scope(prefix(""), nil, nil, operations())})
		for _, http2 := range []bool{false, true} {
			transport := &http.Transport{TLSClientConfig: publicTLS(t, ca.File()), ForceAttemptHTTP2: http2, DisableKeepAlives: true}
			if !http2 {
				transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https"+s.http[len("http"):]+"/api/v1/buckets", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+token)
			answer, err := (&http.Client{Transport: transport}).Do(r)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			transport.CloseIdleConnections()
			require.Equal(t, http.StatusOK, answer.StatusCode)
			require.Equal(t, map[bool]int{false: 1, true: 2}[http2], answer.ProtoMajor)
			require.Equal(t, uint16(tls.VersionTLS13), answer.TLS.Version)
		}
	})
	t.Run("clear text and strangers are refused", func(t *testing.T) {
		plain, err := grpc.NewClient(writer, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		defer func() { _ = plain.Close() }()
		files, err := ca.IssueRole(domain, "stream-reader", time.Hour)
		require.NoError(t, err)
		source, err := mtls.Open(files, mtls.Options{})
		require.NoError(t, err)
		dialer := rpc.NewDialer(rpc.DialerConfig{Credentials: mtls.Credentials(source.Client(domain, []string{"stream-writer"}))})
		defer func() { _ = dialer.Close() }()
		reader, err := dialer.Conn(writer)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(as(t.Context(), root), 10*time.Second)
		defer cancel()
		for conn, want := range map[*grpc.ClientConn]codes.Code{plain: codes.Unavailable, reader: codes.PermissionDenied} {
			_, err = clusterv1.NewWriterServiceClient(conn).HandOverShard(ctx, &clusterv1.HandOverShardRequest{})
			require.Equal(t, want, status.Code(err), "%v", err)
			_, err = samsav1.NewStreamServiceClient(conn).Append(ctx, &samsav1.AppendRequest{Bucket: "logs", Stream: "s", Records: records("x")})
			require.Equal(t, want, status.Code(err), "even with the root token: %v", err)
		}
	})
}
