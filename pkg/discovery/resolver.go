package discovery

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/resolver"
)

// Scheme is that of gRPC targets which name a role: samsa:///<role>.
const Scheme = "samsa"

// Resolver finds the instances of a role for gRPC: dial samsa:///<role> with
// grpc.WithResolvers(registry.Resolver()). It is not registered globally, so
// that two clusters fit in one process.
func (r *Registry) Resolver() resolver.Builder { return builder{r.Watch} }

type builder struct{ watch func(role string) *Members }

func (builder) Scheme() string { return Scheme }

func (b builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	role := target.Endpoint()
	if err := checkKeyPart("role", role); err != nil {
		return nil, fmt.Errorf("gRPC target %s: %w", target.URL.String(), err)
	}
	r := &roleResolver{members: b.watch(role), cc: cc, stop: make(chan struct{})}
	r.wg.Go(r.run)
	return r, nil
}

type roleResolver struct {
	members *Members
	cc      resolver.ClientConn
	stop    chan struct{}
	wg      sync.WaitGroup
}

func (r *roleResolver) run() {
	loaded := r.members.loaded
	for {
		changed := r.members.Changed()
		r.push()
		select {
		case <-r.stop:
			return
		case <-changed:
		case <-loaded: // an empty answer changes nothing but ends the waiting
			loaded = nil
		}
	}
}

func (r *roleResolver) push() {
	members := r.members.Snapshot()
	if len(members) > 0 {
		// An error here means that the balancer did not like it; it asks again
		// through ResolveNow, and the next change is pushed in any case.
		_ = r.cc.UpdateState(stateOf(members))
		return
	}
	select {
	case <-r.members.loaded:
		r.cc.ReportError(fmt.Errorf("no %s is registered", r.members.role))
	default: // callers wait until etcd has answered or their time is up
	}
}

func stateOf(members []Member) resolver.State {
	var s resolver.State
	for _, m := range members {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{
			Addresses: []resolver.Address{{Addr: m.Address}},
		})
	}
	return s
}

// ResolveNow does nothing: whatever is known has been pushed.
func (r *roleResolver) ResolveNow(resolver.ResolveNowOptions) {}

func (r *roleResolver) Close() {
	close(r.stop)
	r.wg.Wait()
}
