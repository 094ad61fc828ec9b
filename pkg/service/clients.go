package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/telemetry"
)

// etcd is a client that connects by itself, as often as it takes.
func (p *platform) etcd(lc fx.Lifecycle, log *zap.Logger) (*clientv3.Client, error) {
	s := p.config.Server
	secured, err := p.outside(mtls.Files{CA: s.EtcdCAFile, Cert: s.EtcdCertFile, Key: s.EtcdKeyFile}, log)
	if err != nil {
		return nil, fmt.Errorf("server.etcd_ca_file, etcd_cert_file, etcd_key_file: %w", err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            s.EtcdEndpoints,
		TLS:                  secured,
		DialTimeout:          3 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		PermitWithoutStream:  true,
		Logger:               log.Named("etcd"),
	})
	if err != nil {
		return nil, fmt.Errorf("server.etcd_endpoints = %q: %w", redacted(s.EtcdEndpoints), err)
	}
	lc.Append(fx.StopHook(func() error {
		if err := client.Close(); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}))
	return client, nil
}

// nats is a connection that comes up when NATS does. What is published without
// it is lost, not kept: hints that come late help nobody.
func (p *platform) nats(lc fx.Lifecycle, health *telemetry.Health, log *zap.Logger) (*nats.Conn, error) {
	log = log.Named("nats")
	n := p.config.NATS
	secured, err := p.outside(mtls.Files{CA: n.CAFile, Cert: n.CertFile, Key: n.KeyFile}, log)
	if err != nil {
		return nil, fmt.Errorf("nats.ca_file, cert_file, key_file: %w", err)
	}
	secure := func(*nats.Options) error { return nil }
	if secured != nil {
		secure = nats.Secure(secured)
	}
	conn, err := nats.Connect(strings.Join(n.URLs, ","),
		nats.Name(p.config.Observability.ServiceName+" "+p.config.Server.Instance()),
		secure,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.Timeout(2*time.Second),
		nats.PingInterval(5*time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(c *nats.Conn) { log.Info("connected to NATS", zap.String("url", c.ConnectedUrlRedacted())) }),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected to NATS again", zap.String("url", c.ConnectedUrlRedacted())) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("lost NATS; trying again", zap.Error(err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS", zap.Error(err)) }),
	)
	if err != nil {
		return nil, fmt.Errorf("nats.urls = %q: %w", redacted(n.URLs), err)
	}
	if !conn.IsConnected() {
		log.Warn("NATS does not answer; trying again", zap.Strings("urls", redacted(n.URLs)))
	}
	health.Watch("nats", func() error { return natsState(conn) })
	lc.Append(fx.StopHook(conn.Close))
	return conn, nil
}

// redacted are addresses as they may be logged.
func redacted(urls []string) []string {
	shown := make([]string, 0, len(urls))
	for _, u := range urls {
		shown = append(shown, config.RedactURLs(u))
	}
	return shown
}

// outside is the TLS configuration for a server beside the cluster; nil: as its
// address says, with the system's CAs.
func (p *platform) outside(files mtls.Files, log *zap.Logger) (*tls.Config, error) {
	if files == (mtls.Files{}) {
		return nil, nil
	}
	source, err := mtls.Open(files, p.config.TLS.options(log))
	if err != nil {
		return nil, err
	}
	return source.Outside(), nil
}

// newBus carries the hints of this cluster alone, also on a NATS that others use.
func newBus(lc fx.Lifecycle, conn *nats.Conn, cluster objstore.Cluster, reg prometheus.Registerer, tracer trace.TracerProvider, log *zap.Logger) (*notify.Bus, error) {
	bus, err := notify.New(conn, notify.Options{
		Cluster: cluster.ID.String(), Log: log.Named("notify"), Registerer: reg, Propagator: rpc.Propagator(), Tracer: tracer,
	})
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return bus.Close(ctx)
	}))
	return bus, nil
}

func natsState(conn *nats.Conn) error {
	if conn.IsConnected() {
		return nil
	}
	return errors.New("not connected: live readers poll instead")
}
