package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/service"
	router "github.com/samsa-io/samsa/services/router/app"
	"github.com/samsa-io/samsa/services/samsa/internal/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

const root = "root-token-of-the-tests-0123456789abcdef"

// site is the whole system in this process, with authentication on.
type site struct {
	t       *testing.T
	conn    *grpc.ClientConn // to the router
	dialer  *rpc.Dialer      // to the services, past the router
	catalog *catalog.Catalog
	http    string
	log     *journal
	number  atomic.Int64

	mu      sync.Mutex
	secrets []string
}

// journal is the log of the whole system.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func startSite(t *testing.T, change ...func(*settings.All)) *site {
	all := settings.Default()
	p := &all.Platform
	p.Auth.RootToken = root
	p.Server.Port, p.Server.HTTPPort = 0, 0
	p.Server.DrainDelayMS = 0
	p.Observability.MetricsPort = -1
	p.Storage.URL = "file://" + filepath.Join(t.TempDir(), "store")
	p.Storage.ShardCount = 4
	p.Server.NodeID = "dev"
	point(&all, &dependencies{
		etcd: &etcd.Server{Endpoint: etcd.ForTest(t).Endpoint},
		nats: &nats.Server{URL: nats.ForTest(t).URL}, postgres: &postgres.Server{URL: postgres.ForTest(t)},
	})
	for _, f := range change {
		f(&all)
	}
	s := &site{t: t, log: &journal{}}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(s.log), zap.DebugLevel))
	var at *router.Listening
	app := fx.New(service.Platform(*p, service.WithLogger(log)), modules(all), fx.Populate(&s.dialer, &s.catalog, &at))
	require.NoError(t, app.Err())
	require.NoError(t, app.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, app.Stop(context.Background())) })
	s.http = "http://" + at.HTTP
	transport := insecure.NewCredentials()
	if p.TLS.PublicCertFile != "" {
		transport = credentials.NewTLS(publicTLS(t, p.TLS.CAFile))
	}
	var err error
	s.conn, err = grpc.NewClient(at.GRPC, grpc.WithTransportCredentials(transport))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.conn.Close() })
	s.usable()
	return s
}

// publicTLS is a client's that trusts one CA.
func publicTLS(t *testing.T, ca string) *tls.Config {
	pem, err := os.ReadFile(ca)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	return &tls.Config{RootCAs: roots}
}

// usable waits until every service is found and the shards have an owner.
func (s *site) usable() {
	ctx := as(s.t.Context(), root)
	require.Eventually(s.t, func() bool {
		_, err := s.account().CreateBucket(ctx, &samsav1.CreateBucketRequest{Bucket: "probe", Config: creating()})
		return err == nil || status.Code(err) == codes.AlreadyExists
	}, time.Minute, 20*time.Millisecond)
	require.Eventually(s.t, func() bool {
		_, err := s.streams().Append(ctx, &samsav1.AppendRequest{Bucket: "probe", Stream: "s", Records: records("x")})
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	require.Eventually(s.t, func() bool {
		_, err := s.streams().Read(ctx, &samsav1.ReadRequest{Bucket: "probe", Stream: "s"})
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	_, err := s.account().DeleteBucket(ctx, &samsav1.DeleteBucketRequest{Bucket: "probe"})
	require.NoError(s.t, err)
}

func (s *site) account() samsav1.AccountServiceClient { return samsav1.NewAccountServiceClient(s.conn) }
func (s *site) buckets() samsav1.BucketServiceClient  { return samsav1.NewBucketServiceClient(s.conn) }
func (s *site) streams() samsav1.StreamServiceClient  { return samsav1.NewStreamServiceClient(s.conn) }

// unique is a name that no other test has.
func (s *site) unique(text string) string { return fmt.Sprintf("%s-%d", text, s.number.Add(1)) }

func creating() *samsav1.BucketConfig {
	return &samsav1.BucketConfig{CreateStreamOnAppend: new(true), CreateStreamOnRead: new(true)}
}

func records(bodies ...string) []*samsav1.AppendRecord {
	var all []*samsav1.AppendRecord
	for _, body := range bodies {
		all = append(all, &samsav1.AppendRecord{Body: []byte(body)})
	}
	return all
}

func command(name, body string) *samsav1.AppendRecord {
	return &samsav1.AppendRecord{Headers: []*samsav1.Header{{Value: []byte(name)}}, Body: []byte(body)}
}

// as is a context of calls with a token; "": none.
func as(ctx context.Context, secret string) context.Context {
	if secret == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
}

func exact(name string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Exact{Exact: name}}
}

func prefix(text string) *samsav1.ResourceSet {
	return &samsav1.ResourceSet{Matching: &samsav1.ResourceSet_Prefix{Prefix: text}}
}

// operations are all but those given.
func operations(without ...samsav1.Operation) []samsav1.Operation {
	var all []samsav1.Operation
next:
	for number := range samsav1.Operation_name {
		for _, op := range without {
			if samsav1.Operation(number) == op {
				continue next
			}
		}
		if number != 0 {
			all = append(all, samsav1.Operation(number))
		}
	}
	return all
}

func scope(buckets, streams, tokens *samsav1.ResourceSet, ops []samsav1.Operation) *samsav1.AccessTokenScope {
	return &samsav1.AccessTokenScope{Buckets: buckets, Streams: streams, AccessTokens: tokens, Ops: ops}
}

// issue makes a token, past the API and its rules.
func (s *site) issue(t *testing.T, token catalog.AccessToken) string {
	if token.ID == "" {
		token.ID = s.unique("token")
	}
	secret, err := s.catalog.IssueAccessToken(t.Context(), token)
	require.NoError(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, secret)
	return secret
}

func (s *site) token(t *testing.T, scope *samsav1.AccessTokenScope) string {
	return s.issue(t, catalog.AccessToken{Scope: scope})
}

// outcome is what becomes of a call: its code, and the type of its error.
type outcome struct {
	code codes.Code
	kind samsav1.ErrorCode
}

func outcomeOf(err error) outcome {
	return outcome{status.Code(err), rpc.Detail(err).GetCode()}
}

var (
	fine      = outcome{}
	unknown   = outcome{codes.Unauthenticated, samsav1.ErrorCode_ERROR_CODE_INVALID_ACCESS_TOKEN}
	expired   = outcome{codes.Unauthenticated, samsav1.ErrorCode_ERROR_CODE_ACCESS_TOKEN_EXPIRED}
	forbidden = outcome{codes.PermissionDenied, samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED}
)

func requireOutcome(t *testing.T, want outcome, err error) {
	t.Helper()
	require.Equal(t, want, outcomeOf(err), "%v", err)
	if err != nil {
		require.NotEmpty(t, rpc.Detail(err).GetRequestId())
	}
}

// auditOf is the audit log's last line about a resource.
func (s *site) auditOf(t *testing.T, key, value string) map[string]any {
	var last map[string]any
	for line := range strings.Lines(s.log.String()) {
		entry := map[string]any{}
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if strings.HasSuffix(fmt.Sprint(entry["logger"]), "audit") && entry[key] == value {
			last = entry
		}
	}
	require.NotNil(t, last, "no audit line with %s = %q", key, value)
	return last
}
