package discovery

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Members is who is known to have a role. It is safe for concurrent use.
type Members struct {
	role    string
	metrics *metrics

	mu      sync.Mutex
	list    []Member      // never changed in place
	changed chan struct{} // closed and replaced at each change
	loaded  chan struct{} // closed once etcd has answered
	err     error
}

func newMembers(role string, m *metrics) *Members {
	return &Members{role: role, metrics: m, changed: make(chan struct{}), loaded: make(chan struct{}),
		err: fmt.Errorf("members of role %s: etcd has not answered yet", role)}
}

// Fixed is a membership that never changes, for programs and tests without etcd.
func Fixed(role string, members ...Member) *Members {
	m := newMembers(role, newMetrics(nil))
	m.publish(members)
	return m
}

// Role is whose members these are.
func (m *Members) Role() string { return m.role }

// Snapshot is the members known now, by instance name; while etcd is down, the
// last ones known. The slice is shared: do not change it.
func (m *Members) Snapshot() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list
}

// Changed is closed when the members next change. Take it before the Snapshot,
// or a change in between is missed. Several changes may come as one.
func (m *Members) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Wait waits until etcd has answered once.
func (m *Members) Wait(ctx context.Context) error {
	select {
	case <-m.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", m.Err(), context.Cause(ctx))
	}
}

// Err tells why the members may be out of date; nil if they are not.
func (m *Members) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// publish makes list the members, as etcd has them now.
func (m *Members) publish(list []Member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = nil
	m.metrics.up.WithLabelValues(m.role).Set(1)
	m.metrics.members.WithLabelValues(m.role).Set(float64(len(list)))
	m.markLoaded()
	if slices.EqualFunc(m.list, list, sameMember) {
		return
	}
	m.list = list
	close(m.changed)
	m.changed = make(chan struct{})
}

func sameMember(a, b Member) bool {
	started := a.Started.Equal(b.Started)
	a.Started = b.Started // compares only as an instant
	return started && a == b
}

func (m *Members) markLoaded() {
	select {
	case <-m.loaded:
	default:
		close(m.loaded)
	}
}

// lost keeps the members and says why they may be out of date. It tells whether
// they were current before.
func (m *Members) lost(err error) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics.up.WithLabelValues(m.role).Set(0)
	first = m.err == nil
	m.err = fmt.Errorf("members of role %s are the last ones known: %w", m.role, err)
	return first
}
