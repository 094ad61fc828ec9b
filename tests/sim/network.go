package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-reader/bus"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-writer/locate"
)

// broadcast brings a message to every reader: late, twice, never, in any order.
func (s *Sim) broadcast(appends *clusterv1.AppendNotification, beacon *clusterv1.Beacon) {
	for _, r := range s.readers {
		copies := 1
		if s.chance(10, &s.stats.LostMessages) {
			copies = 0
		} else if s.chance(5, &s.stats.Doubled) {
			copies = 2
		}
		for range copies {
			s.after(s.lag(), "message to "+r.name, func() {
				r.deliver(func() { r.bus.hear(appends, beacon) })
			})
		}
	}
}

// messages is a reader's end of the bus; it implements live.Bus.
type messages struct {
	w       *World
	mu      sync.Mutex
	next    int
	shards  map[int]shardHandler
	beacons map[int]func(*live.Beacon)
}

type shardHandler struct {
	shard  stream.Shard
	handle func(*live.Notification)
	lost   func()
}

func (m *messages) SubscribeShard(shard stream.Shard, handle func(*live.Notification), lost func()) (func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	id := m.next
	m.shards[id] = shardHandler{shard, handle, lost}
	return func() { m.mu.Lock(); defer m.mu.Unlock(); delete(m.shards, id) }, nil
}

func (m *messages) SubscribeBeacons(handle func(*live.Beacon)) (func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	id := m.next
	m.beacons[id] = handle
	return func() { m.mu.Lock(); defer m.mu.Unlock(); delete(m.beacons, id) }, nil
}

func (m *messages) SubscribeChanges(func(live.Change), func()) (func(), error) {
	return func() {}, nil // followers find out about deletions by asking
}

// hear brings a message to those who subscribed.
func (m *messages) hear(appends *clusterv1.AppendNotification, beacon *clusterv1.Beacon) {
	m.w.stats.Messages++
	m.mu.Lock()
	var shards []shardHandler
	var beacons []func(*live.Beacon)
	for id := range m.next + 1 {
		if h, ok := m.shards[id]; ok {
			shards = append(shards, h)
		}
		if h, ok := m.beacons[id]; ok {
			beacons = append(beacons, h)
		}
	}
	m.mu.Unlock()
	if beacon != nil {
		for _, h := range beacons {
			h(bus.Beacon(beacon))
		}
		return
	}
	n, err := bus.Notification(appends)
	m.w.mustf(err == nil, "a notification makes no sense: %v", err)
	for _, h := range shards {
		if h.shard == n.Shard {
			h.handle(n)
		}
	}
}

// router brings a reader's questions to the owner of a shard; it is owner.Router.
type router struct {
	s *Sim
	p *process
}

func (r router) Ask(ctx context.Context, shard stream.Shard, f func(context.Context, grpc.ClientConnInterface) error) error {
	return f(ctx, conn{r, shard})
}

type conn struct {
	router
	shard stream.Shard
}

var errNoStreams = errors.New("sim: writers have no streaming calls for readers")

func (c conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errNoStreams
}

func (c conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	q := args.(*clusterv1.LocateRequest)
	out, err := ask(ctx, c.p, fmt.Sprintf("asks locate %s/%s from %v", q.GetBucket(), q.GetStream(), q.GetStart()),
		func(reply func(*clusterv1.LocateResponse, error)) { c.s.locate(c.shard, q, reply) })
	if err != nil {
		return err
	}
	proto.Merge(reply.(proto.Message), out)
	return nil
}

// locate asks whom the router takes for the owner, as the writer's server does.
func (s *Sim) locate(shard stream.Shard, q *clusterv1.LocateRequest, reply func(*clusterv1.LocateResponse, error)) {
	s.stats.Queries++
	unavailable := status.Error(codes.Unavailable, "sim: no answer")
	n := s.owner(shard)
	if n == nil || !s.calm && s.rng.IntN(4) == 0 {
		n = s.someWriter()
	}
	answer := func(out *clusterv1.LocateResponse, err error) {
		if s.chance(3, &s.stats.LostReplies) {
			out, err = nil, unavailable
		}
		s.after(s.lag(), "located", func() { reply(out, err) })
	}
	if n.dead || s.chance(3, &s.stats.LostRequests) {
		s.after(30*time.Millisecond, "unreachable "+n.name, func() { answer(nil, unavailable) })
		return
	}
	s.after(s.lag(), "locate at "+n.name, func() {
		inspect := shardlog.Inspect{Name: stream.Name{Bucket: q.GetBucket(), Stream: q.GetStream()}, Prove: q.GetProveTail()}
		if q.GetForRead() {
			inspect.Purpose = shardlog.ForRead
		}
		inspect.Tag = func(r shardlog.Reply) {
			if r.Err != nil {
				answer(nil, statusOf(r.Err))
				return
			}
			answer(locate.Answer(r.View, q, n.recent))
		}
		n.handle(inspect)
	})
}

func statusOf(err error) error {
	if errors.Is(err, shardlog.ErrDeleting) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}
