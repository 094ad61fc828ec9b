package shardlog

import (
	"errors"
	"slices"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// append takes a batch: checks it against everything accepted so far, gives it
// its seq_nums and timestamps, and puts it into the open segment. The reply
// follows when it is durable.
func (w *Writer) append(a *Append) {
	if a.Session != nil && a.Session.failed {
		w.fail(a.Tag, ErrSessionFailed)
		return
	}
	s := w.serving(a.Name.Shard(w.cfg.Shards), a)
	if s == nil {
		return
	}
	if l := s.resolve(a.Name, ForAppend, a); l != nil {
		s.admit(l, a)
	}
}

func (s *shard) admit(l *live, a *Append) {
	if a.Session.elsewhere(s.w) {
		s.w.refuse(a, s.w.notOwner(s.id))
		return
	}
	if a.ProducerID != "" {
		known, err := s.seen(l, a)
		if err != nil {
			s.refuseProved(a, err)
			return
		}
		if known {
			return
		}
	}
	if err := conditions(l, a); err != nil {
		s.refuseProved(a, err)
		return
	}
	if l.Tail+stream.SeqNum(a.Count) > stream.MaxSeqNum {
		s.w.refuse(a, ErrStreamFull)
		return
	}
	arrival := uint64(s.w.now.UnixMilli())
	timestamps, err := stamp(l, a.Timestamps, arrival)
	if err != nil {
		s.w.refuse(a, err)
		return
	}
	s.accept(l, a, timestamps, arrival)
}

// conditions checks what the append asks for, the fencing token first.
func conditions(l *live, a *Append) error {
	actual := &ConditionError{
		FencingToken: l.Fence,
		NextSeqNum:   l.Tail,
		NextSeqID:    stream.NewSeqID(l.LastIDMillis, l.Tail, l.ID.Salt()),
	}
	if a.FencingToken != nil && *a.FencingToken != l.Fence {
		actual.Failed = FencingToken
		return actual
	}
	if a.MatchSeqNum != nil && *a.MatchSeqNum != l.Tail {
		actual.Failed = MatchSeqNum
		return actual
	}
	if a.MatchSeqID == nil {
		return nil
	}
	if a.MatchSeqID.Salt() != l.ID.Salt() {
		return ErrForeignSeqID
	}
	if a.MatchSeqID.SeqNum() != l.Tail {
		actual.Failed = MatchSeqID
		return actual
	}
	return nil
}

const maxTimestamp = 1<<48 - 1

// stamp gives the records of a batch their timestamps, as the stream's
// configuration has them: never falling, and not after the arrival unless that
// is allowed.
func stamp(l *live, given []uint64, arrival uint64) ([]uint64, error) {
	stamps := make([]uint64, len(given))
	last := l.LastTimestamp
	for i, t := range given {
		switch {
		case l.Config.TimestampingMode == stream.TimestampingArrival:
			t = arrival
		case t != NoTimestamp:
		case l.Config.TimestampingMode == stream.TimestampingClientRequire:
			return nil, ErrTimestampRequired
		default:
			t = arrival
		}
		if !l.Config.AllowFutureTimestamps {
			t = min(t, arrival)
		}
		if t > maxTimestamp {
			return nil, ErrTimestampRange
		}
		last = max(last, t)
		stamps[i] = last
	}
	return stamps, nil
}

func (s *shard) accept(l *live, a *Append, timestamps []uint64, arrival uint64) {
	if !l.opened {
		s.open(l)
	}
	b := segment.Batch{
		Shard: s.id, Epoch: s.entry.Epoch, Stream: l.ID,
		First:      l.Tail,
		IDMillis:   max(arrival, l.LastIDMillis),
		Timestamps: timestamps,
		Payload:    a.Payload,
		ProducerID: a.ProducerID, ProducerSeq: a.ProducerSeq,
	}
	obey(l, &b, a.Commands)
	l.Tail += stream.SeqNum(a.Count)
	l.LastIDMillis = b.IDMillis
	l.LastTimestamp = timestamps[len(timestamps)-1]
	s.hold(l)

	ack := ackOf(&b)
	tag, session := a.Tag, a.Session
	session.enter(s.w)
	group := s.w.log.addBatch(b, a.Trace, s.w.linger(l.Config), func(err error) {
		s.release(l)
		s.w.settleAppend(tag, session, ack, err)
	})
	if a.ProducerID != "" {
		s.fly(l, flyingBatch{producerBatch(&b), group})
	}
}

// open gives the stream its entry, beside its first batch.
func (s *shard) open(l *live) {
	e := s.entryOf(segment.EntryOpen)
	e.Stream, e.BucketID, e.Name = l.ID, l.BucketID, l.Name
	e.Config, e.ConfigVersion = l.Config, l.ConfigVersion
	l.opened = true
	s.w.log.addEntry(e, nil)
}

// obey carries the batch's command records out.
func obey(l *live, b *segment.Batch, commands []Command) {
	for _, c := range commands {
		if c.Fence != nil {
			b.Fence = c.Fence
			l.Fence = *c.Fence
			continue
		}
		own := b.First + stream.SeqNum(c.Index)
		if to := min(c.Trim, own+1); to > l.Trim {
			b.Trim, l.Trim = to, to
		}
	}
}

func ackOf(b *segment.Batch) Ack {
	return Ack{
		Stream: b.Stream, First: b.First, Count: uint32(len(b.Timestamps)), IDMillis: b.IDMillis,
		FirstTimestamp: b.Timestamps[0], LastTimestamp: b.Timestamps[len(b.Timestamps)-1],
	}
}

// refuseProved refuses an append for what the stream's state says, once that
// state is durable and proved to be current.
func (s *shard) refuseProved(a *Append, err error) {
	a.Session.fail()
	s.w.log.proofs.prove(func(lost error) {
		if lost == nil && s.status != owned {
			lost = s.w.notOwner(s.id)
		}
		if lost != nil {
			err = notAppended(lost)
		}
		s.w.fail(a.Tag, err)
	})
}

// notAppended is what the end of the incarnation means to a batch that was never
// accepted, or never put: whatever became of the others, it changed nothing.
func notAppended(lost error) error {
	if errors.Is(lost, ErrOutcomeUnknown) {
		return ErrDied
	}
	return lost
}

// seen tells whether the stream holds the producer's batch already, or has it on
// its way; then the append is answered as the first one was. The error says what
// is wrong with the producer.
func (s *shard) seen(l *live, a *Append) (bool, error) {
	durable := s.producer(l, a.ProducerID)
	expected := uint64(0)
	known := len(durable) > 0
	for _, b := range durable {
		expected = b.Seq + uint64(b.Count)
		if b.Seq == a.ProducerSeq && b.Count == a.Count {
			s.w.do(Reply{Tag: a.Tag, Ack: ackAgain(l.ID, b)})
			return true, nil
		}
	}
	for _, b := range l.producers {
		if b.ID != a.ProducerID {
			continue
		}
		known, expected = true, b.Seq+uint64(b.Count)
		if b.Seq == a.ProducerSeq && b.Count == a.Count {
			s.repeat(l.ID, b, a)
			return true, nil
		}
	}
	if !known {
		if err := s.isNew(l, a.ProducerID); err != nil {
			return false, err
		}
	}
	switch {
	case a.ProducerSeq == expected:
		return false, nil
	case a.ProducerSeq > expected || s.cutsAnew(l, a, durable):
		return false, &ProducerGapError{Expected: expected}
	default:
		return false, ErrProducerForgotten
	}
}

// isNew refuses a producer that the stream does not remember, unless it is certain
// that it was never here.
func (s *shard) isNew(l *live, id string) error {
	if millis, _ := stream.ProducerTime(id); millis > uint64(s.w.now.UnixMilli())+futureProducer {
		return ErrProducerTime
	}
	if st := s.durable.streams[l.ID]; st != nil && mayHave(&st.Forgotten, id) {
		return ErrProducerForgotten
	}
	return nil
}

// cutsAnew tells whether the append begins inside what the stream remembers of
// the producer without being one of its batches.
func (s *shard) cutsAnew(l *live, a *Append, durable []segment.ProducerBatch) bool {
	if len(durable) > 0 {
		return a.ProducerSeq >= durable[0].Seq
	}
	i := slices.IndexFunc(l.producers, func(b flyingBatch) bool { return b.ID == a.ProducerID })
	return i >= 0 && a.ProducerSeq >= l.producers[i].Seq
}

// repeat answers a when the batch that is on its way has landed.
func (s *shard) repeat(id stream.ID, b flyingBatch, a *Append) {
	tag, session := a.Tag, a.Session
	session.enter(s.w)
	b.group.then = append(b.group.then, func(err error) {
		s.w.settleAppend(tag, session, ackAgain(id, b.ProducerBatch), err)
	})
}

// settleAppend answers an append that was accepted. A session outlives this
// incarnation: what it sends to the next one fails too.
func (w *Writer) settleAppend(tag any, session *Session, ack Ack, err error) {
	session.leave()
	if err != nil {
		session.fail()
	}
	w.do(Reply{Tag: tag, Err: err, Ack: ack})
}

func ackAgain(id stream.ID, b segment.ProducerBatch) Ack {
	return Ack{
		Stream: id, First: b.First, Count: b.Count, IDMillis: b.IDMillis,
		FirstTimestamp: b.FirstTimestamp, LastTimestamp: b.LastTimestamp,
	}
}

func producerBatch(b *segment.Batch) segment.ProducerBatch {
	ack := ackOf(b)
	return segment.ProducerBatch{
		ID: b.ProducerID, Seq: b.ProducerSeq, First: b.First, Count: ack.Count, IDMillis: b.IDMillis,
		FirstTimestamp: ack.FirstTimestamp, LastTimestamp: ack.LastTimestamp,
	}
}

// fly remembers a producer's batch until it is durable.
func (s *shard) fly(l *live, b flyingBatch) {
	l.producers = append(l.producers, b)
	b.group.then = append(b.group.then, func(error) {
		l.producers = slices.DeleteFunc(l.producers, func(o flyingBatch) bool { return o.First == b.First })
	})
}

func (s *shard) producersOf(l *live) [][]segment.ProducerBatch {
	if st := s.durable.streams[l.ID]; st != nil {
		return st.Producers
	}
	return nil
}

// producer is what the durable state remembers of a producer, oldest first.
func (s *shard) producer(l *live, id string) []segment.ProducerBatch {
	producers := s.producersOf(l)
	if i := producerIndex(producers, id); i >= 0 {
		return producers[i]
	}
	return nil
}
