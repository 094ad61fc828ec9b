package e2e

import (
	"context"
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
			line := fmt.Appendf(nil, "line %d", len(a.lines))
			a.lines = append(a.lines, line)
			input.Records = append(input.Records, client.AppendRecord{Body: line})
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
	_, err := c.CreateBucket(within(t), bucket, client.BucketConfig{})
	require.NoError(t, err)
	_, err = c.Bucket(bucket).CreateStream(within(t), "s", client.StreamConfig{})
	require.NoError(t, err)
	return c.Bucket(bucket).Stream("s")
}

// TestSplit runs what needs one process for each service.
func TestSplit(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Writers: 2, Readers: 2, Routers: 1, Store: cluster.S3})
	t.Run("KillOfTheOwnerWithPostgresDown", func(t *testing.T) { killOwner(t, c) })
	t.Run("PausedOwnerThatComesBackDoesNotDisturb", func(t *testing.T) { pauseOwner(t, c) })
	t.Run("KillOfAReader", func(t *testing.T) { killReader(t, c) })
	t.Run("OutagesDoNotStopKnownStreams", func(t *testing.T) { outages(t, c) })
	t.Run("StopInOrderHandsOver", func(t *testing.T) { stopOwner(t, c) })
}

// failover appends while something happens to the stream's owner, and checks that
// nothing is missing or doubled, for readers of the past and of the present.
func failover(t *testing.T, c *cluster.Cluster, bucket string, happen func(owner string)) (newOwner string) {
	t.Helper()
	cl := cluster.Client(t, c)
	stream := newStream(t, cl, bucket)
	const before, after = 50, 100
	var session appendSession
	require.NoError(t, session.run(within(t), stream, func(acks int) bool { return acks == 1 }))
	owner := c.OwnerOf(t, bucket, "s")
	require.NotEmpty(t, owner)

	var lines [][]byte
	for i := range 10 * after {
		lines = append(lines, fmt.Appendf(nil, "line %d", i))
	}
	followed := follow(within(t), stream, lines)
	happened := false
	err := session.run(within(t), stream, func(acks int) bool {
		if acks >= before && !happened {
			happened = true
			happen(owner)
		}
		return acks == after
	})
	require.NoError(t, err)
	t.Logf("the longest time between two acks: %s", session.gaps.longest.Round(time.Millisecond))
	requireLines(t, stream, session.lines)
	require.NoError(t, <-followed)
	return c.OwnerOf(t, bucket, "s")
}

func killOwner(t *testing.T, c *cluster.Cluster) {
	var killed string
	owner := failover(t, c, "kill-owner", func(owner string) {
		c.StopPostgres(t)
		killed = owner
		c.Kill(t, owner)
	})
	require.NotEqual(t, killed, owner)
	require.NotEmpty(t, owner)
	c.StartPostgres(t)
	c.Restart(t, killed)
}

func pauseOwner(t *testing.T, c *cluster.Cluster) {
	var paused string
	owner := failover(t, c, "pause-owner", func(owner string) {
		paused = owner
		c.Pause(t, owner)
	})
	c.Resume(t, paused)
	require.NotEqual(t, paused, owner)
	// What it believes of the past does not count.
	cl := cluster.Client(t, c)
	tail, err := cl.Bucket("pause-owner").Stream("s").CheckTail(within(t))
	require.NoError(t, err)
	require.EqualValues(t, 1000, tail.SeqNum)
}

func killReader(t *testing.T, c *cluster.Cluster) {
	cl := cluster.Client(t, c)
	stream := newStream(t, cl, "kill-reader")
	var lines [][]byte
	for i := range 300 {
		lines = append(lines, fmt.Appendf(nil, "line %d", i))
	}
	var followers []<-chan error
	for range 4 {
		followers = append(followers, follow(within(t), stream, lines))
	}
	for i, line := range lines {
		_, err := stream.Append(within(t), client.AppendInput{Records: []client.AppendRecord{{Body: line}}}, client.AsProducer(client.ProducerSeq{ID: "p", Seq: uint64(i)}))
		require.NoError(t, err)
		switch i {
		case 100:
			c.Kill(t, "stream-reader-0")
		case 200:
			c.Restart(t, "stream-reader-0")
			c.Kill(t, "stream-reader-1")
		}
	}
	for _, followed := range followers {
		require.NoError(t, <-followed)
	}
	c.Restart(t, "stream-reader-1")
}

// outages stops Postgres, NATS and etcd in turn: appends, tails and live reads of
// known streams go on.
func outages(t *testing.T, c *cluster.Cluster) {
	cl := cluster.Client(t, c)
	stream := newStream(t, cl, "outages")
	var lines [][]byte
	for i := range 80 {
		lines = append(lines, fmt.Appendf(nil, "line %d", i))
	}
	followed := follow(within(t), stream, lines)
	next := 0
	goOn := func(during string) {
		t.Helper()
		for range 20 {
			_, err := stream.Append(within(t), client.AppendInput{Records: []client.AppendRecord{{Body: lines[next]}}}, client.AsProducer(client.ProducerSeq{ID: "p", Seq: uint64(next)}))
			require.NoError(t, err, during)
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
	require.NoError(t, <-followed)
}

// stopOwner ends the owner with SIGTERM: its shards go over before it does.
func stopOwner(t *testing.T, c *cluster.Cluster) {
	var stopped string
	owner := failover(t, c, "stop-owner", func(owner string) {
		stopped = owner
		c.Process(t, owner).Signal(t, syscall.SIGTERM)
	})
	require.NotEqual(t, stopped, owner)
	require.Zero(t, c.Process(t, stopped).WaitExit(t, time.Minute))
	c.Restart(t, stopped)
}
