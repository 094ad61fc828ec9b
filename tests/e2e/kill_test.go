package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// acked counts what was acknowledged and tells when it is much.
type acked struct {
	records atomic.Int64
	many    int64
	reached chan struct{}
}

func countAcks(many int) *acked { return &acked{many: int64(many), reached: make(chan struct{})} }

func (a *acked) add(k client.Acked) {
	if k.Err != nil {
		return
	}
	before := a.records.Load()
	if after := a.records.Add(int64(k.Count)); before < a.many && a.many <= after {
		close(a.reached)
	}
}

// produce appends lines and returns what Close says.
func produce(ctx context.Context, p *client.Producer, lines [][]byte) error {
	for _, line := range lines {
		if _, err := p.Add(ctx, client.AppendRecord{Body: line}); err != nil {
			break // Close says why
		}
	}
	return p.Close(ctx)
}

// requireLines checks that the stream has exactly these lines, in order, once.
func requireLines(t testing.TB, s *client.Stream, lines [][]byte) {
	t.Helper()
	at := 0
	session := s.ReadSession(within(t), client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
	defer session.Close()
	for record, err := range session.Records() {
		require.NoError(t, err)
		if at >= len(lines) {
			t.Fatalf("record %d is beyond the %d lines", record.SeqNum, len(lines))
		}
		if record.SeqNum != uint64(at) || string(record.Body) != string(lines[at]) {
			t.Fatalf("record %d is %q where line %d is %q", record.SeqNum, record.Body, at, lines[at])
		}
		at++
	}
	require.Equal(t, len(lines), at)
}

// TestKill_OfDevLosesNothingAcknowledged: SIGKILL in the middle of the append of
// the real input, twice. The first time the client dies with it: what it was told
// is there. The second time it goes on by itself, and all is there, once.
func TestKill_OfDevLosesNothingAcknowledged(t *testing.T) {
	in := makeInput(t, share())
	lines := in.read(t)
	dev := cluster.StartDev(t)
	ctx := t.Context() // as long as it takes

	brittle := cluster.Client(t, dev, client.WithRetry(client.Retry{Policy: client.RetryNone}))
	_, err := brittle.CreateBucket(ctx, "kill", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	told := countAcks(in.lines / 4)
	killed := killWhen(t, told, func() { dev.Kill(t) })
	err = produce(ctx, brittle.Bucket("kill").Stream("log").Producer(ctx, client.ProducerOptions{OnAck: told.add}), lines)
	require.Error(t, err, "it was killed")
	<-killed
	dev.Start(t)

	patient := cluster.Client(t, dev)
	stream := patient.Bucket("kill").Stream("log")
	tail, err := stream.CheckTail(ctx)
	require.NoError(t, err)
	t.Logf("%d lines were acknowledged, %d are there", told.records.Load(), tail.SeqNum)
	require.GreaterOrEqual(t, int64(tail.SeqNum), told.records.Load())
	require.Less(t, tail.SeqNum, uint64(in.lines), "it was killed in the middle")
	requireLines(t, stream, lines[:tail.SeqNum])

	told = countAcks(in.lines / 4)
	killed = killWhen(t, told, func() {
		dev.Kill(t)
		dev.Start(t)
	})
	begun := time.Now()
	err = produce(ctx, stream.Producer(ctx, client.ProducerOptions{OnAck: told.add}), lines[tail.SeqNum:])
	require.NoError(t, err)
	<-killed
	t.Logf("the other %d lines took %s, with a kill and a restart", in.lines-int(tail.SeqNum), time.Since(begun).Round(time.Millisecond))
	requireLines(t, stream, lines)
}

// killWhen runs kill when much was acknowledged.
func killWhen(t testing.TB, told *acked, kill func()) (done <-chan struct{}) {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-told.reached:
			kill()
		case <-time.After(patience):
			t.Error("too little was ever acknowledged")
		}
	}()
	return finished
}

// TestKill_OfIdleDevKeepsEverything: names, settings, tokens, positions.
func TestKill_OfIdleDevKeepsEverything(t *testing.T) {
	dev := cluster.StartDev(t)
	ctx := t.Context() // as long as it takes
	c := cluster.Client(t, dev)
	_, err := c.CreateBucket(ctx, "keeps", client.BucketConfig{DefaultStream: client.StreamConfig{StorageClass: client.StorageClassExpress}})
	require.NoError(t, err)
	_, err = c.Bucket("keeps").CreateStream(ctx, "a/b", client.StreamConfig{})
	require.NoError(t, err)
	stream := c.Bucket("keeps").Stream("a/b")
	ack, err := stream.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: []byte("one")}}}, client.AsProducer(client.ProducerSeq{ID: "p"}))
	require.NoError(t, err)
	_, err = stream.Fence(ctx, "token", client.Conditions{})
	require.NoError(t, err)
	_, err = stream.Trim(ctx, 1, client.Conditions{})
	require.NoError(t, err)

	for range 2 {
		dev.Kill(t)
		dev.Start(t)
		config, err := c.Bucket("keeps").StreamConfig(ctx, "a/b")
		require.NoError(t, err)
		require.Equal(t, client.StorageClassExpress, config.StorageClass)
		again, err := stream.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: []byte("one")}}}, client.AsProducer(client.ProducerSeq{ID: "p"}))
		require.NoError(t, err)
		require.Equal(t, ack.StartSeqID, again.StartSeqID, "the producer is remembered")
		_, err = stream.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{}}, Conditions: client.Conditions{FencingToken: new("stale")}})
		require.ErrorIs(t, err, client.ErrConditionFailed)
		read, err := stream.Read(ctx, client.Read{})
		require.NoError(t, err)
		require.EqualValues(t, 1, read.Records[0].SeqNum, "the trim holds")
		require.EqualValues(t, 3, read.NextSeqNum)
	}
}

// follower reads a stream live, in the background, and checks that record n is
// line n, without gap or repeat.
type follower struct {
	session *client.ReadSession
	seen    atomic.Int64
	failed  chan error // has an error once the session has ended too early
}

// line is what the tests append as record n.
func line(n int) []byte { return fmt.Appendf(nil, "line %d", n) }

func follow(ctx context.Context, s *client.Stream) *follower {
	f := &follower{session: s.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)}), failed: make(chan error, 1)}
	go func() { f.failed <- f.run() }()
	return f
}

func (f *follower) run() error {
	for {
		batch, err := f.session.Next()
		if err != nil {
			return err
		}
		for _, record := range batch.Records {
			due := int(f.seen.Load())
			if record.SeqNum != uint64(due) || string(record.Body) != string(line(due)) {
				return fmt.Errorf("saw record %d, %q, where %q was due", record.SeqNum, record.Body, line(due))
			}
			f.seen.Add(1)
		}
	}
}

// requireSaw waits until it has seen so many lines, and ends it.
func (f *follower) requireSaw(t testing.TB, lines int) {
	t.Helper()
	defer f.session.Close()
	cluster.Eventually(t, patience, fmt.Sprintf("%d lines were seen", lines), func() error {
		select {
		case err := <-f.failed:
			t.Fatalf("after %d of %d lines: %v", f.seen.Load(), lines, err)
		default:
		}
		if seen := f.seen.Load(); seen < int64(lines) {
			return fmt.Errorf("only %d were", seen)
		}
		return nil
	})
	require.EqualValues(t, lines, f.seen.Load())
}
