package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

// submitAll submits batches of 10 records and returns what awaits their acks.
func submitAll(t testing.TB, session *client.AppendSession, batches int) []client.Pending {
	t.Helper()
	var all []client.Pending
	for i := range batches {
		pending, err := session.Submit(t.Context(), batchOf(i*10, 10))
		require.NoError(t, err)
		all = append(all, pending)
	}
	return all
}

func requireAcked(t testing.TB, all []client.Pending) (recovered int) {
	t.Helper()
	for i, pending := range all {
		ack, err := pending.Wait(t.Context())
		require.NoError(t, err)
		require.True(t, ack.Placed)
		require.Equal(t, uint64(i*10), ack.StartSeqNum)
		require.Equal(t, uint64(i*10+10), ack.EndSeqNum)
		if ack.Recovered {
			recovered++
		}
	}
	return recovered
}

func TestAppendSession_AcksInOrder(t *testing.T) {
	f := newFixture(t)
	for _, producer := range []string{"", "p"} {
		session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: producer})
		all := submitAll(t, session, 50)
		require.NoError(t, session.Close(t.Context()))
		last, err := all[49].Wait(t.Context())
		require.NoError(t, err)
		first, err := all[0].Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, first.StartSeqNum+500, last.EndSeqNum)
	}
	_, err := f.stream.AppendSession(t.Context(), client.SessionOptions{}).Submit(t.Context(), client.AppendInput{})
	require.ErrorIs(t, err, client.ErrInvalidArgument)
}

func TestAppendSession_ClosedOneTakesNothing(t *testing.T) {
	f := newFixture(t)
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{})
	require.NoError(t, session.Close(t.Context()))
	_, err := session.Submit(t.Context(), batchOf(0, 1))
	require.ErrorIs(t, err, client.ErrSessionClosed)
	require.NoError(t, session.Close(t.Context()))
}

// Each fault strikes in the middle of a session with a producer id: every batch
// is there once, in order, and is acknowledged at its place.
func TestAppendSession_ResumesAfterFaults(t *testing.T) {
	every := func(k int, f func() error) func(int) error {
		return func(n int) error {
			if n%k == 0 {
				return f()
			}
			return nil
		}
	}
	storm := func(n int) error {
		if n%40 < 8 {
			return clienttest.Unavailable(nil)
		}
		return nil
	}
	for name, faults := range map[string]func(*clienttest.Server) clienttest.Faults{
		"connection killed between durability and ack": func(s *clienttest.Server) clienttest.Faults {
			return clienttest.Faults{AfterAppend: every(23, func() error { s.KillConnections(); return nil })}
		},
		"ack lost": func(*clienttest.Server) clienttest.Faults {
			return clienttest.Faults{AfterAppend: every(17, clienttest.OutcomeUnknown)}
		},
		"acks of many batches lost": func(*clienttest.Server) clienttest.Faults {
			return clienttest.Faults{BeforeAck: every(31, clienttest.OutcomeUnknown)}
		},
		"storm of UNAVAILABLE": func(*clienttest.Server) clienttest.Faults { return clienttest.Faults{BeforeAppend: storm} },
		"killed before and lost after": func(s *clienttest.Server) clienttest.Faults {
			return clienttest.Faults{
				BeforeAppend: every(19, func() error { s.KillConnections(); return nil }),
				AfterAppend:  every(13, clienttest.OutcomeUnknown),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.server.SetFaults(faults(f.server))
			session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
			all := submitAll(t, session, 200)
			require.NoError(t, session.Close(t.Context()))
			requireAcked(t, all)
			f.server.SetFaults(clienttest.Faults{})
			f.requireStored(t, 2000)
		})
	}
}

// holdAcks lets the server take batches without acknowledging any after the
// first, until want of them stand. Then it cuts the connections.
func holdAcks(s *clienttest.Server, want int) clienttest.Faults {
	var once sync.Once
	reached := make(chan struct{})
	return clienttest.Faults{
		AfterAppend: func(n int) error {
			if n >= want {
				once.Do(func() { close(reached) })
			}
			return nil
		},
		BeforeAck: func(n int) error {
			if n == 2 {
				<-reached
				s.KillConnections()
			}
			return nil
		},
	}
}

// The server has 40 batches more than it acknowledged, and remembers five.
func TestAppendSession_ResumesBeyondWhatTheServerRemembers(t *testing.T) {
	f := newFixture(t)
	f.server.SetFaults(holdAcks(f.server, 41))
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
	all := submitAll(t, session, 60)
	require.NoError(t, session.Close(t.Context()))
	require.GreaterOrEqual(t, requireAcked(t, all), 30)
	f.requireStored(t, 600)
}

