package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
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

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"

	"github.com/samsa-io/samsa/tests/cluster"
	"github.com/samsa-io/samsa/tests/contract"
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// patience bounds what is not about time, on a busy machine.
const patience = time.Minute

// outageTTL is how long known tokens go on without Postgres, in these tests.
const outageTTL = 20 * time.Second

// site is the system with what tests need of it.
type site struct {
	*cluster.Cluster
	conn    *grpc.ClientConn // to the router, without a token
	web     *http.Client     // the same for REST
	traces  *spans
	names   atomic.Int64
	mu      sync.Mutex
	secrets []string // that were given out
}

func (s *site) account() samsav1.AccountServiceClient { return samsav1.NewAccountServiceClient(s.conn) }
func (s *site) bucket() samsav1.BucketServiceClient   { return samsav1.NewBucketServiceClient(s.conn) }
func (s *site) streams() samsav1.StreamServiceClient  { return samsav1.NewStreamServiceClient(s.conn) }
func (s *site) unique(text string) string             { return fmt.Sprintf("%s-%d", text, s.names.Add(1)) }

// TestAccess runs in order: the last tests take parts of the system away.
func TestAccess(t *testing.T) {
	traces := receiveSpans(t)
	c := cluster.Start(t, cluster.Options{
		Writers: 2, Readers: 1, Routers: 1, Store: cluster.S3, Secured: true,
		Env: append(traces.env(), fmt.Sprintf("SAMSA_AUTH_OUTAGE_TTL_SECS=%d", int(outageTTL.Seconds()))),
	})
	s := &site{Cluster: c, conn: c.Access.Connect(t, c.Address(), ""), traces: traces}
	transport := &http.Transport{TLSClientConfig: c.Access.TLS(t, "")}
	t.Cleanup(transport.CloseIdleConnections)
	s.web = &http.Client{Transport: transport}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"every route and kind of token", everyRoute},
		{"tenants cannot see, guess, count or disturb each other", tenants},
		{"a service with the wrong identity is refused", wrongIdentity},
		{"the command line trusts a private CA", commandLine},
		{"certificates are replaced without a failed request", rotation},
		{"revocation takes effect within a second", revocation},
		{"revocation takes effect within 30 s without NATS", revocationWithoutNATS},
		{"known tokens go on while Postgres is down", outage},
		{"no secret was emitted", secrets},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, s) }) && t.Failed() {
			t.Logf("%s failed", test.name)
		}
	}
}

// as is a context of calls with a token; "": none.
func as(token string) context.Context {
	ctx := context.Background()
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func (s *site) root() context.Context { return as(s.Access.RootToken) }

// issue makes a token through the API.
func (s *site) issue(t *testing.T, info *samsav1.AccessTokenInfo) string {
	t.Helper()
	if info.Id == "" {
		info.Id = s.unique("token")
	}
	issued, err := s.account().IssueAccessToken(s.root(), &samsav1.IssueAccessTokenRequest{Info: info})
	require.NoError(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, issued.GetAccessToken())
	return issued.GetAccessToken()
}

func (s *site) revoke(t *testing.T, id string) {
	t.Helper()
	_, err := s.account().RevokeAccessToken(s.root(), &samsav1.RevokeAccessTokenRequest{Id: id})
	require.NoError(t, err)
}

func (s *site) makeBucket(t *testing.T, name string) string {
	t.Helper()
	_, err := s.account().CreateBucket(s.root(), &samsav1.CreateBucketRequest{
		Bucket: name, Config: &samsav1.BucketConfig{CreateStreamOnAppend: new(true), CreateStreamOnRead: new(true)}})
	require.NoError(t, err)
	return name
}

func (s *site) append(ctx context.Context, bucket, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: stream, Records: records("x")})
	return err
}

func (s *site) tail(ctx context.Context, bucket, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := s.streams().CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: bucket, Stream: stream})
	return err
}

func records(bodies ...string) []*samsav1.AppendRecord {
	var all []*samsav1.AppendRecord
	for _, body := range bodies {
		all = append(all, &samsav1.AppendRecord{Body: []byte(body)})
	}
	return all
}

func exact(name string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: name}}
}

func prefix(text string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: text}}
}

// operations are all but one.
func operations(without samsav1.Operation) []samsav1.Operation {
	var all []samsav1.Operation
	for number := range samsav1.Operation_name {
		if number != 0 && samsav1.Operation(number) != without {
			all = append(all, samsav1.Operation(number))
		}
	}
	return all
}

func scope(buckets, streams, tokens *samsav1.ResourceSet, ops []samsav1.Operation) *samsav1.AccessTokenScope {
	return &samsav1.AccessTokenScope{Buckets: buckets, Streams: streams, AccessTokens: tokens, Ops: ops}
}

// outcome is what becomes of a call, through either door.
type outcome struct {
	code codes.Code
	kind samsav1.ErrorCode
}

var (
	fine      = outcome{}
	unknown   = outcome{codes.Unauthenticated, samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN}
	expired   = outcome{codes.Unauthenticated, samsav1.ErrorCode_ERROR_CODE_ACCESS_TOKEN_EXPIRED}
	forbidden = outcome{codes.PermissionDenied, samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED}
	notNow    = outcome{codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE}
)

