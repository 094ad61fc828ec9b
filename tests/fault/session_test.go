package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"

	"github.com/samsa-io/samsa/tests/history"
)

// sessionWorker appends through sessions, several batches in flight. A session goes
// on by itself over every fault; one that gives up is followed by another.
type sessionWorker struct {
	*worker
	waiting sync.WaitGroup
}

func (s *sessionWorker) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.newProducer()
		s.session(ctx)
	}
	s.waiting.Wait()
}

// sessionPatience is how long acks may take once a session's time is over.
const sessionPatience = 20 * time.Second

func (s *sessionWorker) session(ctx context.Context) {
	sending, cancel := context.WithCancel(context.Background())
	defer cancel()
	session := s.stream.AppendSession(sending, client.SessionOptions{ProducerID: s.producer.ID})
	for i := 0; ctx.Err() == nil; i++ {
		s.calls++
		input := client.AppendInput{Records: s.records()}
		o := &history.Op{Client: s.id + 10*(i%4), Kind: history.Append, Producer: s.producer.ID}
		for _, r := range input.Records {
			o.Records = append(o.Records, digestOf(r.Headers, r.Body))
		}
		o.Call = s.h.Now()
		pending, err := session.Submit(ctx, input)
		if err != nil {
			break // not submitted
		}
		s.waiting.Go(func() { s.await(sending, o, pending) })
		_ = clock.Sleep(ctx, time.Duration(s.rng.IntN(60))*time.Millisecond)
	}
	closing, end := context.WithTimeout(context.Background(), sessionPatience)
	defer end()
	_ = session.Close(closing) // each batch tells how it ended
	cancel()
	s.waiting.Wait()
}

func (s *sessionWorker) await(ctx context.Context, o *history.Op, pending client.Pending) {
	ack, err := pending.Wait(ctx)
	o.Return = s.h.Now()
	finish(o, err)
	switch {
	case err != nil:
	case ack.Recovered && !ack.Placed:
		o.Outcome = history.Unknown // but for its place it is known
	default:
		o.Start, o.Next = ack.StartSeqNum, ack.EndSeqNum
	}
	if err == nil && !ack.Recovered {
		s.see(ack.StartSeqNum, ack.StartSeqID, o.Records[0], ack.StartTimestamp)
	}
	s.h.Add(o)
}

// follower reads a stream live, from its beginning.
type follower struct {
	lane    *lane
	h       *history.History
	session *client.ReadSession
	ended   chan struct{}
	err     error // why it ended; once ended is closed

	mu   sync.Mutex
	next uint64
	more chan struct{} // closed when next moves
}

func (l *lane) follow(h *history.History) *follower {
	stream := l.patient[l.rng.IntN(len(l.patient))].Bucket(l.bucket).Stream(h.Stream)
	f := &follower{
		lane: l, h: h, ended: make(chan struct{}), more: make(chan struct{}),
		session: stream.ReadSession(context.Background(), client.Read{Start: client.FromSeqNum(0)}),
	}
	go f.run()
	return f
}

func (f *follower) run() {
	defer close(f.ended)
	for {
		batch, err := f.session.Next()
		if err != nil {
			f.err = err
			return
		}
		for _, r := range batch.Records {
			f.take(r)
		}
		if batch.Tail != nil && batch.Tail.SeqNum > f.next && len(batch.Records) == 0 && !f.lane.mayTrim(batch.Tail.SeqNum) {
			f.h.Violatef("a follower at %d was told that the tail is %d, without the records between", f.next, batch.Tail.SeqNum)
		}
	}
}

// take checks a record against what was due and what others saw there.
func (f *follower) take(r client.Record) {
	switch {
	case r.SeqNum < f.next:
		f.h.Violatef("a follower that was at %d saw record %d", f.next, r.SeqNum)
	case r.SeqNum > f.next && !f.lane.mayTrim(r.SeqNum):
		f.h.Violatef("a follower that was at %d saw record %d next, though nobody trimmed so far", f.next, r.SeqNum)
	}
	f.h.See(r.SeqNum, history.Sighting{ID: r.SeqID.String(), Digest: digestOf(r.Headers, r.Body), Timestamp: r.Timestamp})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = r.SeqNum + 1
	close(f.more)
	f.more = make(chan struct{})
}

// end waits until the follower has come to the tail.
func (f *follower) end(tail uint64) error {
	defer func() {
		f.session.Close()
		<-f.ended
	}()
	timer := time.NewTimer(f.lane.patience)
	defer timer.Stop()
	for {
		f.mu.Lock()
		next, more := f.next, f.more
		f.mu.Unlock()
		if next >= tail {
			return nil
		}
		select {
		case <-more:
		case <-f.ended:
			if !errors.Is(f.err, io.EOF) {
				return fmt.Errorf("a follower of %s ended at %d: %w", f.h.Stream, next, f.err)
			}
			return fmt.Errorf("a follower of %s ended at %d of %d", f.h.Stream, next, tail)
		case <-timer.C:
			return fmt.Errorf("a follower of %s came to %d, not to the tail %d, within %s", f.h.Stream, next, tail, f.lane.patience)
		}
	}
}