// Another writer's records stand among those whose acks were lost: they are
// there, but where is not known.
func TestAppendSession_SaysWhenAPlaceIsNotKnown(t *testing.T) {
	f := newFixture(t)
	faults := holdAcks(f.server, 41)
	f.server.SetFaults(faults)
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
	all := submitAll(t, session, 20)
	require.Eventually(t, func() bool {
		tail, err := f.stream.CheckTail(t.Context())
		return err == nil && tail.SeqNum == 200
	}, 10*time.Second, time.Millisecond)
	f.append(t, client.AppendRecord{Body: []byte("stranger")})
	all = append(all, submitAll(t, session, 40)...)
	require.NoError(t, session.Close(t.Context()))
	unplaced := 0
	for _, pending := range all {
		ack, err := pending.Wait(t.Context())
		require.NoError(t, err)
		if !ack.Placed {
			require.True(t, ack.Recovered)
			require.Zero(t, ack.EndSeqNum)
			unplaced++
		}
	}
	require.Positive(t, unplaced)
	tail, err := f.stream.CheckTail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(601), tail.SeqNum)
}

func TestAppendSession_WithoutProducerSaysWhatIsUnknown(t *testing.T) {
	f := newFixture(t)
	f.server.SetFaults(clienttest.Faults{AfterAppend: func(n int) error {
		if n == 3 {
			f.server.KillConnections()
		}
		return nil
	}})
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{})
	for i := range 3 {
		pending, err := session.Submit(t.Context(), batchOf(i, 1))
		require.NoError(t, err)
		_, err = pending.Wait(t.Context())
		if i == 2 {
			require.ErrorIs(t, err, client.ErrOutcomeUnknown)
		} else {
			require.NoError(t, err)
		}
	}
	_, err := session.Submit(t.Context(), batchOf(3, 1))
	require.Error(t, err)
	require.ErrorIs(t, session.Close(t.Context()), client.ErrOutcomeUnknown)
	f.requireStored(t, 3)
}

func TestAppendSession_WithoutProducerResumesWhenNothingHappened(t *testing.T) {
	f := newFixture(t)
	f.server.SetFaults(clienttest.Faults{BeforeAppend: func(n int) error {
		if n%7 == 3 {
			return clienttest.Unavailable(nil)
		}
		return nil
	}})
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{})
	all := submitAll(t, session, 30)
	require.NoError(t, session.Close(t.Context()))
	requireAcked(t, all)
	f.requireStored(t, 300)
}

func TestAppendSession_FirstFailureFailsAllLater(t *testing.T) {
	f := newFixture(t)
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
	good := submitAll(t, session, 2)
	bad := batchOf(0, 1)
	bad.FencingToken = new("stale")
	refused, err := session.Submit(t.Context(), bad)
	require.NoError(t, err)
	later, laterErr := session.Submit(t.Context(), batchOf(0, 1)) // may come after the end

	requireAcked(t, good)
	_, err = refused.Wait(t.Context())
	require.ErrorIs(t, err, client.ErrConditionFailed)
	if laterErr == nil {
		_, laterErr = later.Wait(t.Context())
	}
	require.ErrorIs(t, laterErr, client.ErrConditionFailed)
	require.NotErrorIs(t, laterErr, client.ErrOutcomeUnknown)
	require.ErrorIs(t, session.Close(t.Context()), client.ErrConditionFailed)
	f.requireStored(t, 20)
}

func TestAppendSession_BackpressureBoundsWhatIsInFlight(t *testing.T) {
	for name, opts := range map[string]client.SessionOptions{
		"batches": {ProducerID: "p", MaxInflightBatches: 3},
		"bytes":   {ProducerID: "p", MaxInflightBytes: 500},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			open := make(chan struct{})
			f.server.SetFaults(clienttest.Faults{BeforeAppend: func(int) error { <-open; return nil }})
			session := f.stream.AppendSession(t.Context(), opts)
			submitted := 0
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			for ; ; submitted++ {
				if _, err := session.Submit(ctx, batchOf(submitted*10, 10)); err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					break
				}
			}
			require.Equal(t, 3, submitted)
			close(open)
			require.NoError(t, session.Close(t.Context()))
			f.requireStored(t, 30)
		})
	}
}

