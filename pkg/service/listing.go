package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/discovery"
)

const (
	// A start waits this long for etcd, so that as a rule a started program is
	// one that others know; without etcd it goes on and is listed later.
	listingWait = 3 * time.Second
	// withdrawBudget bounds leaving discovery. Past it the lease runs out.
	withdrawBudget = 2 * time.Second
)

// listing is a server's presence in discovery. Its goroutine lives from begin
// until etcd has answered or withdraw.
type listing struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu           sync.Mutex
	member       discovery.Member
	registration *discovery.Registration // nil until etcd has answered
	withdrawn    bool
}

func (l *listing) begin(ctx context.Context, a announcer, m discovery.Member, log *zap.Logger) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel, l.done = cancel, make(chan struct{})
	l.mu.Lock()
	if l.member.Incarnation != "" {
		m.Incarnation = l.member.Incarnation
	}
	m.Drained = l.member.Drained
	l.member = m
	l.mu.Unlock()
	go l.register(run, a, m)
	wait, stop := context.WithTimeout(ctx, listingWait)
	defer stop()
	select {
	case <-l.done:
	case <-wait.Done():
		log.Warn("etcd does not answer: serving, but others cannot find this program yet; still trying")
	}
}

func (l *listing) register(ctx context.Context, a announcer, m discovery.Member) {
	defer close(l.done)
	registration, err := a.Register(ctx, m)
	if err != nil { // withdrawn before etcd answered
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.registration = registration
	if l.member != m {
		// Its address and its name are m's, so it is as good as m was.
		_ = registration.Update(l.member)
	}
}

// err tells why others may not know of the presence.
func (l *listing) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.withdrawn:
		return nil
	case l.registration == nil:
		return fmt.Errorf("%s is not listed yet", l.member.Role)
	}
	return l.registration.Err()
}

// change tells others what is new of a stream-writer.
func (l *listing) change(what func(*discovery.Member)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	what(&l.member)
	if l.registration == nil {
		return nil
	}
	return l.registration.Update(l.member)
}

// withdraw ends the presence; it does nothing if there is none.
func (l *listing) withdraw(ctx context.Context) error {
	if l.cancel == nil {
		return nil
	}
	l.cancel()
	<-l.done
	l.mu.Lock()
	registration := l.registration
	l.registration, l.withdrawn = nil, true
	l.mu.Unlock()
	if registration == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawBudget)
	defer cancel()
	return registration.Withdraw(ctx)
}
