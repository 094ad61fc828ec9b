package telemetry

import (
	"cmp"
	"slices"
	"sync"
)

// State is how well a component does.
type State string

// The states, best first. A degraded component still does its work, if late or
// on old knowledge; one that is down keeps the program from being ready.
const (
	OK       State = "ok"
	Degraded State = "degraded"
	Down     State = "down"
)

// stopping is the component that Stop takes down.
const stopping = "process"

// Health gathers the states of a program's components.
type Health struct {
	mu         sync.Mutex
	components map[string]*Component
	checks     map[string]func() error
}

// NewHealth returns a Health without components, which is ready.
func NewHealth() *Health {
	return &Health{components: make(map[string]*Component), checks: make(map[string]func() error)}
}

// Component returns the named component. A new one is down until it reports, so
// that a program is not ready before all its parts have been heard.
func (h *Health) Component(name string) *Component {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.components[name]; c != nil {
		return c
	}
	c := &Component{health: h, status: ComponentStatus{Name: name, State: Down, Reason: "starting"}}
	h.components[name] = c
	return c
}

// Watch adds a component that is asked instead of reporting itself: degraded by
// what check returns, ok if that is nil. check must return at once and must not
// call Health.
func (h *Health) Watch(name string, check func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = check
}

// Stop makes the program unready for good: it is about to end.
func (h *Health) Stop() { h.Component(stopping).Down("stopping") }

// Status is the whole program's state and what it is made of.
type Status struct {
	State      State             `json:"status"`
	Components []ComponentStatus `json:"components"`
}

// Ready reports whether work may be sent here; degraded is still ready.
func (s Status) Ready() bool { return s.State != Down }

// ComponentStatus is one component's state.
type ComponentStatus struct {
	Name   string `json:"name"`
	State  State  `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Status returns the states as they are now, components by name; the whole is as
// bad as its worst part.
func (h *Health) Status() Status {
	status := Status{State: OK, Components: h.all()}
	for _, c := range status.Components {
		status.State = worse(status.State, c.State)
	}
	slices.SortFunc(status.Components, func(a, b ComponentStatus) int { return cmp.Compare(a.Name, b.Name) })
	return status
}

func (h *Health) all() []ComponentStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]ComponentStatus, 0, len(h.components)+len(h.checks))
	for _, c := range h.components {
		all = append(all, c.status)
	}
	for name, check := range h.checks {
		all = append(all, asked(name, check()))
	}
	return all
}

func asked(name string, err error) ComponentStatus {
	if err != nil {
		return ComponentStatus{Name: name, State: Degraded, Reason: err.Error()}
	}
	return ComponentStatus{Name: name, State: OK}
}

func worse(a, b State) State {
	rank := map[State]int{OK: 0, Degraded: 1, Down: 2}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// Component is a part of a program that reports how it does. It is safe for
// concurrent use.
type Component struct {
	health *Health
	status ComponentStatus // guarded by health.mu
}

// OK reports that all is well.
func (c *Component) OK() { c.set(OK, "") }

// Degraded reports that the component works on, with what is missing.
func (c *Component) Degraded(reason string) { c.set(Degraded, reason) }

// Down reports that the component does not work, and why.
func (c *Component) Down(reason string) { c.set(Down, reason) }

// Report is OK if err is nil, else Degraded with its text.
func (c *Component) Report(err error) {
	if err != nil {
		c.Degraded(err.Error())
		return
	}
	c.OK()
}

func (c *Component) set(state State, reason string) {
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	c.status.State, c.status.Reason = state, reason
}
