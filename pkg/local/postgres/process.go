package postgres

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// process is a child that ends when we do.
type process struct {
	pid    int
	cmd    *exec.Cmd
	log    *output
	exited chan struct{} // closed when it has ended; err is set before
	err    error
}

func startProcess(dir string, a *account, log *zap.Logger, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), log: &output{log: log}, exited: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = environment(dir)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.WaitDelay = 2 * time.Second // for its children to let go of the output
	// A group of its own: Ctrl-C is ours to handle, in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(p.cmd.SysProcAttr)
	a.apply(p.cmd.SysProcAttr)
	started := make(chan error)
	go p.run(started)
	return p, <-started
}

// run starts the child and waits for it on one thread: Linux sends the parent's
// death signal when the thread ends that started the child.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	if p.err = p.cmd.Start(); p.err != nil {
		started <- p.err
		return
	}
	p.pid = p.cmd.Process.Pid
	started <- nil
	p.err = p.cmd.Wait()
}

// environment is ours without what would steer PostgreSQL elsewhere.
func environment(home string) []string {
	env := []string{"HOME=" + home, "LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process: a server gets a moment to end its children, too.
func (p *process) kill() {
	p.signal(syscall.SIGQUIT) // "immediate shutdown"
	select {
	case <-p.exited:
		return
	case <-time.After(2 * time.Second):
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// lastWords is the end of what the process wrote, as an error.
func (p *process) lastWords() error {
	if said := p.log.end(); said != "" {
		return errors.New(said)
	}
	return nil
}

// output passes a process's lines on to the log and keeps the last ones.
type output struct {
	log *zap.Logger

	mu   sync.Mutex
	part []byte // of a line that has not ended
	last []string
}

const keptLines = 12

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.part = append(o.part, b...)
	for {
		line, rest, whole := bytes.Cut(o.part, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		o.part = rest
		o.line(strings.TrimSpace(string(line)))
	}
}

func (o *output) line(line string) {
	if line == "" {
		return
	}
	o.last = append(o.last, line)
	o.last = o.last[max(0, len(o.last)-keptLines):]
	if strings.HasPrefix(line, "PANIC:") {
		o.log.Warn("PostgreSQL: " + line)
	} else {
		o.log.Debug("PostgreSQL: " + line)
	}
}

func (o *output) end() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(append(o.last[:len(o.last):len(o.last)], strings.TrimSpace(string(o.part))), "\n")
}
