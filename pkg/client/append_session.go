package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

// remembered is how many of a producer's last batches a stream knows again.
const remembered = 5

// drainGrace is how long a session that has all its acks waits for the server to
// end the call in good form.
const drainGrace = time.Second

// ErrSessionClosed is what a session or producer answers after Close.
var ErrSessionClosed = errors.New("the append session is closed")

// SessionOptions sets an AppendSession up. Zero values are the defaults.
type SessionOptions struct {
	// ProducerID makes each batch be appended at most once, and lets the session
	// resume after any failure. "" does without.
	ProducerID string
	// ProducerSeq is how many records the producer has appended already.
	ProducerSeq uint64
	// MaxInflightBytes bounds the encoded bytes that wait for acks (16 MiB), and
	// MaxInflightBatches the batches (128).
	MaxInflightBytes   int
	MaxInflightBatches int
	// Ephemeral lets the session take another producer id when the stream has
	// forgotten this one among many; for ids that only this session knows.
	Ephemeral bool
}

func (o SessionOptions) withDefaults() SessionOptions {
	if o.MaxInflightBytes <= 0 {
		o.MaxInflightBytes = 16 << 20
	}
	if o.MaxInflightBatches <= 0 {
		o.MaxInflightBatches = 128
	}
	return o
}

// AppendSession appends batches in the order of submission, many at a time. The
// first batch that fails fails all later ones. It is safe for concurrent use.
type AppendSession struct {
	stream *Stream
	opts   SessionOptions
	ctx    context.Context
	cancel context.CancelFunc

	// Room in flight. A batch holds its share from Submit until it is finished.
	bytes   *semaphore.Weighted
	batches *semaphore.Weighted

	mu      sync.Mutex
	queue   []*batch // not finished, in order of submission
	sent    int      // how many of queue count as sent on this connection
	skipped int      // how many of those the server was found to have already
	nextSeq uint64   // producer_seq of the next batch
	lastEnd uint64   // seq_num after the last ack; valid if placed
	placed  bool
	closing bool
	failure error // why the session takes no more batches

	wake chan struct{} // something changed; one waits on it: the sender, or run between connections
	done chan struct{} // closed when run has returned
}

