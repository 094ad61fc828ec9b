package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// maxSealed is how many full batches wait for room in flight before Add waits.
const maxSealed = 2

// ErrNotPlaced is a record that is stored but whose seq_num could not be had: its
// ack was lost, and other producers wrote beside it.
var ErrNotPlaced = errors.New("the record is stored; its seq_num is not known")

// ProducerOptions sets a Producer up. Zero values are the defaults.
type ProducerOptions struct {
	// ProducerID names the producer (a UUIDv7), ProducerSeq is how many
	// records it has appended already. Without an id the producer makes one, and
	// takes another if the stream forgets it among many.
	ProducerID  string
	ProducerSeq uint64
	// A batch is sent at MaxRecords (1000), at MaxBytes metered (1 MiB), and when
	// its first record has waited for Linger (5 ms; negative: not at all).
	MaxRecords int
	MaxBytes   int
	Linger     time.Duration
	// MaxInflightBytes and MaxInflightBatches are as in SessionOptions.
	MaxInflightBytes   int
	MaxInflightBatches int
	// FencingToken, if set, must be the stream's for every batch.
	FencingToken *string
	// MatchSeqNum, if set, is the seq_num that the first record must get; the
	// others must follow it without a gap.
	MatchSeqNum *uint64
	// MatchSeqID, if set, is the seq_id that the first record must get.
	MatchSeqID *SeqID
	// OnAck, if set, is told of each batch in order. It must not block for long,
	// nor call the producer.
	OnAck func(Acked)
}

// Acked is the outcome of a run of a producer's records.
type Acked struct {
	First uint64 // the first one's index among all that were added
	Count int
	Bytes int // metered
	Ack   Ack
	Err   error
}

func (o ProducerOptions) withDefaults() ProducerOptions {
	if o.ProducerID == "" {
		o.ProducerID = newProducerID()
	}
	if o.MaxRecords <= 0 || o.MaxRecords > MaxBatchRecords {
		o.MaxRecords = MaxBatchRecords
	}
	if o.MaxBytes <= 0 || o.MaxBytes > MaxBatchBytes {
		o.MaxBytes = MaxBatchBytes
	}
	if o.Linger == 0 {
		o.Linger = 5 * time.Millisecond
	}
	return o
}

// newProducerID is a UUIDv7: by its time a stream can tell a new producer from one
// that it has forgotten.
func newProducerID() string { return uuid.Must(uuid.NewV7()).String() }

// Producer makes batches of single records and appends them in order, each
// record once. It is safe for concurrent use.
type Producer struct {
	opts    ProducerOptions
	session *AppendSession

	mu      sync.Mutex
	current *batch // takes records
	opened  time.Time
	sealed  []*batch // full, not yet submitted
	last    *batch   // the latest that has a record
	added   uint64
	closing bool
	failure error
	room    chan struct{} // closed, and replaced, when sealed gets shorter
	free    [][]byte      // buffers to use again

	wake    chan struct{} // a batch was begun or sealed, or closing was set
	stopped chan struct{} // closed when loop has returned
}

