package client_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

// fill appends records 0 to count-1 in batches of ten.
func (f fixture) fill(t testing.TB, count int) {
	t.Helper()
	session := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "filler"})
	submitAll(t, session, count/10)
	require.NoError(t, session.Close(t.Context()))
}

func failEvery(k int, err func() error) func(int) error {
	return func(n int) error {
		if n%k == 0 {
			return err()
		}
		return nil
	}
}

func TestReadSession_FollowsTheTail(t *testing.T) {
	f := newFixture(t)
	f.fill(t, 10)
	session := f.stream.ReadSession(t.Context(), client.Read{})
	defer session.Close()
	batch, err := session.Next()
	require.NoError(t, err)
	require.Empty(t, batch.Records)
	require.Equal(t, uint64(10), batch.Tail.SeqNum)
	position, known := session.Position()
	require.True(t, known)
	require.Equal(t, uint64(10), position)

	f.append(t, record(10))
	batch, err = session.Next()
	require.NoError(t, err)
	require.Equal(t, uint64(10), batch.Records[0].SeqNum)
	require.Equal(t, "record-10", string(batch.Records[0].Clone().Body))

	session.Close()
	_, err = session.Next()
	require.Error(t, err)
}

// Appends and failures run side by side: the reader sees each record once.
func TestReadSession_ResumesWithoutGapOrRepeat(t *testing.T) {
	for name, fault := range map[string]func(*clienttest.Server) error{
		"connection killed": func(s *clienttest.Server) error { s.KillConnections(); return nil },
		"ended by error":    func(*clienttest.Server) error { return clienttest.Unavailable(nil) },
		"ended in silence":  func(*clienttest.Server) error { return io.EOF },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.server.SetFaults(clienttest.Faults{BeforeRead: failEvery(3, func() error { return fault(f.server) })})
			session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0)})
			defer session.Close()
			go func() {
				writer := f.stream.AppendSession(t.Context(), client.SessionOptions{ProducerID: "w"})
				submitAll(t, writer, 50)
				_ = writer.Close(t.Context())
			}()
			n := 0
			for r, err := range session.Records() {
				require.NoError(t, err)
				require.Equal(t, uint64(n), r.SeqNum)
				require.Equal(t, string(record(n).Body), string(r.Body))
				if n++; n == 500 {
					break
				}
			}
		})
	}
}

func TestReadSession_LimitsAreExactAcrossResumes(t *testing.T) {
	const metered = 8 + 9 // of record-10 to record-99
	for name, c := range map[string]struct {
		read client.Read
		want int
	}{
		"count":               {client.Read{Count: new(uint64(25))}, 25},
		"count 0":             {client.Read{Count: new(uint64(0))}, 0},
		"bytes, to the byte":  {client.Read{Bytes: new(uint64(7 * metered))}, 7},
		"bytes, between two":  {client.Read{Bytes: new(uint64(8*metered - 1))}, 7},
		"bytes, one at least": {client.Read{Bytes: new(uint64(1))}, 1},
		"bytes 0":             {client.Read{Bytes: new(uint64(0))}, 0},
		"until":               {client.Read{Until: new(uint64(1_000_000 + 40))}, 30},
		"wait":                {client.Read{Wait: 20 * time.Millisecond}, 90},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			for i := range 100 {
				f.append(t, client.AppendRecord{Timestamp: new(uint64(1_000_000 + i)), Body: record(i).Body})
			}
			// Each connection brings a message or two; a message is one record.
			f.server.SetFaults(clienttest.Faults{BeforeRead: failEvery(2, func() error { return clienttest.Unavailable(nil) })})
			c.read.Start = client.FromSeqNum(10)
			session := f.stream.ReadSession(t.Context(), c.read)
			n := 0
			for r, err := range session.Records() {
				require.NoError(t, err)
				require.Equal(t, uint64(10+n), r.SeqNum)
				n++
			}
			require.Equal(t, c.want, n)
		})
	}
}