func TestAppendSession_EndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	open := make(chan struct{})
	defer close(open)
	f.server.SetFaults(clienttest.Faults{BeforeAppend: func(int) error { <-open; return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	session := f.stream.AppendSession(ctx, client.SessionOptions{ProducerID: "p", MaxInflightBatches: 1})
	pending, err := session.Submit(t.Context(), batchOf(0, 1))
	require.NoError(t, err)
	blocked := make(chan error)
	go func() {
		_, err := session.Submit(t.Context(), batchOf(1, 1))
		blocked <- err
	}()
	cancel()
	require.ErrorIs(t, <-blocked, context.Canceled)
	_, err = pending.Wait(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, session.Close(t.Context()), context.Canceled)
}

func TestAppendSession_GivesUpWhenNothingMoves(t *testing.T) {
	retry := fastRetry()
	retry.GiveUpAfter = 50 * time.Millisecond
	f := newFixture(t, client.WithRetry(retry))
	f.server.SetFaults(clienttest.Faults{BeforeAppend: func(int) error { return clienttest.Unavailable(nil) }})
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
	pending, err := session.Submit(t.Context(), batchOf(0, 1))
	require.NoError(t, err)
	_, err = pending.Wait(t.Context())
	require.ErrorIs(t, err, client.ErrUnavailable)
	require.NotErrorIs(t, err, client.ErrOutcomeUnknown)
	require.Error(t, session.Close(t.Context()))
}

func TestAppendSession_ForgottenProducerIsUnknown(t *testing.T) {
	f := newFixture(t)
	f.append(t, record(0))
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p", ProducerSeq: 5})
	pending, err := session.Submit(t.Context(), batchOf(0, 1))
	require.NoError(t, err)
	_, err = pending.Wait(t.Context())
	require.ErrorIs(t, err, client.ErrProducerGap)
	var failure *client.Error
	require.ErrorAs(t, err, &failure)
	expected, ok := failure.ExpectedProducerSeq()
	require.True(t, ok)
	require.Zero(t, expected)
	require.Error(t, session.Close(t.Context()))
}

// A batch older than what the stream remembers is never resolved: the session
// does not ask for ever.
func TestAppendSession_TooOldABatchIsUnknown(t *testing.T) {
	f := newFixture(t)
	first := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
	submitAll(t, first, 10)
	require.NoError(t, first.Close(t.Context()))
	again := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "p"})
	pending, err := again.Submit(t.Context(), batchOf(0, 10))
	require.NoError(t, err)
	_, err = pending.Wait(t.Context())
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	require.ErrorIs(t, again.Close(t.Context()), client.ErrOutcomeUnknown)
	f.requireStored(t, 100)
}

// More producers than a stream remembers take turns: each is forgotten before its
// next record, goes on under another id, and every record is there once.
func TestProducer_MoreThanAreRemembered(t *testing.T) {
	f := newFixture(t)
	const producers, rounds = 70, 3
	var all []*client.Producer
	for range producers {
		all = append(all, f.stream.Producer(t.Context(), client.ProducerOptions{}))
	}
	first := all[0].ID()
	for round := range rounds {
		for i, p := range all {
			receipt, err := p.Add(t.Context(), record(round*producers+i))
			require.NoError(t, err)
			require.NoError(t, p.Flush(t.Context()))
			at, err := receipt.Wait(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, round*producers+i, at)
		}
	}
	require.NotEqual(t, first, all[0].ID())
	for _, p := range all {
		require.NoError(t, p.Close(t.Context()))
	}
	f.requireStored(t, rounds*producers)
}

// A batch that may have been appended is not sent under another id, nor is one of a
// producer that was given its id.
func TestProducer_IsNotRenewedWhereItCouldDouble(t *testing.T) {
	for name, c := range map[string]struct {
		opts   client.ProducerOptions
		stored int
	}{
		"lost ack": {client.ProducerOptions{}, 2},
		"given id": {client.ProducerOptions{ProducerID: "p"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			p := f.stream.Producer(t.Context(), c.opts)
			add := func(i int) error {
				_, err := p.Add(t.Context(), record(i))
				require.NoError(t, err)
				return p.Flush(t.Context())
			}
			require.NoError(t, add(0))
			if c.opts.ProducerID != "" {
				f.server.ForgetProducers()
			} else {
				f.server.SetFaults(clienttest.Faults{AfterAppend: func(int) error {
					f.server.ForgetProducers()
					return clienttest.OutcomeUnknown()
				}})
			}
			err := add(1)
			require.ErrorIs(t, err, client.ErrProducerForgotten)
			require.ErrorIs(t, err, client.ErrOutcomeUnknown)
			require.Error(t, p.Close(t.Context()))
			f.requireStored(t, c.stored)
		})
	}
}

