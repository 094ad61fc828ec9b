package auth_test

import (
	"context"
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/rpc"
)

const (
	domain = "samsa.test"
	root   = "the root token"
	often  = time.Millisecond // between looks at files
)

// writer answers everything.
type writer struct {
	clusterv1.UnimplementedWriterServiceServer
	samsav1.UnimplementedStreamServiceServer
}

func (writer) HandOverShard(context.Context, *clusterv1.HandOverShardRequest) (*clusterv1.HandOverShardResponse, error) {
	return &clusterv1.HandOverShardResponse{}, nil
}

func (writer) Locate(context.Context, *clusterv1.LocateRequest) (*clusterv1.LocateResponse, error) {
	return &clusterv1.LocateResponse{}, nil
}

func (writer) Append(context.Context, *samsav1.AppendRequest) (*samsav1.AppendResponse, error) {
	return &samsav1.AppendResponse{}, nil
}

// nobody has no tokens: the tests use the root token.
type nobody struct{}

func (nobody) CheckAccessToken(context.Context, catalog.AccessTokenKey) (catalog.AccessToken, error) {
	return catalog.AccessToken{}, catalog.ErrInvalidToken
}

// serveWriter runs a stream-writer that shows the given certificate, and returns its
// address.
func serveWriter(t *testing.T, peers auth.Peers, options ...grpc.ServerOption) string {
	hash := sha256.Sum256([]byte(root))
	verifier := auth.NewVerifier(auth.VerifierConfig{Tokens: nobody{}, Root: &hash})
	guard, err := auth.NewGuard(auth.GuardConfig{Verifier: verifier, Peers: peers})
	require.NoError(t, err)
	server := rpc.NewServer(rpc.ServerConfig{}, append(options, guard.ServerOptions()...)...)
	clusterv1.RegisterWriterServiceServer(server, writer{})
	samsav1.RegisterStreamServiceServer(server, writer{})
	require.NoError(t, guard.Covers(server))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
		verifier.Close()
	})
	return ln.Addr().String()
}

func open(t *testing.T, files mtls.Files, err error) *mtls.Source {
	require.NoError(t, err)
	source, err := mtls.Open(files, mtls.Options{Every: often})
	require.NoError(t, err)
	return source
}

func newCA(t *testing.T) *mtls.CA {
	ca, err := mtls.OpenCA(t.TempDir(), time.Hour)
	require.NoError(t, err)
	return ca
}

func source(t *testing.T, ca *mtls.CA, domain, role string) *mtls.Source {
	files, err := ca.IssueRole(domain, role, time.Hour)
	return open(t, files, err)
}

func dial(t *testing.T, s *mtls.Source, address string) *grpc.ClientConn {
	dialer := rpc.NewDialer(rpc.DialerConfig{Credentials: mtls.Credentials(s.Client(domain, []string{"stream-writer"}))})
	t.Cleanup(func() { _ = dialer.Close() })
	conn, err := dialer.Conn(address)
	require.NoError(t, err)
	return conn
}

// calls is what a holder of a certificate may do with a stream-writer.
func calls(t *testing.T, conn *grpc.ClientConn) (handOver, locate, send codes.Code) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := clusterv1.NewWriterServiceClient(conn).HandOverShard(ctx, &clusterv1.HandOverShardRequest{})
	_, locateErr := clusterv1.NewWriterServiceClient(conn).Locate(ctx, &clusterv1.LocateRequest{})
	_, appendErr := samsav1.NewStreamServiceClient(conn).Append(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+root),
		&samsav1.AppendRequest{Bucket: "logs", Stream: "s"})
	return status.Code(err), status.Code(locateErr), status.Code(appendErr)
}