// statuses are the HTTP statuses of the codes.
var statuses = map[codes.Code]int{
	codes.Unauthenticated: http.StatusUnauthorized, codes.PermissionDenied: http.StatusForbidden, codes.Unavailable: http.StatusServiceUnavailable,
}

func requireOutcome(t *testing.T, want outcome, err error, about ...any) {
	t.Helper()
	what := fmt.Sprintln(append(about, err)...)
	if code, detail := contract.StatusOf(err); code != 0 {
		require.Equal(t, statuses[want.code], code, what)
		require.Equal(t, want.kind, detail.GetCode(), what)
		return
	}
	require.Equal(t, want, outcome{status.Code(err), rpc.Detail(err).GetCode()}, what)
}

// textOf is all that a client gets to read of an error, but the request's id.
func textOf(err error) string {
	if code, detail := contract.StatusOf(err); code != 0 {
		return fmt.Sprint(code, detail.GetCode(), detail.GetMessage(), detail.GetMetadata(), detail.GetField())
	}
	detail := rpc.Detail(err)
	return fmt.Sprint(status.Convert(err).Message(), detail.GetCode(), detail.GetMessage(), detail.GetMetadata(), detail.GetField())
}

// wrongIdentity: certificates of other roles, of another CA, and none.
func wrongIdentity(t *testing.T, s *site) {
	bucket := s.makeBucket(t, s.unique("identity"))
	require.NoError(t, s.append(s.root(), bucket, "s"))
	other := cluster.NewAccess(t)
	for name, c := range map[string]struct {
		config *tls.Config
		want   codes.Code
	}{
		"a reader's certificate": {s.Access.TLS(t, "stream-reader"), codes.PermissionDenied},
		"the account service's":  {s.Access.TLS(t, "account"), codes.PermissionDenied},
		"another CA's":           {other.TLS(t, "router"), codes.Unavailable},
		"no certificate":         {s.Access.TLS(t, ""), codes.Unavailable},
	} {
		c.config.InsecureSkipVerify = true // names of services are roles, not addresses
		conn := cluster.ConnectWith(t, s.At("stream-writer-0"), credentials.NewTLS(c.config))
		ctx, cancel := context.WithTimeout(s.root(), patience)
		_, err := samsav1.NewStreamServiceClient(conn).Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: "s", Records: records("x")})
		require.Equal(t, c.want, status.Code(err), "append with %s, and the root token: %v", name, err)
		_, err = clusterv1.NewWriterServiceClient(conn).HandOverShard(ctx, &clusterv1.HandOverShardRequest{})
		require.Equal(t, c.want, status.Code(err), "hand over with %s: %v", name, err)
		_, err = clusterv1.NewWriterServiceClient(conn).Drain(ctx, &clusterv1.DrainRequest{})
		require.Equal(t, c.want, status.Code(err), "drain with %s: %v", name, err)
		cancel()
	}
	require.NoError(t, s.append(s.root(), bucket, "s"))
}

func commandLine(t *testing.T, s *site) {
	run := func(env ...string) (string, error) {
		command := exec.Command(cluster.Program(t, "samsa"), "bucket", "list", "--retry-for", "2s")
		command.Env = append(os.Environ(), append(env, "SAMSA_ADDRESS="+s.Address(), "SAMSA_TOKEN="+s.Access.RootToken)...)
		output, err := command.CombinedOutput()
		return string(output), err
	}
	bucket := s.makeBucket(t, s.unique("listed"))
	output, err := run("SAMSA_CA_FILE=" + s.Access.CAFile())
	require.NoError(t, err, output)
	require.Contains(t, output, bucket)
	output, err = run()
	require.Error(t, err)
	require.Contains(t, output, "certificate")
	output, err = run("SAMSA_CA_FILE=/does/not/exist")
	require.Error(t, err)
	require.Contains(t, output, "CA file")
}