// AppendSession begins a session that lasts until Close or the end of ctx.
func (s *Stream) AppendSession(ctx context.Context, opts SessionOptions) *AppendSession {
	opts = opts.withDefaults()
	a := &AppendSession{
		stream: s, opts: opts, nextSeq: opts.ProducerSeq,
		bytes:   semaphore.NewWeighted(int64(opts.MaxInflightBytes)),
		batches: semaphore.NewWeighted(int64(opts.MaxInflightBatches)),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	go a.run()
	return a
}

// Pending is a batch whose ack is awaited.
type Pending struct{ batch *batch }

// Done is closed when the outcome is there.
func (p Pending) Done() <-chan struct{} { return p.batch.done }

// Wait returns the outcome. If ctx ends first the batch stays in flight.
func (p Pending) Wait(ctx context.Context) (Ack, error) {
	select {
	case <-p.batch.done:
		return p.batch.ack, p.batch.err
	case <-ctx.Done():
		return Ack{}, ctx.Err()
	}
}

// Submit puts a batch in flight, and waits for room to do so. Acks come in the
// order of submission. An error means that the batch was not submitted.
func (a *AppendSession) Submit(ctx context.Context, input AppendInput) (Pending, error) {
	b, err := encodeBatch(input)
	if err != nil {
		return Pending{}, err
	}
	return Pending{b}, a.submit(ctx, b)
}

func (a *AppendSession) submit(ctx context.Context, b *batch) error {
	if err := a.acquire(ctx, b); err != nil {
		return err
	}
	a.mu.Lock()
	if err := a.refusal(); err != nil {
		a.mu.Unlock()
		a.release(b)
		return err
	}
	b.producerSeq = a.nextSeq
	a.nextSeq += uint64(b.count)
	a.queue = append(a.queue, b)
	a.mu.Unlock()
	a.signal()
	return nil
}

// refusal is why no batch is taken. Call with mu held.
func (a *AppendSession) refusal() error {
	switch {
	case a.failure != nil:
		return fmt.Errorf("the append session has ended: %w", a.failure)
	case a.closing:
		return ErrSessionClosed
	}
	return nil
}

// acquire waits for room in flight, for as long as ctx and the session last.
func (a *AppendSession) acquire(ctx context.Context, b *batch) error {
	if a.batches.TryAcquire(1) {
		if a.bytes.TryAcquire(a.share(b)) {
			return nil
		}
		a.batches.Release(1)
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)()
	if a.batches.Acquire(both, 1) == nil {
		if a.bytes.Acquire(both, a.share(b)) == nil {
			return nil
		}
		a.batches.Release(1)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusal()
}

func (a *AppendSession) release(b *batch) {
	a.bytes.Release(a.share(b))
	a.batches.Release(1)
}

// share is what a batch takes of MaxInflightBytes. One that is larger takes all.
func (a *AppendSession) share(b *batch) int64 {
	return int64(min(len(b.records), a.opts.MaxInflightBytes))
}

// Close takes no more batches, waits for the acks of all that were submitted and
// returns why the session failed, if it did. If ctx ends first, the batches in
// flight are given up; they may or may not be appended.
func (a *AppendSession) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closing = true
	a.mu.Unlock()
	a.signal()
	defer context.AfterFunc(ctx, a.cancel)()
	<-a.done
	return a.failure
}

func (a *AppendSession) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run makes connection after connection until the session is closed or fails.
func (a *AppendSession) run() {
	defer close(a.done)
	defer a.cancel()
	tries := attempts{retry: a.stream.client.retry}
	for a.awaitWork() {
		finished, err := a.connect()
		if err == nil {
			return
		}
		if finished > 0 {
			tries.progress()
		}
		if err := a.beforeNextTry(&tries, err); err != nil {
			a.fail(err)
			return
		}
	}
	if err := a.ctx.Err(); err != nil {
		a.fail(err)
	}
}

// awaitWork waits until there is a batch to send. It returns false when there
// never will be.
func (a *AppendSession) awaitWork() bool {
	for {
		a.mu.Lock()
		waiting, closing := len(a.queue), a.closing
		a.mu.Unlock()
		switch {
		case a.ctx.Err() != nil:
			return false
		case waiting > 0:
			return true
		case closing:
			return false
		}
		select {
		case <-a.wake:
		case <-a.ctx.Done():
		}
	}
}

// beforeNextTry decides whether the session may go on after err, and waits. The
// error it returns ends the session.
func (a *AppendSession) beforeNextTry(tries *attempts, err error) error {
	var failure *Error
	if !errors.As(err, &failure) {
		return err
	}
	if tries.retry.Policy != RetryNone && a.renew(failure) {
		return tries.pause(a.ctx, failure)
	}
	a.mu.Lock()
	idle := len(a.queue) == 0
	guarded := a.opts.ProducerID != "" || a.sent == 0
	lostSkipped := errors.Is(failure, ErrProducerGap) && a.skipped > 0
	if !failure.nothingHappened() {
		for _, b := range a.queue[:a.sent] {
			b.unsure = true
		}
	}
	a.mu.Unlock()
	if idle {
		tries.progress()
	}
	if !lostSkipped && !tries.retry.allows(failure, guarded) {
		return failure
	}
	return tries.pause(a.ctx, failure)
}

// renew takes another producer id when the stream has forgotten the session's, and
// tells whether it did: it may if nothing that waits was ever sent on a connection
// that broke, since then none of it is in the stream.
func (a *AppendSession) renew(failure *Error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	unsure := slices.ContainsFunc(a.queue, func(b *batch) bool { return b.unsure })
	if !a.opts.Ephemeral || !errors.Is(failure, ErrProducerForgotten) || unsure {
		return false
	}
	a.opts.ProducerID, a.nextSeq = newProducerID(), 0
	for _, b := range a.queue {
		b.producerSeq = a.nextSeq
		a.nextSeq += uint64(b.count)
	}
	return true
}

func (a *AppendSession) producerID() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opts.ProducerID
}

