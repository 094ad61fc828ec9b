package overload

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

const (
	healthyReaders = 10
	perConnection  = 50 // stalled sessions on one connection
	liveBatch      = 64 << 10
	livePace       = 50 * time.Millisecond
	// stalledBytes is what a stalled session may cost a process: the router what gRPC
	// takes from the reader ahead (1 MiB) and a response that comes in and one that goes
	// out, the reader three responses of at most 128 KiB; and what is left to the
	// garbage collector.
	stalledBytes = 2 << 20
	// stalledBudget is for everything else: the stream's newest records, kept for all.
	stalledBudget = 256 << 20
)

// Sessions that accept nothing, half of them live and half catching up, slow down
// neither the writer nor who reads on, and go on where they were when they come to
// themselves.
func TestStalledReaders(t *testing.T) {
	stalled, batches := 40, 40
	if full() {
		stalled, batches = 1000, 300
	}
	c := cluster.Start(t, cluster.Options{Store: cluster.File, Programs: cluster.PlainProgram, Env: []string{
		"SAMSA_ROUTER_WRITE_TIMEOUT_MS=600000", // they are to stay
	}})
	l := &live{t: t, c: c, bucket: "stalled"}
	l.writer = samsav1.NewStreamServiceClient(cluster.Connect(t, c, c.Address()))
	makeStream(t, cluster.Connect(t, c, c.Address()), l.bucket)
	names := []string{"stream-writer-0", "stream-reader-0", "router-0"}

	l.run(batches) // warm
	without := l.run(batches)
	t.Logf("%d healthy readers alone: delivery %s; ack %s", healthyReaders, &without.deliveries, &without.acks)

	before := residentMemory(t, c, names...)
	stop := watchMemory(t, c, names...)
	live, catching := l.stall(stalled/2, l.next), l.stall(stalled/2, 0)
	l.run(batches / 2) // until the live ones have taken all that they take
	with := l.run(batches)
	l.catchUp()
	highest := stop()
	t.Logf("beside %d stalled ones:  delivery %s; ack %s", stalled, &with.deliveries, &with.acks)
	figures, err := c.Process(t, "stream-reader-0").Figures()
	require.NoError(t, err)
	require.GreaterOrEqual(t, figures["samsa_stream_reader_sessions"], float64(stalled), "sessions, the stalled ones among them")

	highest.requireGrowth(t, before, stalledBudget+float64(stalled)*stalledBytes)
	for _, s := range []*stalledSession{live[0], catching[0]} {
		require.NoError(t, receive(s.session, s.next, l.next, new(latencies)), "a session that has come to itself")
	}
	if full() {
		require.LessOrEqual(t, with.deliveries.quantile(0.5), 2*without.deliveries.quantile(0.5), "healthy readers")
		require.LessOrEqual(t, with.acks.quantile(0.5), 2*without.acks.quantile(0.5), "the writer")
	}
}

// live is a stream that is followed.
type live struct {
	t      *testing.T
	c      *cluster.Cluster
	writer samsav1.StreamServiceClient
	bucket string
	next   uint64
}

type liveResults struct{ acks, deliveries latencies }

// run appends batches at a pace, in lockstep, and has healthy readers follow; each has
// to receive all of them.
func (l *live) run(batches int) *liveResults {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*patience)
	defer cancel()
	r, from := new(liveResults), l.next
	var group sync.WaitGroup
	failed := make([]error, healthyReaders)
	for i := range healthyReaders {
		session := l.follow(ctx, samsav1.NewStreamServiceClient(cluster.Connect(l.t, l.c, l.c.Address())), from)
		group.Go(func() { failed[i] = receive(session, from, from+uint64(batches), &r.deliveries) })
	}
	l.append(ctx, batches, r)
	group.Wait()
	for i, err := range failed {
		require.NoError(l.t, err, "healthy reader %d", i)
	}
	return r
}

func (l *live) append(ctx context.Context, batches int, r *liveResults) {
	tick := time.NewTicker(livePace)
	defer tick.Stop()
	for range batches {
		begun := time.Now()
		body := binary.BigEndian.AppendUint64(make([]byte, 0, liveBatch), uint64(begun.UnixNano()))
		ack, err := l.writer.Append(ctx, &samsav1.AppendRequest{
			Bucket: l.bucket, Stream: "s", Records: []*samsav1.AppendRecord{{Body: body[:liveBatch]}},
		})
		require.NoError(l.t, err)
		r.acks.add(time.Since(begun))
		l.next = ack.GetEndSeqNum()
		<-tick.C
	}
}

type session = samsav1.StreamService_ReadSessionClient

func (l *live) follow(ctx context.Context, streams samsav1.StreamServiceClient, from uint64) session {
	s, err := streams.ReadSession(ctx, &samsav1.ReadSessionRequest{
		Bucket: l.bucket, Stream: "s", Start: &samsav1.ReadSessionRequest_SeqNum{SeqNum: from}, Heartbeats: true,
	})
	require.NoError(l.t, err)
	return s
}

// receive reads all records from first to before end, and measures how long ago each
// was sent.
func receive(s session, first, end uint64, took *latencies) error {
	for next := first; next < end; {
		response, err := s.Recv()
		if err != nil {
			return fmt.Errorf("at %d of %d to %d: %w", next, first, end, err)
		}
		for _, record := range response.GetOutput().GetBatch().GetRecords() {
			if record.GetSeqNum() != next {
				return fmt.Errorf("record %d came, not %d", record.GetSeqNum(), next)
			}
			took.add(time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(record.GetBody())))))
			next++
		}
	}
	return nil
}

// catchUp has a healthy reader read all there is.
func (l *live) catchUp() {
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	s := l.follow(ctx, samsav1.NewStreamServiceClient(cluster.Connect(l.t, l.c, l.c.Address())), 0)
	require.NoError(l.t, receive(s, 0, l.next, new(latencies)), "a healthy reader that catches up")
}

type stalledSession struct {
	session
	next uint64
}

// stall opens sessions that take the first response, so that they are under way, and
// nothing after.
func (l *live) stall(count int, from uint64) (all []*stalledSession) {
	for chunk := range slices.Chunk(make([]struct{}, count), perConnection) {
		streams := samsav1.NewStreamServiceClient(cluster.Connect(l.t, l.c, l.c.Address()))
		for range chunk {
			s := &stalledSession{l.follow(l.t.Context(), streams, from), from}
			response, err := s.Recv()
			require.NoError(l.t, err)
			s.next += uint64(len(response.GetOutput().GetBatch().GetRecords()))
			all = append(all, s)
		}
	}
	return all
}
