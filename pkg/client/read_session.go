package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// heartbeatInterval is how often a server sends something at least. After three
// such times of silence the connection counts as dead.
const (
	heartbeatInterval = 15 * time.Second
	silenceLimit      = 3 * heartbeatInterval
)

// SessionOption changes a ReadSession.
type SessionOption func(*ReadSession)

// StopAtTail ends the session, with io.EOF, once it has caught up.
func StopAtTail() SessionOption { return func(s *ReadSession) { s.stopAtTail = true } }

// silentFor sets the silence after which a connection counts as dead.
func silentFor(limit time.Duration) SessionOption {
	return func(s *ReadSession) { s.silence = limit }
}

// ReadSession reads up to the tail and then follows it, without a gap or a
// repeat, over as many connections as it takes. Not for concurrent use, but for
// Close.
type ReadSession struct {
	stream     *Stream
	read       Read
	stopAtTail bool
	silence    time.Duration
	ctx        context.Context
	cancel     context.CancelFunc
	tries      attempts

	// The connection; call is nil between two of them.
	call    grpc.ClientStream
	hangUp  context.CancelFunc
	callCtx context.Context

	// next is where to read on, once located.
	next    uint64
	located bool
	// What is left of the limits.
	count, bytes *uint64
	delivered    bool

	err error // why the session ended
}

// ReadSession begins a session. It lasts until a limit is met, ctx ends, or
// Close. A zero r.Start is the tail.
func (s *Stream) ReadSession(ctx context.Context, r Read, opts ...SessionOption) *ReadSession {
	session := &ReadSession{
		stream: s, read: r, silence: silenceLimit,
		tries: attempts{retry: s.client.retry},
		count: copied(r.Count), bytes: copied(r.Bytes),
	}
	session.ctx, session.cancel = context.WithCancel(ctx)
	for _, opt := range opts {
		opt(session)
	}
	return session
}

func copied(n *uint64) *uint64 {
	if n == nil {
		return nil
	}
	return new(*n)
}

// Close ends the session; a Next that waits returns.
func (s *ReadSession) Close() { s.cancel() }

