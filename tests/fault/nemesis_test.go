package fault

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"

	"github.com/samsa-io/samsa/pkg/clock"
	"github.com/samsa-io/samsa/tests/cluster"
)

// lease is how long a program that gives no sign of life stays registered here.
const lease = 2 * time.Second

// nemesis does one or two bad things at a time to a cluster, and makes them good
// again. It runs in the test's own goroutine.
type nemesis struct {
	t         *testing.T
	rng       *rand.Rand
	c         *cluster.Cluster
	processes []string // in order
	begun     time.Time

	met   map[string]int // times that each fault was used
	mu    sync.Mutex
	diary []string
}

func newNemesis(t *testing.T, c *cluster.Cluster, seed uint64) *nemesis {
	return &nemesis{
		t: t, c: c, rng: rand.New(rand.NewPCG(seed, 99)), processes: c.Names(), begun: time.Now(), met: map[string]int{},
	}
}

// notef writes into the diary.
func (n *nemesis) notef(format string, a ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.diary = append(n.diary, fmt.Sprintf("%8.3fs ", time.Since(n.begun).Seconds())+fmt.Sprintf(format, a...))
}

// fault is something bad; end makes it good again.
type fault struct {
	name string
	end  func()
}

// round does something bad for a while, and lets the system recover for a while.
// Every other time a broken connection or store meets a broken process.
func (n *nemesis) round() {
	var faults []fault
	which := n.rng.IntN(4)
	if which != 0 {
		faults = append(faults, n.breakConnection())
	}
	if which != 1 {
		faults = append(faults, n.breakProcess())
	}
	for _, f := range faults {
		n.met[f.name]++
	}
	n.wait(time.Duration(500+n.rng.IntN(4000)) * time.Millisecond)
	for _, f := range faults {
		f.end()
	}
	n.notef("all is well")
	n.requireAlive()
	n.wait(time.Duration(500+n.rng.IntN(2500)) * time.Millisecond)
}

func (n *nemesis) wait(d time.Duration) { _ = clock.Sleep(n.t.Context(), d) }

// pick is a process of a role; the writers have most to lose.
func (n *nemesis) pick() string {
	if n.rng.IntN(5) < 3 {
		return n.of("stream-writer")
	}
	return n.processes[n.rng.IntN(len(n.processes))]
}

func (n *nemesis) of(role string) string {
	all := slices.DeleteFunc(slices.Clone(n.processes), func(name string) bool { return !strings.HasPrefix(name, role) })
	return all[n.rng.IntN(len(all))]
}

// breakProcess does something to a process.
func (n *nemesis) breakProcess() fault {
	switch n.rng.IntN(11) {
	case 0, 1, 2, 3:
		return n.kill(n.pick())
	case 4, 5, 6:
		return n.freeze(n.pick())
	case 7, 8:
		return n.drain(n.pick())
	case 9:
		return n.drainLive(n.of("stream-writer"))
	default:
		return n.rollingRestart()
	}
}

// kill ends a process with SIGKILL and starts it again, sometimes at once.
func (n *nemesis) kill(name string) fault {
	n.notef("kill %s", name)
	n.c.Kill(n.t, name)
	if n.rng.IntN(3) == 0 {
		n.notef("start %s", name)
		n.c.Process(n.t, name).Start(n.t)
	}
	return fault{"kill " + role(name), func() { n.up(name) }}
}

// freeze stops a process where it is, for longer than its lease.
func (n *nemesis) freeze(name string) fault {
	n.notef("freeze %s", name)
	n.c.Pause(n.t, name)
	return fault{"freeze " + role(name), func() {
		n.wait(time.Duration(n.rng.Int64N(int64(2 * lease))))
		n.notef("thaw %s", name)
		n.c.Resume(n.t, name)
	}}
}

// drain asks a process to end, and starts it again later.
func (n *nemesis) drain(name string) fault {
	n.notef("terminate %s", name)
	n.c.Process(n.t, name).Signal(n.t, syscall.SIGTERM)
	return fault{"drain " + role(name), func() {
		n.c.Process(n.t, name).WaitExit(n.t, recovery)
		n.up(name)
	}}
}

// drainLive has a writer give its shards away while it goes on, and undoes that
// later. Where other faults keep the wish from arriving there is nothing to undo.
func (n *nemesis) drainLive(writer string) fault {
	ask := func(undo bool) {
		n.notef("drain %s, undo: %t", writer, undo)
		ctx, cancel := context.WithTimeout(n.t.Context(), 2*time.Second)
		defer cancel()
		admin := clusterv1.NewAdminServiceClient(cluster.Connect(n.t, n.c, n.c.Address()))
		if _, err := admin.DrainWriter(ctx, &clusterv1.DrainWriterRequest{Instance: writer, Undo: undo}); err != nil {
			n.notef("drain %s, undo %t: %v", writer, undo, err)
		}
	}
	ask(false)
	return fault{"admin drain", func() { ask(true) }}
}