// Producer begins a producer that lasts until Close or the end of ctx.
func (s *Stream) Producer(ctx context.Context, opts ProducerOptions) *Producer {
	ephemeral := opts.ProducerID == ""
	opts = opts.withDefaults()
	p := &Producer{
		opts: opts,
		session: s.AppendSession(ctx, SessionOptions{
			ProducerID: opts.ProducerID, ProducerSeq: opts.ProducerSeq,
			MaxInflightBytes: opts.MaxInflightBytes, MaxInflightBatches: opts.MaxInflightBatches,
			Ephemeral: ephemeral,
		}),
		room:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	p.current = p.begin()
	go p.loop()
	return p
}

// ID is the producer's id.
func (p *Producer) ID() string { return p.session.producerID() }

// Receipt stands for the outcome of one record.
type Receipt struct {
	batch *batch
	index int
}

// Done is closed when the outcome is there.
func (r Receipt) Done() <-chan struct{} { return r.batch.done }

// Wait returns the record's seq_num once it is durable. ErrNotPlaced: it is, but
// the seq_num is not known.
func (r Receipt) Wait(ctx context.Context) (uint64, error) {
	ack, err := Pending{r.batch}.Wait(ctx)
	switch {
	case err != nil:
		return 0, err
	case !ack.Placed:
		return 0, ErrNotPlaced
	}
	return ack.StartSeqNum + uint64(r.index), nil
}

// Add takes a record and copies it. It waits while too much is in flight. An
// error means that the record was not taken.
func (p *Producer) Add(ctx context.Context, r AppendRecord) (Receipt, error) {
	if err := CheckRecord(r); err != nil {
		return Receipt{}, err
	}
	metered := r.MeteredBytes()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.current.fits(metered, p.opts.MaxRecords, p.opts.MaxBytes) && p.refusal() == nil {
		if len(p.sealed) < maxSealed {
			p.seal()
		} else if err := p.awaitRoom(ctx); err != nil {
			return Receipt{}, err
		}
	}
	if err := p.refusal(); err != nil {
		return Receipt{}, err
	}
	receipt := Receipt{batch: p.current, index: p.current.count}
	p.current.add(r, metered)
	p.last = p.current
	p.added++
	if receipt.index == 0 {
		p.opened = time.Now()
		p.signal()
	}
	if p.current.count == p.opts.MaxRecords && len(p.sealed) < maxSealed {
		p.seal()
	}
	return receipt, nil
}

// refusal is why no record is taken. Call with mu held.
func (p *Producer) refusal() error {
	switch {
	case p.failure != nil:
		return fmt.Errorf("the producer has ended: %w", p.failure)
	case p.closing:
		return ErrSessionClosed
	}
	return nil
}

// awaitRoom gives mu up while it waits.
func (p *Producer) awaitRoom(ctx context.Context) error {
	room := p.room
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin makes the batch that takes the next record. Call with mu held.
func (p *Producer) begin() *batch {
	var buffer []byte
	if n := len(p.free); n > 0 {
		buffer, p.free = p.free[n-1], p.free[:n-1]
	}
	b := newBatch(buffer)
	first := p.added
	b.finished = func(b *batch) { p.finished(b, first) }
	b.conditions.FencingToken = p.opts.FencingToken
	if p.opts.MatchSeqNum != nil {
		b.conditions.MatchSeqNum = new(*p.opts.MatchSeqNum + first)
	}
	if first == 0 {
		b.conditions.MatchSeqID = p.opts.MatchSeqID
	}
	return b
}

// seal ends the current batch and begins the next. Call with mu held.
func (p *Producer) seal() {
	p.sealed = append(p.sealed, p.current)
	p.current = p.begin()
	p.signal()
}

func (p *Producer) finished(b *batch, first uint64) {
	if p.opts.OnAck != nil {
		p.opts.OnAck(Acked{First: first, Count: b.count, Bytes: b.metered, Ack: b.ack, Err: b.err})
	}
	// The bytes of a batch that was sent once have left for good when it is
	// acknowledged; of another a dying connection may still hold them.
	if b.err == nil && b.sends == 1 {
		p.mu.Lock()
		p.free = append(p.free, b.records)
		p.mu.Unlock()
		b.records = nil
	}
}

func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// loop hands batches to the session until the producer is closed or the session
// fails.
func (p *Producer) loop() {
	defer close(p.stopped)
	linger := time.NewTimer(0)
	defer linger.Stop()
	for {
		b := p.next(linger)
		if b == nil {
			break
		}
		if err := p.session.submit(p.session.ctx, b); err != nil {
			p.fail(b)
			return
		}
	}
	p.mu.Lock()
	over := p.closing && len(p.sealed) == 0 && p.current.count == 0
	p.mu.Unlock()
	if !over {
		p.fail(nil)
	}
}

// next waits for a batch that is full or has lingered. nil: there will be none.
func (p *Producer) next(linger *time.Timer) *batch {
	for {
		b, wait := p.take()
		if b != nil {
			return b
		}
		if wait == 0 {
			return nil
		}
		linger.Reset(wait)
		select {
		case <-p.wake:
		case <-linger.C:
		case <-p.session.done:
			return nil
		}
	}
}

// take returns the next batch to submit, or how long to wait for one. 0: there
// will be none.
func (p *Producer) take() (*batch, time.Duration) {
	const idle = time.Hour
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sealed) > 0 {
		b := p.sealed[0]
		p.sealed = p.sealed[1:]
		close(p.room)
		p.room = make(chan struct{})
		return b, 0
	}
	if p.current.count == 0 {
		if p.closing {
			return nil, 0
		}
		return nil, idle
	}
	if left := p.opts.Linger - time.Since(p.opened); left > 0 && !p.closing {
		return nil, left
	}
	b := p.current
	p.current = p.begin()
	return b, 0
}

// fail ends the producer with the session's error: the batch that could not be
// submitted and all behind it.
func (p *Producer) fail(refused *batch) {
	<-p.session.done
	p.mu.Lock()
	p.failure = p.session.failure
	if p.failure == nil {
		p.failure = ErrSessionClosed
	}
	var left []*batch
	if refused != nil {
		left = append(left, refused)
	}
	left = append(left, p.sealed...)
	if p.current.count > 0 {
		left = append(left, p.current)
	}
	p.sealed, p.current = nil, newBatch(nil)
	close(p.room)
	p.room = make(chan struct{})
	p.mu.Unlock()
	for _, b := range left {
		b.finish(Ack{}, &notAppendedError{p.failure})
	}
}

// Flush sends what waits and returns when all records added before are durable,
// or with the error of the last of them.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	if p.current.count > 0 {
		p.seal()
	}
	last := p.last
	p.mu.Unlock()
	if last == nil {
		return nil
	}
	_, err := Pending{last}.Wait(ctx)
	return err
}

// Close takes no more records, sends what waits, and returns when all are
// durable, or with the error that ended the producer. If ctx ends first, what is
// in flight is given up; it may or may not be appended.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.signal()
	stop := context.AfterFunc(ctx, p.session.cancel)
	defer stop()
	<-p.stopped
	return p.session.Close(ctx)
}
