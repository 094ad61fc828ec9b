package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
	"github.com/samsa-io/samsa/pkg/objstore"
)

const (
	accessKeyID  = "samsa" // owns the bucket, over restarts
	region       = "us-east-1"
	startTimeout = 20 * time.Second
	portAttempts = 5
)

// Bucket is the bucket that a server starts with.
const Bucket = "samsa"

// Server is a running versitygw.
type Server struct {
	Endpoint string // http://127.0.0.1:port
	folder   string
	secret   string // random: another server that took the port does not let us in
	output   *tail
	process  *os.Process
	exited   chan struct{} // closed once the process is gone
	stop     sync.Once
}

// Start runs a server on a free port of loopback, with its objects below folder,
// and returns when it answers and has its bucket. End it with [Server.Stop].
func Start(ctx context.Context, folder string) (*Server, error) {
	binary, err := Binary(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		s, err := startOnce(ctx, binary, folder)
		// Somebody else may have taken the port since it was found free.
		if err == nil || !errors.Is(err, errExited) || attempt == portAttempts {
			return s, err
		}
	}
}

func startOnce(ctx context.Context, binary, folder string) (*Server, error) {
	port, err := ports.Free()
	if err != nil {
		return nil, err
	}
	return startAt(ctx, binary, folder, ports.Address(port))
}

func startAt(ctx context.Context, binary, folder, address string) (*Server, error) {
	buckets, iam := filepath.Join(folder, "buckets"), filepath.Join(folder, "iam")
	if err := errors.Join(os.MkdirAll(buckets, 0o755), os.MkdirAll(iam, 0o755)); err != nil {
		return nil, err
	}
	s := &Server{
		Endpoint: "http://" + address, folder: folder, secret: rand.Text(), output: &tail{}, exited: make(chan struct{}),
	}
	args := []string{"--port", address, "--access", accessKeyID, "--secret", s.secret, "--region", region,
		"--iam-dir", iam, "--quiet", "--keep-alive", "posix"}
	if !extendedAttributes(buckets) {
		args = append(args, "--sidecar", filepath.Join(folder, "metadata"))
		if err := os.MkdirAll(filepath.Join(folder, "metadata"), 0o755); err != nil {
			return nil, err
		}
	}
	if err := s.run(binary, append(args, buckets)); err != nil {
		return nil, err
	}
	if err := s.createBucket(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// run starts the process on a thread of its own, which waits for it: the kernel
// ends the child with the thread that made it, not with the process.
func (s *Server) run(binary string, args []string) error {
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.exited)
		err := cmd.Start()
		s.process = cmd.Process
		started <- err
		if err == nil {
			// How it ended does not matter: Stop kills it, and who waits for its
			// first answer looks at exited.
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", binary, err)
	}
	return nil
}

// Stop kills the server and waits for its end.
func (s *Server) Stop() {
	s.stop.Do(func() {
		// Fails only when it is gone already.
		_ = s.process.Kill()
	})
	<-s.exited
}

// PID is the server's process id, for tests that stop or kill it.
func (s *Server) PID() int { return s.process.Pid }

// Config opens the server's bucket, below prefix ("" for all of it).
func (s *Server) Config(prefix string) objstore.Config {
	return objstore.Config{
		URL: strings.TrimSuffix("s3://"+Bucket+"/"+prefix, "/"),
		S3: objstore.S3Config{
			Endpoint:        s.Endpoint,
			Region:          region,
			PathStyle:       true,
			AccessKeyID:     accessKeyID,
			SecretAccessKey: s.secret,
		},
	}
}

var errExited = errors.New("it exited")

// createBucket asks until the server answers.
func (s *Server) createBucket(ctx context.Context) error {
	client := awss3.New(awss3.Options{
		BaseEndpoint: &s.Endpoint, Region: region, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKeyID, s.secret, ""),
	})
	for {
		_, err := client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String(Bucket)})
		var owned *types.BucketAlreadyOwnedByYou
		if err == nil || errors.As(err, &owned) {
			return nil
		}
		if err := s.pause(ctx, err); err != nil {
			return err
		}
	}
}

func (s *Server) pause(ctx context.Context, last error) error {
	select {
	case <-s.exited:
		return fmt.Errorf("versitygw at %s: %w; it said: %s", s.Endpoint, errExited, s.output)
	case <-ctx.Done():
		return fmt.Errorf("versitygw at %s does not answer: %w; last: %w; it said: %s", s.Endpoint, ctx.Err(), last, s.output)
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// tail keeps the last of what the server said.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