// rollingRestart restarts all writers or all readers, one after the other.
func (n *nemesis) rollingRestart() fault {
	which := []string{"stream-writer", "stream-reader"}[n.rng.IntN(2)]
	return fault{"rolling restart of " + which + "s", func() {
		for _, name := range n.processes {
			if role(name) == which {
				n.drain(name).end()
			}
		}
	}}
}

func role(process string) string { return process[:strings.LastIndex(process, "-")] }

// up starts a process that does not run and waits until it is ready. Programs that
// find a dependency missing when they start may end; whoever runs them starts them
// again, as here.
func (n *nemesis) up(name string) {
	p := n.c.Process(n.t, name)
	cluster.Eventually(n.t, recovery, name+" is ready", func() error {
		if !p.Running() {
			n.notef("start %s", name)
			p.Start(n.t)
		}
		return p.Ready()
	})
}

// requireAlive fails the test if a process has ended by itself.
func (n *nemesis) requireAlive() {
	for _, name := range n.processes {
		if p := n.c.Process(n.t, name); !p.Running() {
			n.t.Errorf("%s has ended by itself, with code %d:\n%s", name, p.ExitCode(), p.LogTail())
			n.up(name)
		}
	}
}

// breakConnection breaks connections of one process, or of all to one dependency.
func (n *nemesis) breakConnection() fault {
	if n.rng.IntN(3) == 0 {
		return n.breakStore()
	}
	all := cluster.Dependencies()
	on := all[n.rng.IntN(len(all))]
	victims := []string{n.pick()}
	whose := role(victims[0])
	if n.rng.IntN(3) == 0 && on != cluster.Peers {
		victims, whose = n.processes, "all"
	}
	how, apply := n.breakage()
	n.notef("%s %s of %s", how, on, describe(victims))
	for _, name := range victims {
		apply(n.c.Link(n.t, name, on))
	}
	return fault{fmt.Sprintf("%s %s of %s", how, on, whose), func() {
		for _, name := range victims {
			n.c.Link(n.t, name, on).Heal()
		}
	}}
}

func describe(victims []string) string {
	if len(victims) > 1 {
		return "all"
	}
	return victims[0]
}

func (n *nemesis) breakage() (string, func(*cluster.Link)) {
	switch n.rng.IntN(3) {
	case 0:
		return "cut", (*cluster.Link).Cut
	case 1:
		return "stall", (*cluster.Link).Stall
	default:
		d := time.Duration(50+n.rng.IntN(500)) * time.Millisecond
		return "delay", func(l *cluster.Link) { l.Delay(d) }
	}
}

// breakStore lets the object store fail, for one process or for all.
func (n *nemesis) breakStore() fault {
	victims, whose := []string{n.pick()}, "one"
	if n.rng.IntN(2) == 0 {
		victims, whose = n.processes, "all"
	}
	faults, name := n.storeFaults()
	n.notef("store: %s %+v for %s", name, faults, describe(victims))
	for _, victim := range victims {
		n.c.SetStoreFaults(n.t, victim, faults)
	}
	return fault{"store: " + name + " for " + whose, func() {
		for _, victim := range victims {
			n.c.SetStoreFaults(n.t, victim, cluster.StoreFaults{})
		}
	}}
}

func (n *nemesis) storeFaults() (cluster.StoreFaults, string) {
	some := 0.05 + n.rng.Float64()/2
	slow := time.Duration(200+n.rng.IntN(3000)) * time.Millisecond
	switch n.rng.IntN(7) {
	case 0:
		return cluster.StoreFaults{Unavailable: some}, "503"
	case 1:
		return cluster.StoreFaults{Conflict: some}, "409"
	case 2:
		return cluster.StoreFaults{LostReply: some, LostRequest: some / 4}, "lost replies"
	case 3:
		return cluster.StoreFaults{Late: some, Slow: slow}, "late puts"
	case 4:
		return cluster.StoreFaults{SlowReply: some, Slow: slow}, "slow replies"
	case 5:
		return cluster.StoreFaults{SlowBody: some, CutBody: some / 2, Slow: slow}, "slow and cut bodies"
	default:
		each := some / 6
		return cluster.StoreFaults{
			Unavailable: each, Conflict: each, LostReply: each, Late: each, SlowReply: each, SlowBody: each, Slow: slow / 2,
		}, "a bit of everything"
	}
}

// used lists how often each fault was used.
func (n *nemesis) used() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(n.met)) {
		lines = append(lines, fmt.Sprintf("%4d  %s", n.met[name], name))
	}
	return strings.Join(lines, "\n")
}
