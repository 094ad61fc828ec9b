package app

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/router/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(t *testing.T) config.Config {
	c := config.Default()
	c.Platform.Server.NodeID, c.Platform.Server.EtcdEndpoints = "router-1", []string{"http://127.0.0.1:1"}
	c.Platform.Server.Port, c.Platform.Server.HTTPPort = 0, 0
	c.Platform.Storage.URL = "file://" + filepath.Join(t.TempDir(), "store")
	c.Platform.Observability.MetricsPort = -1
	c.Platform.Auth.Enabled = false
	return c
}

func newApp(t *testing.T, c config.Config, more ...fx.Option) (*fx.App, *Listening) {
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	var at *Listening
	app := fx.New(append(more, service.Platform(c.Platform, service.WithLogger(log)), Module(c), fx.Populate(&at))...)
	require.NoError(t, app.Err())
	require.NoError(t, app.Start(t.Context()))
	return app, at
}

func get(t *testing.T, url string) (int, string) {
	transport := &http.Transport{DisableKeepAlives: true}
	got, err := (&http.Client{Transport: transport}).Get(url)
	require.NoError(t, err)
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	return got.StatusCode, string(body)
}

func TestRouter_AnswersWithoutEtcdThatItFindsNobody(t *testing.T) {
	app, at := newApp(t, testConfig(t))
	code, body := get(t, "http://"+at.HTTP+"/api/v1/buckets")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "no account service is alive")
	code, _ = get(t, "http://"+at.HTTP+"/healthz")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, app.Stop(context.Background()))
}

// services answers lists of buckets, and read sessions that follow for ever.
type services struct {
	samsav1.UnimplementedAccountServiceServer
	samsav1.UnimplementedStreamServiceServer
}

func (services) ListBuckets(context.Context, *samsav1.ListBucketsRequest) (*samsav1.ListBucketsResponse, error) {
	return &samsav1.ListBucketsResponse{Buckets: []*samsav1.BucketInfo{{Name: "logs"}}}, nil
}

func (services) ReadSession(_ *samsav1.ReadSessionRequest, ss samsav1.StreamService_ReadSessionServer) error {
	if err := ss.Send(&samsav1.ReadSessionResponse{Tail: &samsav1.Tail{}}); err != nil {
		return err
	}
	<-ss.Context().Done()
	return ss.Context().Err()
}

func serveServices(lc fx.Lifecycle, host *service.Host) error {
	for role, register := range map[string]func(*grpc.Server){
		"account":       func(s *grpc.Server) { samsav1.RegisterAccountServiceServer(s, services{}) },
		"stream-reader": func(s *grpc.Server) { samsav1.RegisterStreamServiceServer(s, services{}) },
	} {
		if _, err := host.Serve(lc, service.Endpoint{Role: role, Listen: "inproc:" + role, Register: register}); err != nil {
			return err
		}
	}
	return nil
}

func TestRouter_FindsServicesAndEndsSessionsWhenItStops(t *testing.T) {
	c := testConfig(t)
	c.Platform.Server.EtcdEndpoints = []string{etcd.ForTest(t).Endpoint}
	app, at := newApp(t, c, fx.Module("services", fx.Invoke(serveServices))) // before the router, so stopped after it
	url := "http://" + at.HTTP + "/api/v1/buckets"
	require.Eventually(t, func() bool {
		code, body := get(t, url)
		return code == http.StatusOK && strings.Contains(body, `"logs"`)
	}, 10*time.Second, 10*time.Millisecond)

	session, err := http.Get(url + "/logs/streams/a/session")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, session.StatusCode)
	begun := time.Now()
	require.NoError(t, app.Stop(context.Background()))
	require.Less(t, time.Since(begun), 8*time.Second, "it waited for the drain's end")
	body, err := io.ReadAll(session.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `{"error":{"code":"ERROR_CODE_SERVICE_UNAVAILABLE"`)
	require.NoError(t, session.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}
