package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/client"
)

// Run puts the load on the server and checks what it stored.
func Run(ctx context.Context, c *client.Client, config Config) (result Result, err error) {
	r := &run{Config: config, client: c, name: uuid.NewString(), acks: newHistogram(), deliveries: newHistogram()}
	if err := r.prepare(ctx); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, r.cleanUp(context.WithoutCancel(ctx))) }()
	r.result = Result{
		Mode: config.Mode, Streams: config.Streams, Clients: config.Clients, RecordBytes: config.RecordBytes, Batch: config.batch(),
	}
	switch config.Mode {
	case Read:
		err = r.fillAndRead(ctx)
	case Live:
		err = r.writeAndFollow(ctx)
	default:
		err = r.write(ctx)
	}
	if err == nil && config.Verify && config.Mode != Read {
		err = r.verify(ctx)
	}
	r.finish()
	return r.result, err
}

// run is a load under way.
type run struct {
	Config
	client  *client.Client
	name    string // tells the streams of runs in one bucket apart
	bucket  *client.Bucket
	made    bool
	result  Result
	written atomic.Uint64 // records acknowledged
	read    atomic.Uint64 // records read or delivered, in all
	took    time.Duration // of the measured part

	acks, deliveries *histogram
}

func (r *run) prepare(ctx context.Context) error {
	if r.Bucket == "" {
		r.Bucket = "bench-" + uuid.NewString()
		r.made = true
		_, err := r.client.CreateBucket(ctx, r.Bucket, client.BucketConfig{
			CreateStreamOnAppend: new(true), CreateStreamOnRead: new(true),
			DefaultStream: client.StreamConfig{StorageClass: r.Class, RetentionAge: new(24 * time.Hour)},
		})
		if err != nil {
			return err
		}
	}
	r.bucket = r.client.Bucket(r.Bucket)
	return nil
}

func (r *run) cleanUp(ctx context.Context) error {
	if !r.made || r.Keep {
		return nil
	}
	return r.client.DeleteBucket(ctx, r.Bucket)
}

// stream is the handle of stream i.
func (r *run) stream(i int) *client.Stream {
	return r.bucket.Stream(fmt.Sprintf("bench/%s/%d", r.name, i))
}

func (r *run) finish() {
	seconds := max(r.took.Seconds(), 1e-9)
	out := &r.result
	out.Records = r.written.Load()
	if r.Mode == Read {
		out.Records = r.read.Load()
	}
	out.Seconds = r.took.Seconds()
	out.RecordsPerSecond = float64(out.Records) / seconds
	out.MiBPerSecond = out.RecordsPerSecond * float64(r.RecordBytes) / (1 << 20)
	out.Ack = r.acks.latencies()
	if r.Mode == Live {
		out.Subscribers = r.Subscribers
		out.Delivered = r.read.Load()
		out.DeliveredPerSec = float64(out.Delivered) / seconds
		out.Delivery = r.deliveries.latencies()
	}
}

// pace says when a client's batches are due, and when it has written enough.
type pace struct {
	begun, end time.Time     // end zero: no end
	every      time.Duration // 0: at once
	left       int           // records; negative: no limit
	batches    int
}

func (r *run) pace(clientNumber int, begun time.Time) *pace {
	p := &pace{begun: begun, left: -1}
	if r.Rate > 0 {
		p.every = time.Duration(float64(r.Clients*r.batch()) / r.Rate * float64(time.Second))
	}
	if r.Records > 0 {
		p.left = r.Records / r.Clients
		if clientNumber < r.Records%r.Clients {
			p.left++
		}
	} else {
		p.end = begun.Add(r.Duration)
	}
	return p
}