func TestCertificates_GiveEachRoleItsCalls(t *testing.T) {
	ca := newCA(t)
	files, err := ca.IssueRole(domain, "stream-writer", time.Hour)
	require.NoError(t, err)
	server, err := mtls.Open(files, mtls.Options{Every: time.Hour}) // below, other certificates take the file's place
	require.NoError(t, err)
	address := serveWriter(t, auth.Peers{TrustDomain: domain}, grpc.Creds(mtls.Credentials(server.Server())))
	const yes, no = codes.OK, codes.PermissionDenied
	for _, c := range []struct {
		domain, role           string
		handOver, locate, send codes.Code
	}{
		{domain, "stream-writer", yes, no, no},
		{domain, "stream-reader", no, yes, no},
		{domain, "router", no, no, yes},
		{domain, "account", no, no, no},
		{domain, "nonsense", no, no, no},
		{"other.test", "stream-writer", no, no, no},
		{"evil-" + domain, "stream-writer", no, no, no},
	} {
		handOver, locate, send := calls(t, dial(t, source(t, ca, c.domain, c.role), address))
		require.Equal(t, []codes.Code{c.handOver, c.locate, c.send}, []codes.Code{handOver, locate, send}, "%s in %s", c.role, c.domain)
	}
}

func TestCertificates_OfAnotherCAOrNoneAreRefused(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	address := serveWriter(t, auth.Peers{TrustDomain: domain}, grpc.Creds(mtls.Credentials(source(t, ca, domain, "stream-writer").Server())))
	forged, err := other.IssueRole(domain, "stream-writer", time.Hour)
	forged.CA = ca.File() // it believes the server, who does not believe it
	none := open(t, mtls.Files{CA: ca.File()}, nil)
	for _, s := range []*mtls.Source{open(t, forged, err), none} {
		handOver, _, send := calls(t, dial(t, s, address))
		require.Equal(t, []codes.Code{codes.Unavailable, codes.Unavailable}, []codes.Code{handOver, send})
	}
	expired, err := ca.IssueRole(domain, "stream-writer", -time.Minute)
	handOver, _, _ := calls(t, dial(t, open(t, expired, err), address))
	require.Equal(t, codes.Unavailable, handOver)
}

func TestCertificates_AServerOfAnotherRoleIsNotCalled(t *testing.T) {
	ca := newCA(t)
	for _, role := range []string{"stream-reader", "router"} {
		address := serveWriter(t, auth.Peers{TrustDomain: domain}, grpc.Creds(mtls.Credentials(source(t, ca, domain, role).Server())))
		handOver, _, _ := calls(t, dial(t, source(t, ca, domain, "stream-writer"), address))
		require.Equal(t, codes.Unavailable, handOver)
	}
}

// A reader, as by its certificate, that registers as a stream-writer gets a connection,
// as readers do, but none of a writer's calls.
func TestPeerCredentials_SendACallToTheRoleThatAnswersIt(t *testing.T) {
	ca := newCA(t)
	client := source(t, ca, domain, "router").Client(domain, []string{"stream-reader", "stream-writer"})
	for role, want := range map[string]codes.Code{"stream-writer": codes.OK, "stream-reader": codes.Unavailable} {
		var arrived atomic.Int64
		address := serveWriter(t, auth.Peers{TrustDomain: domain},
			grpc.Creds(mtls.Credentials(source(t, ca, domain, role).Server())),
			grpc.InTapHandle(func(ctx context.Context, _ *tap.Info) (context.Context, error) {
				arrived.Add(1)
				return ctx, nil
			}))
		dialer := rpc.NewDialer(rpc.DialerConfig{Credentials: mtls.Credentials(client), PerCall: perCall(t, auth.Peers{TrustDomain: domain})})
		t.Cleanup(func() { _ = dialer.Close() })
		conn, err := dialer.Conn(address)
		require.NoError(t, err)
		_, _, send := calls(t, conn)
		require.Equal(t, want, send, role)
		if want != codes.OK {
			require.Zero(t, arrived.Load(), "the token was sent")
		}
	}
}

func perCall(t *testing.T, peers auth.Peers) credentials.PerRPCCredentials {
	c, err := auth.NewPeerCredentials(peers)
	require.NoError(t, err)
	return c
}