// rotation: new certificates for everything, twice, while sessions go on and calls are
// made on new and on old connections.
func rotation(t *testing.T, s *site) {
	bucket := s.makeBucket(t, s.unique("rotation"))
	stop, calls := make(chan struct{}), atomic.Int64{}
	var working sync.WaitGroup
	failures := make(chan error, 100)
	work := func(call func() error) {
		working.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := call(); err != nil {
					failures <- err
					return
				}
				calls.Add(1)
			}
		})
	}
	work(func() error { return s.append(s.root(), bucket, "old") })
	work(func() error {
		conn := s.Access.Connect(t, s.Address(), s.Access.RootToken)
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := samsav1.NewStreamServiceClient(conn).Append(ctx, &samsav1.AppendRequest{Bucket: bucket, Stream: "new", Records: records("x")})
		return err
	})
	session, err := s.streams().AppendSession(s.root())
	require.NoError(t, err)
	work(func() error {
		err := session.Send(&samsav1.AppendSessionRequest{Bucket: bucket, Stream: "session", Records: records("x")})
		if err == nil {
			_, err = session.Recv()
		}
		return err
	})
	for range 2 {
		before := s.served(t)
		s.Access.MakeCerts(t)
		require.Eventually(t, func() bool { return !bytes.Equal(before, s.served(t)) }, patience, 50*time.Millisecond,
			"the router shows the old certificate")
		n := calls.Load()
		require.Eventually(t, func() bool { return calls.Load() > n+20 || len(failures) > 0 }, patience, 10*time.Millisecond)
	}
	// New connections between the services, by the new certificates.
	s.Kill(t, "account-0")
	s.Restart(t, "account-0")
	cluster.Eventually(t, patience, "the new account service is reached", func() error {
		_, err := s.account().ListBuckets(s.root(), &samsav1.ListBucketsRequest{})
		return err
	})
	close(stop)
	working.Wait()
	require.NoError(t, session.CloseSend())
	_, err = session.Recv()
	require.ErrorIs(t, err, io.EOF)
	select {
	case err := <-failures:
		require.NoError(t, err)
	default:
	}
	t.Logf("%d calls on old and new connections while certificates were replaced twice, none failed", calls.Load())
}

// served is the certificate that clients see.
func (s *site) served(t *testing.T) []byte {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.Address(), "https://"), s.Access.TLS(t, ""))
	require.NoError(t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}

func revocation(t *testing.T, s *site) { s.revokes(t, time.Second) }

func revocationWithoutNATS(t *testing.T, s *site) {
	s.NATS.Stop()
	defer s.NATS.Restart()
	s.revokes(t, 30*time.Second)
}

// revokes measures how long a revoked token goes on at the router and at each service.
// Under the race detector on a busy machine the polls take their time too, so a limit
// is doubled.
func (s *site) revokes(t *testing.T, limit time.Duration) {
	bucket, id := s.makeBucket(t, s.unique("revocation")), s.unique("gone")
	ctx := as(s.issue(t, &samsav1.AccessTokenInfo{Id: id, Scope: scope(exact(bucket), prefix(""), nil, operations(0))}))
	calls := map[string]func() error{
		"appends": func() error { return s.append(ctx, bucket, "s") },
		"tails":   func() error { return s.tail(ctx, bucket, "s") },
		"reads": func() error {
			_, err := s.streams().Read(ctx, &samsav1.ReadRequest{Bucket: bucket, Stream: "s"})
			return err
		},
		"lists": func() error {
			_, err := s.bucket().ListStreams(ctx, &samsav1.ListStreamsRequest{Bucket: bucket})
			return err
		},
	}
	require.NoError(t, calls["appends"]())
	for name, call := range calls {
		require.NoError(t, call(), name)
	}
	s.revoke(t, id)
	begun := time.Now()
	slowest := time.Duration(0)
	for name, call := range calls {
		for call() == nil {
			require.Less(t, time.Since(begun), 2*limit, "%s are still allowed", name)
			time.Sleep(10 * time.Millisecond)
		}
		slowest = max(slowest, time.Since(begun))
		requireOutcome(t, unknown, call(), name)
	}
	t.Logf("the revoked token was refused everywhere after %s", slowest.Round(time.Millisecond))
}

// outage: a token that was in use goes on for auth.outage_ttl_secs, one that nobody
// has seen is answered with UNAVAILABLE, and so is the first in the end.
func outage(t *testing.T, s *site) {
	bucket := s.makeBucket(t, s.unique("outage"))
	sc := scope(exact(bucket), prefix(""), nil, operations(0))
	known, fresh := as(s.issue(t, &samsav1.AccessTokenInfo{Scope: sc})), as(s.issue(t, &samsav1.AccessTokenInfo{Scope: sc}))
	cluster.Eventually(t, patience, "the token is in use", func() error { return s.append(known, bucket, "s") })
	begun := time.Now()
	require.NoError(t, s.append(known, bucket, "s"))
	s.StopPostgres(t)
	restarted := false
	defer func() {
		if !restarted {
			s.StartPostgres(t)
		}
	}()
	requireOutcome(t, notNow, s.append(fresh, bucket, "s"))
	for time.Since(begun) < outageTTL/2 {
		require.NoError(t, s.append(known, bucket, "s"))
		time.Sleep(100 * time.Millisecond)
	}
	// It may have been looked up a little before begun at one place, never after.
	cluster.Eventually(t, 30*time.Second+2*outageTTL, "the token ends", func() error {
		if s.append(known, bucket, "s") == nil {
			return errors.New("it is still allowed")
		}
		return nil
	})
	t.Logf("a known token went on for %s, auth.outage_ttl_secs being %s", time.Since(begun).Round(time.Second), outageTTL)
	requireOutcome(t, notNow, s.append(known, bucket, "s"))
	requireOutcome(t, fine, s.append(s.root(), bucket, "s"))
	s.StartPostgres(t)
	restarted = true
	cluster.Eventually(t, patience, "tokens are verified again", func() error {
		return errors.Join(s.append(known, bucket, "s"), s.append(fresh, bucket, "s"))
	})
}