// connect sends what the queue holds over one call and takes the acks, until
// the session is drained (nil) or the call fails. It returns how many batches
// were finished.
func (a *AppendSession) connect() (finished int, err error) {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	if err := a.rewind(ctx); err != nil {
		return 0, err
	}
	call, err := a.stream.client.conn().NewStream(ctx, &samsav1.StreamService_ServiceDesc.Streams[0],
		samsav1.StreamService_AppendSession_FullMethodName)
	if err != nil {
		return 0, asError(a.ctx, err, appends, false)
	}
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		a.send(ctx, call)
	}()
	defer func() { cancel(); <-sender }()
	return a.receive(cancel, call)
}

// send sends batches until the call ends or the session is closed. Why the call
// ended is for receive to say.
func (a *AppendSession) send(ctx context.Context, call grpc.ClientStream) {
	for named := true; ; named = false {
		b := a.nextToSend(ctx)
		if b == nil {
			break
		}
		message := appendMessage{prefix: a.stream.appendPrefix(b, a.opts.ProducerID, named), records: b.records}
		if call.SendMsg(&message) != nil {
			return
		}
	}
	_ = call.CloseSend()
}

// nextToSend waits for a batch to send. nil: there is none and never will be.
func (a *AppendSession) nextToSend(ctx context.Context) *batch {
	for ctx.Err() == nil {
		a.mu.Lock()
		switch {
		case a.sent < len(a.queue) && (a.placed || a.sent < remembered):
			b := a.queue[a.sent]
			a.sent++
			b.sends++
			a.mu.Unlock()
			return b
		case a.closing && a.sent == len(a.queue):
			a.mu.Unlock()
			return nil
		}
		a.mu.Unlock()
		select {
		case <-a.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// receive takes acks until the session is drained (nil) or the call fails.
func (a *AppendSession) receive(cancel func(), call grpc.ClientStream) (finished int, err error) {
	for {
		var resp samsav1.AppendSessionResponse
		if err := call.RecvMsg(&resp); err != nil {
			if a.drained() {
				return finished, nil
			}
			return finished, asError(a.ctx, err, appends, true)
		}
		done, err := a.acknowledge(&resp)
		finished += done
		if err != nil {
			return finished, err
		}
		if a.drained() {
			timer := time.AfterFunc(drainGrace, cancel)
			defer timer.Stop()
		}
	}
}

func (a *AppendSession) drained() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closing && len(a.queue) == 0
}

// acknowledge finishes the oldest batch that was sent and, if the server was
// found to have batches before it, those as well: their acks were lost.
func (a *AppendSession) acknowledge(resp *samsav1.AppendSessionResponse) (finished int, err error) {
	a.mu.Lock()
	if a.sent <= a.skipped {
		a.mu.Unlock()
		return 0, protocolErrorf("an ack [%d, %d) for no batch", resp.GetStartSeqNum(), resp.GetEndSeqNum())
	}
	acked := a.queue[:a.skipped+1]
	ack, err := ackOf(resp, acked[a.skipped].count)
	if err == nil && a.placed && ack.StartSeqNum < a.lastEnd {
		err = protocolErrorf("a batch after seq_num %d is acknowledged at %d", a.lastEnd, ack.StartSeqNum)
	}
	if err != nil {
		a.mu.Unlock()
		return 0, err
	}
	acks := append(a.recovered(acked[:a.skipped], ack.StartSeqNum), ack)
	a.queue = a.queue[len(acked):]
	a.sent -= len(acked)
	a.skipped = 0
	a.lastEnd, a.placed = ack.EndSeqNum, true
	a.mu.Unlock()

	for i, b := range acked {
		a.finish(b, acks[i], nil)
	}
	a.signal()
	return len(acked), nil
}

// recovered makes the acks of batches that stand somewhere from lastEnd on and
// before limit, in order. If they fill that range they have no other place.
func (a *AppendSession) recovered(batches []*batch, limit uint64) []Ack {
	total := uint64(0)
	for _, b := range batches {
		total += uint64(b.count)
	}
	exact := a.placed && a.lastEnd+total == limit
	acks := make([]Ack, len(batches), len(batches)+1)
	at := a.lastEnd
	for i, b := range batches {
		acks[i].Recovered = true
		if exact {
			acks[i].Placed, acks[i].StartSeqNum, acks[i].EndSeqNum = true, at, at+uint64(b.count)
			at = acks[i].EndSeqNum
		}
	}
	return acks
}

func (a *AppendSession) finish(b *batch, ack Ack, err error) {
	a.release(b)
	b.finish(ack, err)
}

// rewind makes ready to send again what is not acknowledged: all of it, or, if
// the server may have more than it remembers, from where that ends.
func (a *AppendSession) rewind(ctx context.Context) error {
	a.mu.Lock()
	wereSent := 0
	for _, b := range a.queue {
		if b.sends > 0 {
			wereSent++
		}
	}
	a.sent, a.skipped = 0, 0
	queue := a.queue
	a.mu.Unlock()
	if wereSent <= remembered || a.opts.ProducerID == "" {
		return nil
	}
	had, err := a.locate(ctx, queue[:wereSent])
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.skipped = max(had-remembered, 0)
	a.sent = a.skipped
	return nil
}

// locate asks the server how many of the batches it has, by an append which it
// must refuse: its producer_seq leaves a gap, and its seq_num is none that a
// stream can reach.
func (a *AppendSession) locate(ctx context.Context, batches []*batch) (int, error) {
	probe, err := encodeBatch(AppendInput{
		Records:    []AppendRecord{{}},
		Conditions: Conditions{MatchSeqNum: new(uint64(stream.MaxSeqNum))},
	})
	if err != nil {
		return 0, err
	}
	probe.producerSeq = 1 << 62
	_, err = a.stream.invokeAppend(ctx, &appendMessage{
		prefix: a.stream.appendPrefix(probe, a.opts.ProducerID, true), records: probe.records,
	})
	failure := asError(a.ctx, err, readOnly, true)
	expected, ok := failure.ExpectedProducerSeq()
	if !errors.Is(failure, ErrProducerGap) || !ok {
		return 0, failure
	}
	if expected == batches[0].producerSeq {
		return 0, nil
	}
	for i, b := range batches {
		if expected == b.producerSeq+uint64(b.count) {
			return i + 1, nil
		}
	}
	return 0, &Error{
		Code: samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, GRPC: codes.FailedPrecondition, detailed: true, sent: true,
		Message: fmt.Sprintf("the stream has %d records of producer %q, which is no batch end of this session: it was forgotten, or two use it",
			expected, a.opts.ProducerID),
		cause: ErrProducerGap,
	}
}

// fail ends the session: its oldest batch in flight with err, and each later one
// with what err means for it.
func (a *AppendSession) fail(err error) {
	a.mu.Lock()
	a.failure = err
	queue, sent := a.queue, a.sent
	a.queue, a.sent, a.skipped = nil, 0, 0
	a.mu.Unlock()
	a.cancel()
	for i, b := range queue {
		a.finish(b, Ack{}, outcome(err, b, i == 0, i < sent))
	}
}

// outcome is the error of a batch that was unfinished when the session ended
// with err. The first is the one that err is about; sent tells whether b was sent
// on the last connection.
func outcome(err error, b *batch, first, sent bool) error {
	var failure *Error
	answered := errors.As(err, &failure) && failure.nothingHappened() && failure.cause == nil
	switch {
	case b.unsure && answered && failure.settles(): // then the earlier attempt failed as well
	case b.unsure, sent && !answered:
		return &unknownError{err}
	}
	if first && answered {
		return err
	}
	return &notAppendedError{err}
}

// notAppendedError is the error of a batch that fell with an earlier one.
type notAppendedError struct{ cause error }

func (e *notAppendedError) Error() string {
	return "not appended, since the session ended before it: " + e.cause.Error()
}

func (e *notAppendedError) Unwrap() error {
	if errors.Is(e.cause, ErrOutcomeUnknown) {
		return nil // unknown is the batch before, not this one
	}
	return e.cause
}

// unknownError is the error of a batch that was sent and never answered.
type unknownError struct{ cause error }

func (e *unknownError) Error() string { return "outcome unknown: " + e.cause.Error() }

func (e *unknownError) Unwrap() []error { return []error{ErrOutcomeUnknown, e.cause} }
