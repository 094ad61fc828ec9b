package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// gaps keeps the longest time between two acks.
type gaps struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func (g *gaps) ack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); !g.last.IsZero() {
		g.longest = max(g.longest, now.Sub(g.last))
		g.last = now
	} else {
		g.last = now
	}
}

// appendSession sends batches of ten numbered lines through a session with a
// producer id, which resumes by itself.
type appendSession struct {
	gaps  gaps
	acks  int
	lines [][]byte
}

// run appends batches until enough says so; enough is asked after each ack.
func (a *appendSession) run(ctx context.Context, s *client.Stream, enough func(acks int) bool) error {
	session := s.AppendSession(ctx, client.SessionOptions{ProducerID: "failover", ProducerSeq: uint64(len(a.lines))})
	for !enough(a.acks) {
		var input client.AppendInput
		for range 10 {
			a.lines = append(a.lines, line(len(a.lines)))
			input.Records = append(input.Records, client.AppendRecord{Body: line(len(a.lines) - 1)})
		}
		pending, err := session.Submit(ctx, input)
		if err != nil {
			return fmt.Errorf("submit: %w; close: %w", err, session.Close(ctx))
		}
		if _, err := pending.Wait(ctx); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
		a.acks++
		a.gaps.ack()
	}
	return session.Close(ctx)
}

// newStream makes a stream of a bucket of its own.
func newStream(t testing.TB, c *client.Client, bucket string) *client.Stream {
	t.Helper()
	insist := func(what string, create func() error) {
		cluster.Eventually(t, patience, what+" "+bucket+" exists", func() error {
			if err := create(); !errors.Is(err, client.ErrAlreadyExists) {
				return err
			}
			return nil // by an attempt of unknown outcome: an outage may just be over
		})
	}
	insist("bucket", func() error {
		_, err := c.CreateBucket(within(t), bucket, client.BucketConfig{})
		return err
	})
	insist("stream of", func() error {
		_, err := c.Bucket(bucket).CreateStream(within(t), "s", client.StreamConfig{})
		return err
	})
	return c.Bucket(bucket).Stream("s")
}

// TestSplit runs what needs one process for each service.
func TestSplit(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Writers: 2, Readers: 2, Routers: 1, Store: cluster.S3})
	t.Run("KillOfTheOwnerWithPostgresDown", func(t *testing.T) { killOwner(t, c) })
	t.Run("KillOfEachOwnerDuringRealInput", func(t *testing.T) { killDuringInput(t, c) })
	t.Run("PausedOwnerThatComesBackDoesNotDisturb", func(t *testing.T) { pauseOwner(t, c) })
	t.Run("PauseOfTheOwnerDuringASession", func(t *testing.T) { pauseDuringSession(t, c) })
	t.Run("PauseOfTheOwnerDuringAnAppend", func(t *testing.T) { pauseDuringAppend(t, c) })
	t.Run("KillOfAReader", func(t *testing.T) { killReader(t, c) })
	t.Run("OutagesDoNotStopKnownStreams", func(t *testing.T) { outages(t, c) })
	t.Run("StopOfTheOwner", func(t *testing.T) { stopOwner(t, c) })
}

// failover appends while something happens to the stream's owner, until that is
// over and for a while longer. It checks that nothing is missing or doubled, for
// readers of the past and of the present, and returns the owner before and after.
func failover(t *testing.T, c *cluster.Cluster, bucket string, happen func(owner string), over func(owner string) bool) (before, after string) {
	t.Helper()
	stream := newStream(t, cluster.Client(t, c), bucket)
	followed := follow(within(t), stream)
	var session appendSession
	require.NoError(t, session.run(within(t), stream, func(acks int) bool { return acks == 1 }))
	before = c.OwnerOf(t, bucket, "s")

	const some = 50
	happened, last := false, 0
	err := session.run(within(t), stream, func(acks int) bool {
		if acks == some && !happened {
			happened = true
			happen(before)
		}
		if happened && last == 0 && over(before) {
			last = acks + some
		}
		return last > 0 && acks >= last
	})
	require.NoError(t, err)
	t.Logf("%d batches; the longest time between two acks: %s", session.acks, session.gaps.longest.Round(time.Millisecond))
	requireLines(t, stream, session.lines)
	followed.requireSaw(t, len(session.lines))
	return before, c.OwnerOf(t, bucket, "s")
}

func killOwner(t *testing.T, c *cluster.Cluster) {
	killed, owner := failover(t, c, "kill-owner", func(owner string) {
		c.StopPostgres(t)
		c.Kill(t, owner)
	}, func(string) bool { return true })
	require.NotEqual(t, killed, owner)
	c.StartPostgres(t)
	c.Restart(t, killed)
}

// killDuringInput kills whoever owns the stream, twice, while a producer appends
// the real input.
func killDuringInput(t *testing.T, c *cluster.Cluster) {
	in := makeInput(t, share())
	lines := in.read(t)
	retry := client.DefaultRetry()
	retry.OnRetry = func(err error, wait time.Duration) { t.Logf("resumes after %s: %v", wait.Round(time.Millisecond), err) }
	stream := newStream(t, cluster.Client(t, c, client.WithRetry(retry)), "kill-during-input")
	ctx := within(t)
	told := countAcks(in.lines / 4)
	killed := killWhen(t, told, func() {
		for range 2 {
			owner := c.OwnerOf(t, "kill-during-input", "s")
			c.Kill(t, owner)
			c.Restart(t, owner)
		}
	})
	require.NoError(t, produce(ctx, stream.Producer(ctx, client.ProducerOptions{OnAck: told.add}), lines))
	<-killed
	requireLines(t, stream, lines)
}

