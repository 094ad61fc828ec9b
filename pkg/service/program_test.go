package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
)

type brokenListener struct {
	failed chan struct{}
	once   sync.Once
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.failed) })
	return nil, errors.New("the socket is gone")
}
func (*brokenListener) Close() error   { return nil }
func (*brokenListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// runProgram is a program that this test binary becomes when it is started with
// SAMSA_TEST_PROGRAM: it prints what it does, and stops as fast or as slowly as
// the variable says.
func runProgram() {
	c := Default()
	slow := os.Getenv("SAMSA_TEST_PROGRAM") == "slow"
	Main(Program{Name: "test", Config: &c, Module: func() fx.Option {
		return fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.StartStopHook(func() { println("started") }, func(ctx context.Context) {
				println("stopping")
				if slow {
					<-ctx.Done()
				}
				println("stopped")
			}))
		})
	}})
}

// program is such a program's process.
type program struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func runTestProgram(t *testing.T, mode string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), "SAMSA_TEST_PROGRAM="+mode, "METRICS_PORT=-1", "LOG_LEVEL=error")
	out, err := p.StderrPipe()
	require.NoError(t, err)
	p.lines = bufio.NewScanner(out)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

func (p *program) expect(t *testing.T, line string) {
	t.Helper()
	require.True(t, p.lines.Scan(), "waiting for %q", line)
	require.Equal(t, line, strings.TrimSpace(p.lines.Text()))
}

func TestMain_StopsInOrderOnSIGTERMAndSIGINT(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := runTestProgram(t, "fast")
		p.expect(t, "started")
		require.NoError(t, p.Process.Signal(s))
		p.expect(t, "stopping")
		p.expect(t, "stopped")
		require.NoError(t, p.Wait(), "exit code 0")
	}
}

func TestMain_EndsAtOnceOnASecondSignal(t *testing.T) {
	p := runTestProgram(t, "slow")
	p.expect(t, "started")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.expect(t, "stopping")
	begun := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.expect(t, "told twice: ending at once")
	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(), &exit)
	require.Equal(t, ExitFailed, exit.ExitCode())
	require.Less(t, time.Since(begun), StopTimeout/2)
}

func TestRunApp_ReportsWhyItCouldNotStart(t *testing.T) {
	var stderr strings.Builder
	code := RunApp(func() *fx.App {
		return fx.New(fx.NopLogger, fx.Invoke(func() error { return errors.New("no such bucket") }))
	}, &stderr)
	require.Equal(t, ExitFailed, code)
	require.Equal(t, "could not start: no such bucket\n", stderr.String())
}

// raise sends this process a signal and returns once it has been delivered.
func raise(t *testing.T) {
	delivered := make(chan os.Signal, 1)
	signal.Notify(delivered, syscall.SIGTERM)
	defer signal.Stop(delivered)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Error(err)
		return
	}
	<-delivered
}

// surviveSignals keeps those that nobody hears from ending the test.
func surviveSignals(t *testing.T) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGTERM)
	t.Cleanup(func() { signal.Stop(ignored) })
}

func TestRunApp_EndsOnASignalWhileItBuilds(t *testing.T) {
	surviveSignals(t)
	built := make(chan struct{})
	code := RunApp(func() *fx.App {
		defer close(built)
		raise(t)
		return fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle) {
			lc.Append(fx.StartHook(func() { t.Error("started") }))
		}))
	}, io.Discard)
	<-built
	require.Equal(t, ExitFailed, code)
}

// Both signals come before RunApp has had the time to do anything about the
// first.
func TestRunApp_HearsTwoSignalsInARow(t *testing.T) {
	surviveSignals(t)
	for range 100 {
		var stderr strings.Builder
		ended := make(chan struct{})
		code := RunApp(func() *fx.App {
			return fx.New(fx.NopLogger, fx.StopTimeout(time.Second), fx.Invoke(func(lc fx.Lifecycle) {
				lc.Append(fx.StartStopHook(func() { raise(t); raise(t) }, func(ctx context.Context) {
					select {
					case <-ended:
					case <-ctx.Done():
					}
				}))
			}))
		}, &stderr)
		close(ended)
		require.Equal(t, ExitFailed, code)
		require.Equal(t, "told twice: ending at once\n", stderr.String())
	}
}

func TestRunApp_EndsWithTheExitCodeOfShutdown(t *testing.T) {
	var stderr strings.Builder
	code := RunApp(func() *fx.App {
		return fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle, s fx.Shutdowner) {
			lc.Append(fx.StartHook(func() error { return s.Shutdown(fx.ExitCode(3)) }))
		}))
	}, &stderr)
	require.Equal(t, 3, code)
	require.Empty(t, stderr.String())
}
