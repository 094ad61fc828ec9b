package proxy

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/route"
)

// A vigil watches whether the owner of a shard goes on answering; all calls that it
// has requests of share one. A paused owner would else keep them until its
// connection is found dead, many seconds after another writer has taken the shard.
//
// While requests wait and no answer comes to any of them for Config.SlowAnswer, the
// owner is looked into, once for all. If it keeps the shard it is only slow, and is
// looked into again after a longer silence. If somebody else owns the shard and the
// silence goes on, this backend has nothing more to say: the calls that wait end.
// Nothing is sent again here but what may be repeated; what became of the rest
// their clients find out.
type vigil struct {
	proxy   *Proxy
	name    stream.Name // of one of the shard's streams
	backend Backend
	ctx     context.Context // ends when the last call has left
	end     context.CancelFunc
	callers int // Proxy.vigils.mu

	mu       sync.Mutex
	waiting  map[*caller]struct{} // those with requests that are not answered
	since    time.Time            // there is silence, or the last look has ended
	answers  uint64
	patience time.Duration
	timer    *time.Timer
	armed    bool // the timer runs, or a look is under way
	over     bool // nobody is left
}

// vigils are a proxy's, by what they watch.
type vigils struct {
	mu  sync.Mutex
	all map[watched]*vigil
}

type watched struct {
	instance string
	shard    stream.Shard
}

// caller is a call's part in a vigil. A nil caller is not watched over.
type caller struct {
	*vigil
	cancel context.CancelFunc // ends the attempt
	// The vigil's mu guards these.
	requests int // without an answer
	left     bool
	ended    bool // the attempt was, by the vigil
}

// mostPatience bounds the pause between two looks at an owner that keeps its
// shard, in units of Config.SlowAnswer.
const mostPatience = 8

// lastWords is how long an owner that has lost its shard may still say what became
// of its requests, in units of Config.SlowAnswer.
const lastWords = 0.2

// watch joins the vigil over the backend.
func (x *exchange) watch(cancel context.CancelFunc, backend Backend) *caller {
	if x.method.Target != route.ShardOwner {
		return nil
	}
	all := &x.proxy.vigils
	all.mu.Lock()
	defer all.mu.Unlock()
	key := watched{backend.Instance, backend.Shard}
	v := all.all[key]
	if v == nil {
		v = &vigil{proxy: x.proxy, name: x.name, backend: backend, patience: x.proxy.config.SlowAnswer, waiting: map[*caller]struct{}{}}
		v.ctx, v.end = context.WithCancel(context.Background())
		v.timer = time.AfterFunc(time.Hour, v.silent)
		v.timer.Stop()
		all.all[key] = v
	}
	v.callers++
	return &caller{vigil: v, cancel: cancel}
}

// leave takes a call out.
func (c *caller) leave() {
	if c == nil || !c.setLeft() {
		return
	}
	all := &c.proxy.vigils
	all.mu.Lock()
	defer all.mu.Unlock()
	if c.callers--; c.callers == 0 {
		delete(all.all, watched{c.backend.Instance, c.backend.Shard})
		c.close()
	}
}

func (c *caller) setLeft() (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first = !c.left
	c.left = true
	delete(c.waiting, c)
	return first
}

func (v *vigil) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	v.timer.Stop()
	v.end()
}

// asked notes a request on its way to the owner.
func (c *caller) asked() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests++; c.requests > 1 || c.left {
		return
	}
	if len(c.waiting) == 0 {
		c.since = time.Now()
	}
	c.waiting[c] = struct{}{}
	c.arm(c.patience)
}

// answered notes the answer to one request.
func (c *caller) answered() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests--; c.requests == 0 {
		delete(c.waiting, c)
	}
	c.answers++
	c.since, c.patience = time.Now(), c.proxy.config.SlowAnswer
}

// arm sets the timer unless it runs. The lock is held.
func (v *vigil) arm(d time.Duration) {
	if !v.armed {
		v.armed = true
		v.timer.Reset(d)
	}
}

// silent has the owner looked into if there was silence for so long; the timer
// calls it.
func (v *vigil) silent() {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch quiet := time.Since(v.since); {
	case v.over:
	case len(v.waiting) == 0:
		v.armed = false
	case quiet < v.patience:
		v.timer.Reset(v.patience - quiet)
	default:
		answers := v.answers
		v.proxy.work.Go(func() { v.look(answers) })
	}
}

// look has the owner looked into, after so many answers.
func (v *vigil) look(answers uint64) {
	replaced := v.proxy.backends.Replaced(v.ctx, v.name, v.backend)
	if replaced {
		select {
		case <-time.After(time.Duration(lastWords * float64(v.proxy.config.SlowAnswer))):
		case <-v.ctx.Done():
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return
	}
	if v.answers == answers {
		v.since = time.Now()
		v.patience = min(2*v.patience, mostPatience*v.proxy.config.SlowAnswer)
		if replaced {
			v.endWaiting()
		}
	}
	v.timer.Reset(v.patience)
}

// endWaiting ends the attempts that wait for an answer. The lock is held.
func (v *vigil) endWaiting() {
	for c := range v.waiting {
		c.ended = true
		c.cancel()
	}
}

// explain is err, or what it stands for if the attempt was ended here: the same as
// a connection that broke.
func (c *caller) explain(err error) error {
	if c == nil || err == nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		return err
	}
	return &silentError{c.backend.Instance}
}

// silentError is the end of an attempt with an owner that lost its shard.
type silentError struct{ instance string }

func (e *silentError) Error() string {
	return e.instance + " fell silent and lost the shard to another stream-writer"
}

// GRPCStatus is that of a connection that broke.
func (e *silentError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }
