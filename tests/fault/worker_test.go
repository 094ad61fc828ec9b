package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"

	"github.com/samsa-io/samsa/tests/history"
)

// worker is one client of one stream. It makes one call after the other.
type worker struct {
	id     int
	rng    *rand.Rand
	stream *client.Stream
	lane   *lane
	h      *history.History

	producer *client.ProducerSeq // nil: plain appends
	lives    int                 // of the producer
	calls    int
	tail     uint64 // as last heard of
	token    string // as last heard of
}

// run makes calls until ctx ends.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.call()
		_ = clock.Sleep(ctx, time.Duration(w.rng.IntN(40))*time.Millisecond)
	}
}

// call makes a call of a random kind.
func (w *worker) call() {
	w.calls++
	switch n := w.rng.IntN(100); {
	case n < 32:
		w.append(w.records(), client.Conditions{}, nil)
	case n < 44:
		at := w.tail
		w.append(w.records(), client.Conditions{MatchSeqNum: &at}, nil)
	case n < 54:
		token := w.token
		w.append(w.records(), client.Conditions{FencingToken: &token}, nil)
	case n < 57:
		w.fence()
	case n < 60:
		w.trim()
	case n < 76:
		w.read(0, nil)
	case n < 84:
		w.read(w.rng.Uint64N(w.tail+3), new(uint64(1+w.rng.IntN(20))))
	default:
		w.checkTail()
	}
}

// records are unlike any others of the stream.
func (w *worker) records() []client.AppendRecord {
	records := make([]client.AppendRecord, 1+w.rng.IntN(4))
	for i := range records {
		body := fmt.Appendf(nil, "worker %d call %d record %d ", w.id, w.calls, i)
		records[i].Body = append(body, make([]byte, w.rng.IntN(200))...)
		if w.rng.IntN(4) == 0 {
			records[i].Headers = []client.Header{{Name: []byte("n"), Value: fmt.Append(nil, w.calls)}}
		}
	}
	return records
}

func (w *worker) fence() {
	token := fmt.Sprintf("token-%d-%d", w.id, w.calls)
	var conditions client.Conditions
	if w.rng.IntN(2) == 0 {
		held := w.token
		conditions.FencingToken = &held
	}
	w.append(command("fence", []byte(token)), conditions, func(o *history.Op) { o.Kind, o.SetToken = history.Fence, &token })
}

func (w *worker) trim() {
	to, ok := w.lane.trimTo(w.tail)
	if !ok {
		return
	}
	w.append(command("trim", bigEndian(to)), client.Conditions{}, func(o *history.Op) { o.Kind, o.SetTrim = history.Trim, &to })
}

// attempt bounds one attempt of a call.
func (w *worker) attempt() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(1500+w.rng.IntN(4000))*time.Millisecond)
}

// append makes an append and records it.
func (w *worker) append(records []client.AppendRecord, conditions client.Conditions, change func(*history.Op)) {
	o := &history.Op{Client: w.id, Kind: history.Append, MatchSeqNum: conditions.MatchSeqNum, FencingToken: conditions.FencingToken}
	for _, r := range records {
		o.Records = append(o.Records, digestOf(r.Headers, r.Body))
	}
	if change != nil {
		change(o)
	}
	input := client.AppendInput{Records: records, Conditions: conditions}
	o.Call = w.h.Now()
	ack, err := w.send(o, input)
	o.Return = w.h.Now()
	w.finish(o, ack, err)
	w.h.Add(o)
}

// send makes one attempt, or as a producer as many as it takes to know.
func (w *worker) send(o *history.Op, input client.AppendInput) (client.Ack, error) {
	if w.producer == nil {
		ctx, cancel := w.attempt()
		defer cancel()
		return w.stream.Append(ctx, input)
	}
	o.Producer = w.producer.ID
	ack, err := w.insist(input)
	if err == nil && w.rng.IntN(3) == 0 {
		w.resend(input, ack)
	}
	switch {
	case err == nil:
		w.producer.Seq += uint64(len(input.Records))
	case errors.Is(err, client.ErrOutcomeUnknown):
		w.newProducer()
	}
	return ack, err
}

// insist repeats a producer's batch. An error that tells for certain is certain only
// of its own attempt: what the server looks at before all else makes it so for those
// before.
func (w *worker) insist(input client.AppendInput) (ack client.Ack, err error) {
	const attempts = 4
	unsure := false
	for range attempts {
		ctx, cancel := w.attempt()
		ack, err = w.stream.Append(ctx, input, client.AsProducer(*w.producer))
		cancel()
		switch {
		case err == nil, errors.Is(err, client.ErrConditionFailed), errors.Is(err, client.ErrProducerGap):
			return ack, err
		case errors.Is(err, client.ErrOutcomeUnknown):
			unsure = true
		case !unsure:
			return ack, err
		}
		_ = clock.Sleep(context.Background(), time.Duration(20+w.rng.IntN(200))*time.Millisecond)
	}
	if unsure && !errors.Is(err, client.ErrOutcomeUnknown) {
		err = fmt.Errorf("%w: %w", client.ErrOutcomeUnknown, err)
	}
	return ack, err
}