func TestProducer_ReceiptsFlushAndOrder(t *testing.T) {
	f := newFixture(t)
	var acked []client.Acked
	producer := f.stream.Producer(t.Context(), client.ProducerOptions{
		MaxRecords: 7, Linger: time.Hour, MatchSeqNum: new(uint64(0)), FencingToken: new(""),
		OnAck: func(a client.Acked) { acked = append(acked, a) },
	})
	require.NotEmpty(t, producer.ID())
	var receipts []client.Receipt
	for i := range 100 {
		r, err := producer.Add(t.Context(), record(i))
		require.NoError(t, err)
		receipts = append(receipts, r)
	}
	require.NoError(t, producer.Flush(t.Context()))
	for i, r := range receipts {
		seqNum, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(i), seqNum)
	}
	require.NoError(t, producer.Close(t.Context()))
	require.Len(t, acked, 15)
	require.Equal(t, uint64(98), acked[14].First)
	_, err := producer.Add(t.Context(), record(0))
	require.ErrorIs(t, err, client.ErrSessionClosed)
	f.requireStored(t, 100)
}

func TestProducer_LingerSendsAPartBatch(t *testing.T) {
	f := newFixture(t)
	producer := f.stream.Producer(t.Context(), client.ProducerOptions{Linger: time.Millisecond})
	r, err := producer.Add(t.Context(), record(0))
	require.NoError(t, err)
	_, err = r.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, producer.Close(t.Context()))
}

func TestProducer_CutsBatchesByMeteredBytes(t *testing.T) {
	f := newFixture(t)
	producer := f.stream.Producer(t.Context(), client.ProducerOptions{Linger: time.Hour})
	body := make([]byte, client.MaxBatchBytes/2)
	for range 6 {
		_, err := producer.Add(t.Context(), client.AppendRecord{Body: body})
		require.NoError(t, err)
	}
	_, err := producer.Add(t.Context(), client.AppendRecord{Body: make([]byte, client.MaxBatchBytes)})
	require.ErrorIs(t, err, client.ErrInvalidArgument)
	require.NoError(t, producer.Close(t.Context()))
	tail, err := f.stream.CheckTail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(6), tail.SeqNum)
}

func TestProducer_ManyCallersLoseNothing(t *testing.T) {
	f := newFixture(t)
	f.server.SetFaults(clienttest.Faults{AfterAppend: func(n int) error {
		if n%5 == 0 {
			f.server.KillConnections()
		}
		return nil
	}})
	producer := f.stream.Producer(t.Context(), client.ProducerOptions{MaxRecords: 50, Linger: time.Millisecond})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 500 {
				if _, err := producer.Add(t.Context(), client.AppendRecord{Body: fmt.Appendf(nil, "%d-%d", i, j)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.NoError(t, producer.Close(t.Context()))
	f.server.SetFaults(clienttest.Faults{})
	next := map[string]int{}
	for r, err := range f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail()).Records() {
		require.NoError(t, err)
		var i, j int
		_, err := fmt.Sscanf(string(r.Body), "%d-%d", &i, &j)
		require.NoError(t, err)
		require.Equal(t, next[fmt.Sprint(i)], j)
		next[fmt.Sprint(i)]++
	}
	for i := range 8 {
		require.Equal(t, 500, next[fmt.Sprint(i)])
	}
}

func TestProducer_FailureReachesEveryRecord(t *testing.T) {
	f := newFixture(t)
	f.server.SetFaults(clienttest.Faults{BeforeAppend: func(n int) error {
		return clienttest.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED, 7, nil, "no")
	}})
	producer := f.stream.Producer(t.Context(), client.ProducerOptions{MaxRecords: 2, Linger: time.Hour, MaxInflightBatches: 2})
	var receipts []client.Receipt
	for i := range 100 {
		r, err := producer.Add(t.Context(), record(i))
		if err != nil {
			require.ErrorIs(t, err, client.ErrPermissionDenied)
			break
		}
		receipts = append(receipts, r)
	}
	require.ErrorIs(t, producer.Close(t.Context()), client.ErrPermissionDenied)
	for _, r := range receipts {
		_, err := r.Wait(t.Context())
		require.ErrorIs(t, err, client.ErrPermissionDenied)
	}
}

func BenchmarkProducer_100B(b *testing.B) {
	f := newFixture(b)
	producer := f.stream.Producer(b.Context(), client.ProducerOptions{})
	body := make([]byte, 100)
	b.SetBytes(100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := producer.Add(b.Context(), client.AppendRecord{Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, producer.Close(b.Context()))
}