func pauseOwner(t *testing.T, c *cluster.Cluster) {
	paused, owner := failover(t, c, "pause-owner", func(owner string) { c.Pause(t, owner) }, func(string) bool { return true })
	require.NotEqual(t, paused, owner)
	c.Resume(t, paused)
	// What it believes of the past does not count.
	stream := cluster.Client(t, c).Bucket("pause-owner").Stream("s")
	before, err := stream.CheckTail(within(t))
	require.NoError(t, err)
	_, err = stream.Append(within(t), client.AppendInput{
		Records: []client.AppendRecord{{Body: []byte("after")}}, Conditions: client.Conditions{MatchSeqNum: &before.SeqNum},
	})
	require.NoError(t, err)
}

// pauseDuringSession pauses the owner while a session's batches are on their way to
// it: nobody answers them, and no connection breaks.
func pauseDuringSession(t *testing.T, c *cluster.Cluster) {
	stream := newStream(t, cluster.Client(t, c), "pause-session")
	ctx := within(t)
	var acked gaps
	producer := stream.Producer(ctx, client.ProducerOptions{MaxRecords: 10, OnAck: func(k client.Acked) {
		if k.Err == nil {
			acked.ack()
		}
	}})
	var lines [][]byte
	add := func(n int) {
		var last client.Receipt
		for range n {
			lines = append(lines, line(len(lines)))
			var err error
			last, err = producer.Add(ctx, client.AppendRecord{Body: lines[len(lines)-1]})
			require.NoError(t, err)
		}
		_, err := last.Wait(ctx)
		if !errors.Is(err, client.ErrNotPlaced) {
			require.NoError(t, err)
		}
	}
	add(500)
	owner := c.OwnerOf(t, "pause-session", "s")
	c.Pause(t, owner)
	begun := time.Now()
	add(500)
	t.Logf("the owner was paused under a session: 500 records took %s, the longest time between two acks %s",
		time.Since(begun).Round(time.Millisecond), acked.longest.Round(time.Millisecond))
	require.NotEqual(t, owner, c.OwnerOf(t, "pause-session", "s", owner))
	c.Resume(t, owner)
	require.NoError(t, producer.Close(ctx))
	requireLines(t, stream, lines)
}

// pauseDuringAppend is the same for single appends.
func pauseDuringAppend(t *testing.T, c *cluster.Cluster) {
	stream := newStream(t, cluster.Client(t, c), "pause-append")
	appendLine(t, stream, 0)
	owner := c.OwnerOf(t, "pause-append", "s")
	c.Pause(t, owner)
	begun := time.Now()
	appendLine(t, stream, 1)
	t.Logf("the owner was paused: an append took %s", time.Since(begun).Round(time.Millisecond))
	c.Resume(t, owner)
	appendLine(t, stream, 2)
	requireLines(t, stream, [][]byte{line(0), line(1), line(2)})
}

func killReader(t *testing.T, c *cluster.Cluster) {
	cl := cluster.Client(t, c)
	stream := newStream(t, cl, "kill-reader")
	var followers []*follower
	for range 4 {
		followers = append(followers, follow(within(t), stream))
	}
	for i := range 300 {
		appendLine(t, stream, i)
		switch i {
		case 100:
			c.Kill(t, "stream-reader-0")
		case 200:
			c.Restart(t, "stream-reader-0")
			c.Kill(t, "stream-reader-1")
		}
	}
	for _, followed := range followers {
		followed.requireSaw(t, 300)
	}
	c.Restart(t, "stream-reader-1")
}

// appendLine appends line n as record n, by itself.
func appendLine(t testing.TB, s *client.Stream, n int) {
	t.Helper()
	ack, err := s.Append(within(t), client.AppendInput{Records: []client.AppendRecord{{Body: line(n)}}},
		client.AsProducer(client.ProducerSeq{ID: "p", Seq: uint64(n)}))
	require.NoError(t, err)
	require.EqualValues(t, n, ack.StartSeqNum)
}

// outages stops Postgres, NATS and etcd in turn: appends, tails and live reads of
// known streams go on.
func outages(t *testing.T, c *cluster.Cluster) {
	cl := cluster.Client(t, c)
	stream := newStream(t, cl, "outages")
	followed := follow(within(t), stream)
	next := 0
	goOn := func(during string) {
		t.Helper()
		t.Log(during)
		for range 20 {
			appendLine(t, stream, next)
			next++
		}
		tail, err := stream.CheckTail(within(t))
		require.NoError(t, err, during)
		require.EqualValues(t, next, tail.SeqNum, during)
		live := stream.ReadSession(within(t), client.Read{Start: client.FromSeqNum(uint64(next - 1)), Count: new(uint64(1))})
		defer live.Close()
		_, err = live.Next()
		require.NoError(t, err, during)
	}
	goOn("all is well")
	c.StopPostgres(t)
	goOn("Postgres is down")
	c.StartPostgres(t)
	c.NATS.Stop()
	goOn("NATS is down")
	c.NATS.Restart()
	c.Etcd.Stop()
	goOn("etcd is down")
	c.Etcd.Restart()
	followed.requireSaw(t, next)
}

// stopOwner ends the owner with SIGTERM, in the middle of a session.
func stopOwner(t *testing.T, c *cluster.Cluster) {
	stopped, owner := failover(t, c, "stop-owner",
		func(owner string) { c.Process(t, owner).Signal(t, syscall.SIGTERM) },
		func(owner string) bool { return !c.Process(t, owner).Running() })
	require.NotEqual(t, stopped, owner)
	require.Zero(t, c.Process(t, stopped).ExitCode())
	c.Restart(t, stopped)
}
