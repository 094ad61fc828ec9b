package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/client"
)

// stamp is when all records of a stream before end were acknowledged, or came to
// a subscriber.
type stamp struct {
	end uint64
	at  time.Time
}

// follower is a subscriber of one stream.
type follower struct {
	session  *client.ReadSession
	check    *checker
	verify   bool
	received []stamp
	caughtUp chan struct{} // closed when the session has caught up first

	// The seq_nums up to which it has, and is to have, everything. reached is
	// closed when it has.
	position, goal atomic.Uint64
	reached        chan struct{}
	once           sync.Once
}

// writeAndFollow opens the subscribers, waits until each has caught up, and then
// writes, until all have everything.
func (r *run) writeAndFollow(ctx context.Context) error {
	followers := make([]*follower, r.Streams*r.Subscribers)
	group, ctx := errgroup.WithContext(ctx)
	for i := range followers {
		f := r.follower(ctx, i%r.Streams)
		followers[i] = f
		group.Go(f.follow)
	}
	acked, err := r.serve(ctx, followers)
	for _, f := range followers {
		f.session.Close()
	}
	if failed := group.Wait(); failed != nil {
		return failed // which is also why serve ended
	}
	if err != nil {
		return err
	}
	for i, f := range followers {
		r.read.Add(f.check.count)
		r.measure(acked.of(i%r.Streams), f.received)
	}
	return nil
}

func (r *run) follower(ctx context.Context, stream int) *follower {
	f := &follower{
		session:  r.stream(stream).ReadSession(ctx, client.Read{Start: client.FromSeqNum(0), Clamp: true}),
		check:    newChecker(uint32(stream), r.RecordBytes),
		verify:   r.Verify,
		caughtUp: make(chan struct{}),
		reached:  make(chan struct{}),
	}
	f.goal.Store(math.MaxUint64)
	return f
}

// serve writes for followers that are ready, and waits until they have it all.
func (r *run) serve(ctx context.Context, followers []*follower) (*acks, error) {
	for _, f := range followers {
		if err := await(ctx, f.caughtUp); err != nil {
			return nil, err
		}
	}
	acked, err := r.writeStamped(ctx)
	if err != nil {
		return nil, err
	}
	for i, f := range followers {
		f.setGoal(acked.end(i % r.Streams))
	}
	for _, f := range followers {
		if err := await(ctx, f.reached); err != nil {
			return nil, err
		}
	}
	return acked, nil
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *follower) setGoal(n uint64) {
	f.goal.Store(n)
	f.arrive(f.position.Load())
}

// arrive is called with a new position by follow, and with the present one when
// the goal is set: whichever comes last sees that both meet.
func (f *follower) arrive(n uint64) {
	if n >= f.goal.Load() {
		f.once.Do(func() { close(f.reached) })
	}
}

// follow reads until the session is closed, or brings what is wrong.
func (f *follower) follow() error {
	first := true
	for {
		batch, err := f.session.Next()
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		if err := f.take(batch.Records); err != nil {
			return err
		}
		if batch.Tail != nil && first {
			first = false
			close(f.caughtUp)
		}
	}
}

func (f *follower) take(records []client.Record) error {
	if len(records) == 0 {
		return nil
	}
	next := records[len(records)-1].SeqNum + 1
	f.received = append(f.received, stamp{next, time.Now()})
	for _, record := range records {
		if !f.verify {
			f.check.count++
		} else if err := f.check.check(record); err != nil {
			return err
		}
	}
	f.position.Store(next)
	f.arrive(next)
	return nil
}

// acks are the stamps of all streams.
type acks struct {
	mu     sync.Mutex
	stamps map[int][]stamp
}

func (a *acks) add(stream int, s stamp) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stamps[stream] = append(a.stamps[stream], s)
}

// of is the stream's stamps by position.
func (a *acks) of(stream int) []stamp {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.SortFunc(a.stamps[stream], func(x, y stamp) int { return int(x.end) - int(y.end) })
	return a.stamps[stream]
}

func (a *acks) end(stream int) uint64 {
	stamps := a.of(stream)
	if len(stamps) == 0 {
		return 0
	}
	return stamps[len(stamps)-1].end
}

func (r *run) writeStamped(ctx context.Context) (*acks, error) {
	stamps := &acks{stamps: map[int][]stamp{}}
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for i := range r.Clients {
		group.Go(func() error {
			return r.pipeline(ctx, i, r.pace(i, begun), func(ack client.Ack) {
				stamps.add(i%r.Streams, stamp{ack.EndSeqNum, time.Now()})
			})
		})
	}
	err := group.Wait()
	r.took = time.Since(begun)
	return stamps, err
}

// measure counts, for each ack, how much later a subscriber had the batch.
// A batch that came before its ack counts as at once.
func (r *run) measure(acked, received []stamp) {
	at := 0
	for _, ack := range acked {
		for at < len(received) && received[at].end < ack.end {
			at++
		}
		if at == len(received) {
			return
		}
		r.deliveries.record(received[at].at.Sub(ack.at))
	}
}
