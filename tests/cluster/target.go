package cluster

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/client"
)

// Target is a system under test, whatever it is made of.
type Target interface {
	// Name tells it from others in the output.
	Name() string
	// Address is where it speaks gRPC, as a URL for clients.
	Address() string
	// HTTP is the base URL of REST; gRPC is spoken there too.
	HTTP() string
}

// Client connects to a target for as long as the test runs.
func Client(t testing.TB, target Target, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(target.Address(), append(clientOptions(target), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Dial opens a plain gRPC connection to host:port for as long as the test runs.
func Dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// waitUsable waits until every kind of call gets to where it belongs: programs
// that have just started must first learn of each other.
func waitUsable(t testing.TB, conn *grpc.ClientConn, through string) {
	t.Helper()
	stream := samsav1.NewStreamServiceClient(conn)
	name := struct{ bucket, stream string }{"no-such-bucket", "none"}
	probes := map[string]func(context.Context) error{
		"account": func(ctx context.Context) error {
			_, err := samsav1.NewAccountServiceClient(conn).GetBucketConfig(ctx, &samsav1.GetBucketConfigRequest{Bucket: name.bucket})
			return err
		},
		"bucket": func(ctx context.Context) error {
			_, err := samsav1.NewBucketServiceClient(conn).ListStreams(ctx, &samsav1.ListStreamsRequest{Bucket: name.bucket})
			return err
		},
		"stream-writer": func(ctx context.Context) error {
			_, err := stream.CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: name.bucket, Stream: name.stream})
			return err
		},
		"stream-reader": func(ctx context.Context) error {
			_, err := stream.Read(ctx, &samsav1.ReadRequest{Bucket: name.bucket, Stream: name.stream})
			return err
		},
	}
	for role, probe := range probes {
		Eventually(t, startPatience, role+" can be reached through "+through, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := probe(ctx); status.Code(err) != codes.NotFound {
				return err
			}
			return nil
		})
	}
}

// Eventually tries until it gets nil, and fails the test with the last error when
// patience ends.
func Eventually(t testing.TB, patience time.Duration, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; last: %v", patience, what, err)
		}
		time.Sleep(pollEvery)
	}
}