// Each call makes a connection of its own while all certificates, and then the CA,
// are replaced.
func TestCertificates_AreReplacedUnderLoad(t *testing.T) {
	folder := t.TempDir()
	ca, err := mtls.OpenCA(folder, time.Hour)
	require.NoError(t, err)
	server, client := source(t, ca, domain, "stream-writer"), source(t, ca, domain, "stream-reader")
	address := serveWriter(t, auth.Peers{TrustDomain: domain}, grpc.Creds(mtls.Credentials(server.Server())))
	ctx, cancel := context.WithCancel(t.Context())
	var done atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				dialer := rpc.NewDialer(rpc.DialerConfig{Credentials: mtls.Credentials(client.Client(domain, []string{"stream-writer"}))})
				conn, err := dialer.Conn(address)
				if err == nil {
					_, err = clusterv1.NewWriterServiceClient(conn).Locate(t.Context(), &clusterv1.LocateRequest{})
				}
				_ = dialer.Close()
				if err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				done.Add(1)
			}
		})
	}
	more := func(n int64) {
		want := done.Load() + n
		require.Eventually(t, func() bool { return done.Load() >= want || t.Failed() }, 30*time.Second, time.Millisecond)
	}
	issue := func(ca *mtls.CA) {
		for _, role := range []string{"stream-writer", "stream-reader"} {
			_, err := ca.IssueRole(domain, role, time.Hour)
			require.NoError(t, err)
			more(10)
		}
	}
	for range 5 {
		issue(ca)
	}

	// A new CA: first trusted beside the old one, then used, then alone.
	next, err := mtls.OpenCA(t.TempDir(), time.Hour)
	require.NoError(t, err)
	both := append(read(t, ca.File()), read(t, next.File())...)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "both"), both, 0o600))
	require.NoError(t, os.Rename(filepath.Join(folder, "both"), ca.File()))
	more(10)
	for _, role := range []string{"stream-writer", "stream-reader"} {
		files, err := next.IssueRole(domain, role, time.Hour)
		require.NoError(t, err)
		// Key and certificate change one after the other: between, the old pair is used.
		require.NoError(t, os.WriteFile(filepath.Join(folder, role+"-key.pem"), read(t, files.Key), 0o600))
		more(5)
		require.NoError(t, os.WriteFile(filepath.Join(folder, role+".pem"), read(t, files.Cert), 0o600))
		more(10)
	}
	require.NoError(t, os.WriteFile(ca.File(), read(t, next.File()), 0o600))
	more(10)
	cancel()
	load.Wait()
	old, err := mtls.OpenCA(t.TempDir(), time.Hour)
	require.NoError(t, err)
	_, locate, _ := calls(t, dial(t, source(t, old, domain, "stream-reader"), address))
	require.Equal(t, codes.Unavailable, locate)
}

func read(t *testing.T, path string) []byte {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

// A token alone, even the root token, does not make up for the secret.
func TestPeerSecret_LetsPeersInAndNobodyElse(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	address := serveWriter(t, auth.Peers{Secret: secret})
	for given, want := range map[string]codes.Code{secret: codes.OK, secret[1:]: codes.PermissionDenied, "": codes.PermissionDenied} {
		c := rpc.DialerConfig{}
		if given != "" {
			c.PerCall = perCall(t, auth.Peers{Secret: given})
		}
		dialer := rpc.NewDialer(c)
		t.Cleanup(func() { _ = dialer.Close() })
		conn, err := dialer.Conn(address)
		require.NoError(t, err)
		handOver, locate, send := calls(t, conn)
		require.Equal(t, []codes.Code{want, want, want}, []codes.Code{handOver, locate, send}, "with %q", given)
	}
}

func TestOpen_NamesTheFileThatIsNotFit(t *testing.T) {
	ca := newCA(t)
	files, err := ca.IssueRole(domain, "router", time.Hour)
	require.NoError(t, err)
	for want, change := range map[string]func(*mtls.Files){
		"nowhere.pem":         func(f *mtls.Files) { f.Cert = "nowhere.pem" },
		"private key":         func(f *mtls.Files) { f.Key = keyOfAnother(t) },
		"there is none in ":   func(f *mtls.Files) { f.CA = files.Key },
		"no such file or dir": func(f *mtls.Files) { f.CA = "nowhere.pem" },
	} {
		changed := files
		change(&changed)
		_, err := mtls.Open(changed, mtls.Options{})
		require.ErrorContains(t, err, want)
	}
}

func keyOfAnother(t *testing.T) string {
	files, err := newCA(t).IssueRole(domain, "router", time.Hour)
	require.NoError(t, err)
	return files.Key
}
