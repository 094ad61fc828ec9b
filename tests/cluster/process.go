package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startPatience = 2 * time.Minute // race detector, busy machine
	pollEvery     = 20 * time.Millisecond
	logTail       = 12 << 10 // bytes of each log that are printed after a failure
)

// Process is a program that a test runs. It can be started again after its end,
// with the same arguments, environment and log.
type Process struct {
	Name string
	// Stdout has what the program printed there since its last start.
	Stdout string // path
	// Log has what it wrote to stderr, over all starts.
	Log string // path

	path  string
	args  []string
	env   []string
	admin string // host:port of /readyz; "": none

	cmd    *exec.Cmd
	exited chan struct{} // closed once the process is gone
}

// newProcess describes a program; t's end ends it.
func newProcess(t testing.TB, name, path, admin string, args, env []string) *Process {
	folder := t.TempDir()
	p := &Process{
		Name: name, path: path, args: args, env: append(cleanEnviron(), env...), admin: admin,
		Stdout: filepath.Join(folder, "stdout"), Log: filepath.Join(folder, "log"),
	}
	t.Cleanup(func() {
		p.killGroup()
		p.inspect(t)
	})
	return p
}

// cleanEnviron is this process's environment without Samsa's settings.
func cleanEnviron() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "SAMSA_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// Start starts the program; it does not wait for it to be ready. env is added to
// its environment for this run alone.
func (p *Process) Start(t testing.TB, env ...string) {
	t.Helper()
	if p.Running() {
		t.Fatalf("%s runs already", p.Name)
	}
	stdout, err := os.Create(p.Stdout)
	if err == nil {
		defer stdout.Close()
		var log *os.File
		if log, err = os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err == nil {
			defer log.Close()
			err = p.run(stdout, log, env)
		}
	}
	if err != nil {
		t.Fatalf("starting %s: %v", p.Name, err)
	}
}

// run starts the process on a thread of its own, which waits for it: the kernel
// ends the child with the thread that made it, not with the process.
func (p *Process) run(stdout, log *os.File, env []string) error {
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = slices.Concat(p.env, env), stdout, log, ownGroup()
	cmd, exited, started := p.cmd, make(chan struct{}), make(chan error)
	p.exited = exited
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ExitCode tells how it ended
		}
	}()
	return <-started
}

// Running tells whether the process lives.
func (p *Process) Running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode is how a process that has exited ended; -1: by a signal.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Ready tells what /readyz says: nil is yes.
func (p *Process) Ready() error {
	client := http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body := new(bytes.Buffer)
	_, _ = body.ReadFrom(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", body)
	}
	return nil
}

// Metrics is what the program shows on /metrics.
func (p *Process) Metrics(t testing.TB) []byte {
	t.Helper()
	r, err := http.Get("http://" + p.admin + "/metrics") //nolint:noctx // the program is on this machine
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// WaitReady waits until /readyz says yes.
func (p *Process) WaitReady(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(startPatience); ; {
		if !p.Running() {
			t.Fatalf("%s exited with code %d before it was ready; its log ends:\n%s", p.Name, p.ExitCode(), p.LogTail())
		}
		err := p.Ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready after %s: %v; its log ends:\n%s", p.Name, startPatience, err, p.LogTail())
		}
		time.Sleep(pollEvery)
	}
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("sending %s to %s: %v", s, p.Name, err)
	}
}

// SignalGroup sends a signal to the process and its children, as a terminal does.
func (p *Process) SignalGroup(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-p.PID(), s); err != nil {
		t.Fatalf("sending %s to %s and its children: %v", s, p.Name, err)
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	<-p.exited
}

// Stop asks the process to end, with SIGTERM, and returns its exit code.
func (p *Process) Stop(t testing.TB, patience time.Duration) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	return p.WaitExit(t, patience)
}

// WaitExit waits for the process's end and returns its exit code.
func (p *Process) WaitExit(t testing.TB, patience time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s still runs after %s; its log ends:\n%s", p.Name, patience, p.LogTail())
	}
	return p.ExitCode()
}

// killGroup ends whatever is left of the process and its children.
func (p *Process) killGroup() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		_ = p.cmd.Process.Kill()
	}
	<-p.exited
}

// GroupLives tells whether any process of its group is left.
func (p *Process) GroupLives() bool { return syscall.Kill(-p.PID(), 0) == nil }

// LogTail is the end of the log.
func (p *Process) LogTail() string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	if cut := len(content) - logTail; cut > 0 {
		return fmt.Sprintf("[%d bytes before]\n%s", cut, content[cut:])
	}
	return string(content)
}

// disasters are words in a log that no test may leave behind.
var disasters = []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", `"level":"dpanic"`, "recovered from a panic"}

// inspect fails the test for a disaster in the log, and prints the log of a failed
// test.
func (p *Process) inspect(t testing.TB) {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return // never started
	}
	for _, word := range disasters {
		if at := bytes.Index(content, []byte(word)); at >= 0 {
			t.Errorf("%s: %q in its log:\n%s", p.Name, word, content[at:min(len(content), at+logTail)])
			return
		}
	}
	if t.Failed() {
		t.Logf("the log of %s ends:\n%s", p.Name, p.LogTail())
	}
}