// resend sends an acknowledged batch again: the answer is the first ack.
func (w *worker) resend(input client.AppendInput, first client.Ack) {
	ctx, cancel := w.attempt()
	defer cancel()
	again, err := w.stream.Append(ctx, input, client.AsProducer(*w.producer))
	if err == nil && (again.StartSeqID != first.StartSeqID || again.EndSeqNum != first.EndSeqNum) {
		w.h.Violatef("a producer's batch was acknowledged at %d, and when sent again at %d", first.StartSeqNum, again.StartSeqNum)
	}
	if errors.Is(err, client.ErrConditionFailed) || errors.Is(err, client.ErrProducerGap) {
		w.h.Violatef("a producer's acknowledged batch was refused when sent again: %v", err)
	}
}

func (w *worker) newProducer() {
	w.lives++
	w.producer = &client.ProducerSeq{ID: fmt.Sprintf("worker-%d-%d", w.id, w.lives)}
}

// finish notes what an append was told.
func (w *worker) finish(o *history.Op, ack client.Ack, err error) {
	finish(o, err)
	switch o.Outcome {
	case history.OK:
		o.Start, o.Next = ack.StartSeqNum, ack.EndSeqNum
		w.tail = ack.Tail.SeqNum
		if o.SetToken != nil {
			w.token = *o.SetToken
		}
		w.see(ack.StartSeqNum, ack.StartSeqID, o.Records[0], ack.StartTimestamp)
	case history.Mismatch:
		if o.ActualTail != nil {
			w.tail = *o.ActualTail
		}
		if o.ActualToken != nil {
			w.token = *o.ActualToken
		}
	}
}

// finish notes an error, or that there was none.
func finish(o *history.Op, err error) {
	var e *client.Error
	switch {
	case err == nil:
		o.Outcome = history.OK
		return
	case errors.Is(err, client.ErrOutcomeUnknown), !errors.As(err, &e):
		o.Outcome = history.Unknown
	case errors.Is(err, client.ErrConditionFailed):
		o.Outcome = history.Mismatch
		if token, ok := e.FencingToken(); ok {
			o.ActualToken = &token
		} else if tail, ok := e.NextSeqNum(); ok {
			o.ActualTail = &tail
		}
	default:
		o.Outcome = history.Failed
	}
	o.Error = err.Error()
}

func (w *worker) see(seq uint64, id client.SeqID, digest history.Digest, timestamp uint64) {
	w.h.See(seq, history.Sighting{ID: id.String(), Digest: digest, Timestamp: timestamp})
}

// read reads once.
func (w *worker) read(from uint64, count *uint64) {
	ctx, cancel := w.attempt()
	defer cancel()
	w.readOnce(ctx, from, count)
}

func (w *worker) readOnce(ctx context.Context, from uint64, count *uint64) error {
	o := &history.Op{Client: w.id, Kind: history.Read, From: from, Count: count, Call: w.h.Now()}
	result, err := w.stream.Read(ctx, client.Read{Start: client.FromSeqNum(from), Count: count})
	o.Return = w.h.Now()
	var e *client.Error
	if errors.Is(err, client.ErrPastTail) && errors.As(err, &e) {
		if tail, ok := e.NextSeqNum(); ok {
			o.Outcome, o.ActualTail, o.Error = history.PastTail, &tail, err.Error()
			w.h.Add(o)
			return err
		}
	}
	finish(o, err)
	if err == nil {
		w.took(o, result)
	}
	w.h.Add(o)
	return err
}

// took notes what a read gave.
func (w *worker) took(o *history.Op, result client.ReadResult) {
	o.Next = result.NextSeqNum
	o.Start = o.Next
	for i, r := range result.Records {
		if i == 0 {
			o.Start = r.SeqNum
		}
		if r.SeqNum != o.Start+uint64(i) {
			w.h.Violatef("a read from %d gave record %d where %d was due", o.From, r.SeqNum, o.Start+uint64(i))
		}
		digest := digestOf(r.Headers, r.Body)
		o.Got = append(o.Got, digest)
		w.see(r.SeqNum, r.SeqID, digest, r.Timestamp)
	}
	if uint64(len(o.Got)) != o.Next-o.Start {
		w.h.Violatef("a read from %d gave %d records from %d on and goes on at %d", o.From, len(o.Got), o.Start, o.Next)
	}
	if result.Tail != nil {
		w.tail = result.Tail.SeqNum
	}
}

func (w *worker) checkTail() {
	ctx, cancel := w.attempt()
	defer cancel()
	o := &history.Op{Client: w.id, Kind: history.Tail, Call: w.h.Now()}
	tail, err := w.stream.CheckTail(ctx)
	o.Return = w.h.Now()
	finish(o, err)
	if err == nil {
		o.Next, w.tail = tail.SeqNum, tail.SeqNum
	}
	w.h.Add(o)
}