// Records gives each record in turn. An error other than the plain end is the
// last thing it gives.
func (s *ReadSession) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			batch, err := s.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range batch.Records {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Position is the seq_num of the next record to come, once the server has said.
func (s *ReadSession) Position() (uint64, bool) { return s.next, s.located }

// Next waits for records, or for the signal that the session has caught up (then
// Tail is set, and there may be no record). io.EOF: a limit is met.
func (s *ReadSession) Next() (Batch, error) {
	for s.err == nil {
		batch, err := s.advance()
		if err != nil {
			s.end(err)
		}
		if len(batch.Records) > 0 || batch.Tail != nil {
			return batch, nil
		}
	}
	return Batch{}, s.err
}

func (s *ReadSession) end(err error) {
	s.err = err
	s.drop()
	s.cancel()
}

// advance takes one message, or gets over one failure. With an error the session
// is over, after the records that come beside it.
func (s *ReadSession) advance() (Batch, error) {
	if s.spent() {
		return Batch{}, io.EOF
	}
	message, err := s.receive()
	if err != nil {
		return Batch{}, s.recover(err)
	}
	return s.accept(message)
}

// spent tells whether the limits leave nothing more to read. The first request
// goes out even so: the server has the last word on the start.
func (s *ReadSession) spent() bool {
	return s.delivered && (s.count != nil && *s.count == 0 || s.bytes != nil && *s.bytes == 0)
}

// receive takes a message off the connection, which it opens if need be.
func (s *ReadSession) receive() (*readMessage, error) {
	if s.call == nil {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	silence := time.AfterFunc(s.silence, s.hangUp)
	defer silence.Stop()
	message := new(readMessage)
	if err := s.call.RecvMsg(message); err != nil {
		return nil, err
	}
	s.tries.progress()
	return message, nil
}

func (s *ReadSession) open() error {
	s.callCtx, s.hangUp = context.WithCancel(s.ctx)
	call, err := s.stream.client.conn().NewStream(s.callCtx, &samsav1.StreamService_ServiceDesc.Streams[1],
		samsav1.StreamService_ReadSession_FullMethodName)
	if err != nil {
		return err
	}
	s.call = call
	if err := call.SendMsg(s.request()); err != nil && !errors.Is(err, io.EOF) {
		return err // io.EOF: RecvMsg says why
	}
	return call.CloseSend()
}

// request asks for what is left to read.
func (s *ReadSession) request() *samsav1.ReadSessionRequest {
	rest := s.read
	rest.Count, rest.Bytes = s.count, s.bytes
	if s.located {
		rest.Start = FromSeqNum(s.next)
	}
	return rest.proto(s.stream)
}

func (s *ReadSession) drop() {
	if s.hangUp != nil {
		s.hangUp()
	}
	s.call = nil
}

// recover ends the session for good (with an error), or makes it ready to open
// the next connection.
func (s *ReadSession) recover(err error) error {
	silent := s.callCtx.Err() != nil && s.ctx.Err() == nil
	s.drop()
	if errors.Is(err, io.EOF) && s.mayEnd() {
		return io.EOF
	}
	failure := asError(s.ctx, err, readOnly, true)
	if silent {
		failure.GRPC, failure.Code = codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE
		failure.Message = fmt.Sprintf("the server was silent for %v", s.silence)
	}
	if !s.tries.retry.allows(failure, true) {
		return failure
	}
	if end := s.tries.wait(s.ctx, failure); end != nil {
		return because(failure, end)
	}
	return nil
}

// mayEnd tells whether the server has a reason to end the session in good form.
func (s *ReadSession) mayEnd() bool {
	return s.read.Count != nil || s.read.Bytes != nil || s.read.Until != nil || s.read.Wait > 0
}

// accept checks a message and takes from it what the limits allow.
func (s *ReadSession) accept(m *readMessage) (Batch, error) {
	batch := Batch{Records: m.records, Tail: m.tail}
	if err := s.check(&batch); err != nil {
		return Batch{}, err
	}
	cut := s.cut(&batch)
	if n := len(batch.Records); n > 0 {
		s.next, s.located, s.delivered = batch.Records[n-1].SeqNum+1, true, true
	}
	s.locate(m)
	if cut {
		batch.Tail = nil
		return batch, io.EOF
	}
	return batch, s.caughtUp(&batch)
}

// locate learns the position from a message that came before any record.
func (s *ReadSession) locate(m *readMessage) {
	switch {
	case s.located:
	case m.next != nil:
		s.next, s.located = uint64(m.next.SeqNum()), true
	case m.tail != nil:
		s.next, s.located = m.tail.SeqNum, true
	}
}

// check sees that records are dense, and that what is missing before the first
// one was trimmed.
func (s *ReadSession) check(batch *Batch) error {
	if len(batch.Records) == 0 {
		return nil
	}
	first := batch.Records[0].SeqNum
	for i, r := range batch.Records {
		if r.SeqNum != first+uint64(i) {
			return protocolErrorf("record %d follows record %d", r.SeqNum, first+uint64(i)-1)
		}
	}
	switch {
	case !s.located || first == s.next:
		return nil
	case first < s.next:
		return protocolErrorf("record %d comes again: %d is next", first, s.next)
	}
	batch.Skipped = first - s.next
	return s.checkTrimmed(s.next, first)
}

// checkTrimmed asks for the first record kept from a position on: none before
// limit may exist any more.
func (s *ReadSession) checkTrimmed(from, limit uint64) error {
	result, err := s.stream.Read(s.ctx, Read{Start: FromSeqNum(from), Count: new(uint64(1)), Clamp: true})
	if err != nil {
		return fmt.Errorf("asking whether records %d to %d were trimmed: %w", from, limit-1, err)
	}
	if len(result.Records) > 0 && result.Records[0].SeqNum < limit {
		return protocolErrorf("record %d was left out: %d came instead of %d", result.Records[0].SeqNum, limit, from)
	}
	return nil
}

// cut takes off what the limits leave no room for, and tells whether they are
// met. The server keeps them for each connection; only the client knows the sum.
func (s *ReadSession) cut(batch *Batch) bool {
	for i, r := range batch.Records {
		if s.exhausted(r, s.delivered || i > 0) {
			batch.Records = batch.Records[:i]
			return true
		}
		if s.count != nil {
			*s.count--
		}
		if s.bytes != nil {
			*s.bytes -= min(*s.bytes, uint64(r.MeteredBytes()))
		}
	}
	return len(batch.Records) > 0 && (s.count != nil && *s.count == 0 || s.bytes != nil && *s.bytes == 0)
}

// exhausted tells whether the limits have no room for r.
func (s *ReadSession) exhausted(r Record, later bool) bool {
	if s.count != nil && *s.count == 0 {
		return true
	}
	// The first record may exceed the limit of bytes, unless that is 0.
	return s.bytes != nil && (*s.bytes == 0 || later && uint64(r.MeteredBytes()) > *s.bytes)
}

// caughtUp ends a session that is to stop at the tail when it is there.
func (s *ReadSession) caughtUp(batch *Batch) error {
	if !s.stopAtTail || batch.Tail == nil || !s.located {
		return nil
	}
	if batch.Tail.SeqNum <= s.next {
		return io.EOF
	}
	if len(batch.Records) == 0 && s.checkTrimmed(s.next, batch.Tail.SeqNum) == nil {
		return io.EOF // all up to the tail was trimmed away
	}
	return nil
}