// next waits until the next batch is due. It returns when it was due, and how
// many records it may have; 0: enough is written.
func (p *pace) next(ctx context.Context, batch int) (time.Time, int) {
	due := time.Now()
	if p.every > 0 {
		due = p.begun.Add(time.Duration(p.batches) * p.every)
		p.batches++
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
	if ctx.Err() != nil || !p.end.IsZero() && !due.Before(p.end) {
		return due, 0
	}
	if p.left >= 0 {
		batch = min(batch, p.left)
		p.left -= batch
	}
	return due, batch
}

// write runs all clients.
func (r *run) write(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for i := range r.Clients {
		group.Go(func() error {
			if r.Mode == Append {
				return r.lockstep(ctx, i, r.pace(i, begun))
			}
			return r.pipeline(ctx, i, r.pace(i, begun), nil)
		})
	}
	err := group.Wait()
	r.took = time.Since(begun)
	return err
}

// writer makes the batches of one client for one stream.
type writer struct {
	id, stream uint32
	written    uint64
	size       int
	memory     []byte
	records    []client.AppendRecord
}

func (r *run) writer(id, stream int) *writer {
	return &writer{id: uint32(id), stream: uint32(stream), size: r.RecordBytes}
}

// batch is the next count records, good until the next call.
func (w *writer) batch(count int) client.AppendInput {
	if need := count * w.size; cap(w.memory) < need {
		w.memory = make([]byte, need)
	}
	w.records = w.records[:0]
	for i := range count {
		body := w.memory[i*w.size : (i+1)*w.size]
		fill(body, w.id, w.stream, w.written)
		w.written++
		w.records = append(w.records, client.AppendRecord{Body: body})
	}
	return client.AppendInput{Records: w.records}
}

// rememberedProducers is how many producers of a stream a stream-writer remembers.
const rememberedProducers = 64

// lockstep appends one batch after the other, to each of the client's streams in
// turn.
func (r *run) lockstep(ctx context.Context, id int, p *pace) error {
	writers := map[int]*writer{}
	producer, begun := uuid.Must(uuid.NewV7()).String(), map[int]uint64{}
	// A stream remembers a limited number of producers. Where more append to it, each
	// batch has one of its own, which serves as well: nothing else is in flight.
	crowded := r.Clients > rememberedProducers*r.Streams
	for at := id % r.Streams; ; {
		due, count := p.next(ctx, r.batch())
		if count == 0 {
			return ctx.Err()
		}
		w := writers[at]
		if w == nil {
			w = r.writer(id, at)
			writers[at] = w
		}
		if crowded {
			producer, begun[at] = uuid.Must(uuid.NewV7()).String(), w.written
		}
		seq := client.AsProducer(client.ProducerSeq{ID: producer, Seq: w.written - begun[at]})
		if _, err := r.stream(at).Append(ctx, w.batch(count), seq); err != nil {
			return err
		}
		r.acks.record(time.Since(due))
		r.written.Add(uint64(count))
		if at += r.Clients; at >= r.Streams {
			at = id % r.Streams
		}
	}
}

// sent is a batch of a session on its way.
type sent struct {
	pending client.Pending
	due     time.Time
	count   int
}

// pipeline keeps the session of one client full. acked, if not nil, is told of
// each ack.
func (r *run) pipeline(ctx context.Context, id int, p *pace, acked func(client.Ack)) error {
	at := id % r.Streams
	session := r.stream(at).AppendSession(ctx, client.SessionOptions{
		ProducerID: uuid.Must(uuid.NewV7()).String(), Ephemeral: true, MaxInflightBatches: r.InFlight,
	})
	inFlight := make(chan sent, 1024)
	var group errgroup.Group
	group.Go(func() error { return r.awaitAcks(inFlight, acked) })
	err := r.submit(ctx, session, r.writer(id, at), p, inFlight)
	close(inFlight)
	closed := session.Close(ctx)
	if waited := group.Wait(); waited != nil {
		return waited
	}
	return errors.Join(err, closed)
}

func (r *run) submit(ctx context.Context, session *client.AppendSession, w *writer, p *pace, inFlight chan<- sent) error {
	for {
		due, count := p.next(ctx, r.batch())
		if count == 0 {
			return ctx.Err()
		}
		pending, err := session.Submit(ctx, w.batch(count))
		if err != nil {
			return err
		}
		inFlight <- sent{pending, due, count}
	}
}

func (r *run) awaitAcks(inFlight <-chan sent, acked func(client.Ack)) (failure error) {
	for s := range inFlight {
		ack, err := s.pending.Wait(context.Background()) // each is finished by its session
		if err != nil {
			if failure == nil {
				failure = err
			}
			continue
		}
		r.acks.record(time.Since(s.due))
		r.written.Add(uint64(s.count))
		if acked != nil {
			acked(ack)
		}
	}
	return failure
}

// verify reads all streams back.
func (r *run) verify(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	var found atomic.Uint64
	for i := range r.Streams {
		group.Go(func() error {
			count, err := r.readAll(ctx, i)
			found.Add(count)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("verification: %w", err)
	}
	r.result.Verified = found.Load()
	if found.Load() != r.written.Load() {
		return fmt.Errorf("verification: %d records were acknowledged, %d are there", r.written.Load(), found.Load())
	}
	return nil
}

// readAll reads a stream up to its tail and checks each record.
func (r *run) readAll(ctx context.Context, stream int) (uint64, error) {
	session := r.stream(stream).ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
	defer session.Close()
	check := newChecker(uint32(stream), r.RecordBytes)
	for {
		batch, err := session.Next()
		if errors.Is(err, io.EOF) {
			return check.count, nil
		}
		if err != nil {
			return check.count, err
		}
		for _, record := range batch.Records {
			if !r.Verify {
				check.count++
			} else if err := check.check(record); err != nil {
				return check.count, err
			}
		}
	}
}

// fillAndRead fills the streams by sessions, unmeasured, and then reads them from
// the beginning: once, or with a duration again and again.
func (r *run) fillAndRead(ctx context.Context) error {
	if r.Records <= 0 {
		r.Records = max(256<<20/r.RecordBytes, 1)
	}
	if err := r.write(ctx); err != nil {
		return err
	}
	r.acks = newHistogram()
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for i := range r.Clients {
		group.Go(func() error {
			for {
				count, err := r.readAll(ctx, i%r.Streams)
				r.read.Add(count)
				if err != nil || time.Since(begun) >= r.Duration {
					return err
				}
			}
		})
	}
	err := group.Wait()
	r.took = time.Since(begun)
	if r.Verify {
		r.result.Verified = r.read.Load()
	}
	return err
}
