package objstore

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func openS3(ctx context.Context, t target, cfg S3Config) (*S3, error) {
	loaded, err := config.LoadDefaultConfig(ctx, loadOptions(cfg)...)
	if err != nil {
		return nil, fmt.Errorf("objstore: storage.s3: %w", err)
	}
	if loaded.Region == "" && cfg.Endpoint == "" {
		return nil, fmt.Errorf(`objstore: storage.s3.region = "" and the environment names none: set it to the region of bucket %q`, t.bucket)
	}
	httpClient, err := newHTTPClient(loaded.HTTPClient)
	if err != nil {
		return nil, err
	}
	loaded.HTTPClient = httpClient
	return &S3{
		client: s3.NewFromConfig(loaded, clientOptions(cfg)),
		idle:   httpClient,
		bucket: t.bucket,
		prefix: t.prefix,
		put:    putOptions(cfg.Endpoint == "" || strings.HasPrefix(cfg.Endpoint, "https://")),
	}, nil
}

func loadOptions(cfg S3Config) []func(*config.LoadOptions) error {
	load := []func(*config.LoadOptions) error{
		// The SDK's own kind of client, so that it can add AWS_CA_BUNDLE to it.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithDialerOptions(tuneDialer).WithTransportOptions(tuneTransport)),
		// Servers like S3 don't all know the checksums that the SDK now sends and
		// asks for by default. Every object of ours carries its own.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if cfg.Region != "" {
		load = append(load, config.WithRegion(cfg.Region))
	}
	if cfg.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(cfg.AccessKeyID, cfg.SecretAccessKey, "")))
	}
	if cfg.CAFile != "" {
		load = append(load, withCAFile(cfg.CAFile))
	}
	return load
}

func withCAFile(path string) func(*config.LoadOptions) error {
	return func(o *config.LoadOptions) error {
		pem, err := os.ReadFile(path) //nolint:gosec // storage.s3.ca_file, the operator's
		if err != nil {
			return fmt.Errorf("storage.s3.ca_file: %w", err)
		}
		return config.WithCustomCABundle(bytes.NewReader(pem))(o)
	}
}

// newHTTPClient makes the plain client out of the SDK's, which hides its
// connections from whoever wants to close them. It follows no redirects: a
// signature is good for one host.
func newHTTPClient(built aws.HTTPClient) (*http.Client, error) {
	buildable, ok := built.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("objstore: the AWS SDK gave a %T for an HTTP client", built)
	}
	return &http.Client{
		Transport:     buildable.GetTransport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func clientOptions(cfg S3Config) func(*s3.Options) {
	return func(o *s3.Options) {
		o.UsePathStyle = cfg.PathStyle
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
		if o.Region == "" {
			o.Region = "us-east-1" // what servers with an endpoint of their own expect
		}
		// Waiting for "100 Continue" would cost each large put a round trip.
		o.ContinueHeaderThresholdBytes = -1
	}
}

// putOptions: no repeats, and over TLS no SHA-256 of the body beside TLS's own
// integrity; without TLS the signature has to cover it.
func putOptions(tls bool) func(*s3.Options) {
	return func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{}
		if tls {
			o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}
	}
}

func tuneDialer(d *net.Dialer) {
	d.Timeout = 5 * time.Second
	d.KeepAlive = 15 * time.Second
}

// tuneTransport keeps as many connections as a busy writer and its readers use
// at once. Deadlines of whole calls are the callers'; these end what would hang.
func tuneTransport(t *http.Transport) {
	t.TLSHandshakeTimeout = 5 * time.Second
	t.ResponseHeaderTimeout = 30 * time.Second
	t.IdleConnTimeout = 60 * time.Second
	t.MaxIdleConns = 1024
	t.MaxIdleConnsPerHost = 256
	t.WriteBufferSize = 64 << 10
	t.ReadBufferSize = 64 << 10
	t.DisableCompression = true
}