func TestReadSession_StopsAtTheTail(t *testing.T) {
	f := newFixture(t)
	for _, count := range []int{0, 30} {
		f.fill(t, count)
		f.requireStored(t, count)
	}
	_, err := f.stream.Trim(t.Context(), 31, client.Conditions{})
	require.NoError(t, err)
	session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
	for range session.Records() {
		t.Fatal("all is trimmed")
	}
}

func TestReadSession_TellsOfTrimmedRecords(t *testing.T) {
	f := newFixture(t)
	f.fill(t, 20)
	gate := make(chan struct{})
	f.server.SetFaults(clienttest.Faults{BeforeRead: func(n int) error {
		if n == 2 {
			<-gate
			return clienttest.Unavailable(nil)
		}
		return nil
	}})
	session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0)})
	defer session.Close()
	batch, err := session.Next()
	require.NoError(t, err)
	require.Len(t, batch.Records, 20)

	f.append(t, record(20))
	f.append(t, record(21))
	_, err = f.stream.Trim(t.Context(), 21, client.Conditions{})
	require.NoError(t, err)
	close(gate)
	batch, err = session.Next()
	require.NoError(t, err)
	require.Equal(t, uint64(1), batch.Skipped)
	require.Equal(t, uint64(21), batch.Records[0].SeqNum)
}

func TestReadSession_EndsWhenAllIsTrimmedBeforeIt(t *testing.T) {
	f := newFixture(t)
	f.fill(t, 30)
	session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromTailOffset(0), Wait: 300 * time.Millisecond})
	defer session.Close()
	_, err := session.Next() // it follows the tail
	require.NoError(t, err)
	_, err = f.stream.Trim(t.Context(), 31, client.Conditions{})
	require.NoError(t, err)
	for err == nil {
		_, err = session.Next()
	}
	require.ErrorIs(t, err, io.EOF)
}

func TestReadSession_PastTheTailIsAnErrorUnlessClamped(t *testing.T) {
	f := newFixture(t)
	_, err := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(5)}).Next()
	require.ErrorIs(t, err, client.ErrPastTail)
	session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(5), Clamp: true})
	defer session.Close()
	batch, err := session.Next()
	require.NoError(t, err)
	require.Zero(t, batch.Tail.SeqNum)

	_, err = f.client.Bucket("logs").Stream("none").ReadSession(t.Context(), client.Read{}).Next()
	require.ErrorIs(t, err, client.ErrNotFound)
}

// A reader that does not call Next holds the server back, and nothing is lost.
func TestReadSession_SlowConsumerHoldsTheServerBack(t *testing.T) {
	f := newFixture(t)
	body := make([]byte, 1<<20-8)
	for range 40 {
		f.append(t, client.AppendRecord{Body: body})
	}
	var sent atomic.Int64
	f.server.SetFaults(clienttest.Faults{BeforeRead: func(int) error { sent.Add(1); return nil }})
	session := f.stream.ReadSession(t.Context(), client.Read{Start: client.FromSeqNum(0), Count: new(uint64(40))})
	_, err := session.Next()
	require.NoError(t, err)
	require.Never(t, func() bool { return sent.Load() > 20 }, 200*time.Millisecond, 10*time.Millisecond)
	n := 1
	for {
		batch, err := session.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		n += len(batch.Records)
	}
	require.Equal(t, 40, n)
}

func BenchmarkReadSession_100B(b *testing.B) {
	f := newFixture(b)
	input := client.AppendInput{}
	for range 1000 {
		input.Records = append(input.Records, client.AppendRecord{Body: make([]byte, 100)})
	}
	for range 100 {
		f.append(b, input.Records...)
	}
	b.SetBytes(100 * 100_000)
	for b.Loop() {
		n := 0
		for _, err := range f.stream.ReadSession(b.Context(), client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail()).Records() {
			require.NoError(b, err)
			n++
		}
		require.Equal(b, 100_000, n)
	}
}
