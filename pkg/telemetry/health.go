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
}

// NewHealth returns a Health without components, which is ready.
func NewHealth() *Health {
	return &Health{components: make(map[string]*Component)}
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
	h.mu.Lock()
	defer h.mu.Unlock()
	status := Status{State: OK, Components: make([]ComponentStatus, 0, len(h.components))}
	for _, c := range h.components {
		status.Components = append(status.Components, c.status)
		status.State = worse(status.State, c.status.State)
	}
	slices.SortFunc(status.Components, func(a, b ComponentStatus) int { return cmp.Compare(a.Name, b.Name) })
	return status
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
