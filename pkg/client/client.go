package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Flow-control windows and buffers. The windows bound what a slow consumer makes
// the client hold: windowBytes for each session, connWindowBytes in all for each
// connection.
const (
	windowBytes     = 8 << 20
	connWindowBytes = 64 << 20
	ioBufferBytes   = 256 << 10
	maxMessageBytes = 64 << 20
)

// Client speaks to one Samsa address. It is safe for concurrent use.
type Client struct {
	conns []*grpc.ClientConn
	next  atomic.Uint32
	retry Retry
}

// Option changes how New sets a Client up.
type Option func(*options)

type options struct {
	token       string
	tls         *tls.Config
	caFile      string
	retry       Retry
	connections int
	userAgent   string
}

// WithToken sends the access token with every call.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithTLS sets the TLS configuration of an https:// address.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithCAFile checks the certificate of an https:// address with the CAs of a PEM file
// instead of the system's.
func WithCAFile(path string) Option { return func(o *options) { o.caFile = path } }

// WithRetry sets when and how failed calls are made again.
func WithRetry(retry Retry) Option { return func(o *options) { o.retry = retry } }

// WithConnections spreads calls and sessions over so many connections (1).
func WithConnections(count int) Option {
	return func(o *options) { o.connections = max(count, 1) }
}

// WithUserAgent names the calling program in the server's logs.
func WithUserAgent(name string) Option { return func(o *options) { o.userAgent = name } }

// New makes a client of the server at address, such as http://127.0.0.1:50052
// or https://samsa.example. It connects when first used.
func New(address string, opts ...Option) (*Client, error) {
	o := options{retry: DefaultRetry(), connections: 1, userAgent: "samsa-go"}
	for _, opt := range opts {
		opt(&o)
	}
	target, secure, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	if err := o.trust(); err != nil {
		return nil, err
	}
	c := &Client{retry: o.retry.withDefaults()}
	for range o.connections {
		conn, err := grpc.NewClient(target, o.dial(secure)...)
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("address %q: %w", address, err)
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Close ends the connections and with them all calls and sessions.
func (c *Client) Close() error {
	var first error
	for _, conn := range c.conns {
		if err := conn.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// parseAddress turns a URL, or a bare host:port, into a gRPC target.
func parseAddress(address string) (target string, secure bool, err error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("address %q: %w", address, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", false, fmt.Errorf("address %q: want http:// or https://, not %s://", address, u.Scheme)
	case u.Hostname() == "":
		return "", false, fmt.Errorf("address %q has no host: want such as http://127.0.0.1:50052", address)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return "", false, fmt.Errorf("address %q: want no path and no query", address)
	}
	secure = u.Scheme == "https"
	host := u.Host
	if u.Port() == "" {
		host += map[bool]string{false: ":80", true: ":443"}[secure]
	}
	return "dns:///" + host, secure, nil
}

func (o options) dial(secure bool) []grpc.DialOption {
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(o.credentials(secure)),
		grpc.WithUserAgent(o.userAgent),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(connWindowBytes),
		grpc.WithReadBufferSize(ioBufferBytes),
		grpc.WithWriteBufferSize(ioBufferBytes),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes),
			grpc.ForceCodecV2(newCodec()),
		),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// Waiting between attempts is Retry's part; gRPC's own waits stay short.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if o.token != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer(o.token)))
	}
	return dial
}

// trust takes the CAs of caFile.
func (o *options) trust() error {
	if o.caFile == "" {
		return nil
	}
	pem, err := os.ReadFile(o.caFile)
	if err != nil {
		return fmt.Errorf("CA file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("CA file %s: want certificates as PEM, found none", o.caFile)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.tls != nil {
		config = o.tls.Clone()
	}
	config.RootCAs = roots
	o.tls = config
	return nil
}

func (o options) credentials(secure bool) credentials.TransportCredentials {
	if !secure {
		return insecure.NewCredentials()
	}
	if o.tls != nil {
		return credentials.NewTLS(o.tls)
	}
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
}

// bearer sends an access token. It does so without TLS as well: `samsa dev`
// listens on loopback without it.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// conn picks the connections in turn.
func (c *Client) conn() *grpc.ClientConn {
	if len(c.conns) == 1 {
		return c.conns[0]
	}
	return c.conns[int(c.next.Add(1))%len(c.conns)]
}

func (c *Client) account() samsav1.AccountServiceClient {
	return samsav1.NewAccountServiceClient(c.conn())
}

func (c *Client) admin() clusterv1.AdminServiceClient {
	return clusterv1.NewAdminServiceClient(c.conn())
}

func (c *Client) bucket() samsav1.BucketServiceClient {
	return samsav1.NewBucketServiceClient(c.conn())
}

func (c *Client) stream() samsav1.StreamServiceClient {
	return samsav1.NewStreamServiceClient(c.conn())
}
