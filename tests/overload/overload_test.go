package overload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"

	"github.com/samsa-io/samsa/tests/cluster"
)

const (
	batchBytes = 16 << 10
	// putTakes and the settings below have the store take about 1 MiB/s: so little that
	// the processors have next to nothing to do, whatever else they are busy with.
	putTakes      = 100 * time.Millisecond
	segmentBytes  = 64 << 10
	window        = 2
	inflightBytes = 1 << 20
	recentBytes   = 8 << 20
	routerBytes   = 16 << 20
	overloadBy    = 5
	// overloadBudget is what a process may grow by: twice what its settings allow, for
	// the garbage collector, and as much again for copies on the way, buffers of
	// connections and encoders.
	overloadBudget = 4 * (inflightBytes + recentBytes + routerBytes)
)

// Goodput and refusals are compared with what the same programs did a moment before.
// The goals hold for the whole benchmark; a short one has too few samples for more
// than to see that nothing breaks down.
func TestOverload(t *testing.T) {
	rounds, length, leastGoodput := 1, 2*time.Second, 0.1
	if full() {
		rounds, length, leastGoodput = 5, 6*time.Second, 0.9
	}
	c := cluster.Start(t, cluster.Options{Links: true, Programs: cluster.PlainProgram, Env: []string{
		fmt.Sprintf("SAMSA_STORAGE_BATCH_MAX_BYTES=%d", segmentBytes), fmt.Sprintf("SAMSA_STORAGE_WINDOW=%d", window),
		fmt.Sprintf("SAMSA_STORAGE_MAX_INFLIGHT_BYTES=%d", inflightBytes), fmt.Sprintf("SAMSA_STORAGE_RECENT_BYTES=%d", recentBytes),
		fmt.Sprintf("SAMSA_ROUTER_MAX_INFLIGHT_BYTES=%d", routerBytes),
	}})
	l := newLoad(t, c)
	c.SetStoreFaults(t, "stream-writer-0", cluster.StoreFaults{SlowReply: 1, Slow: putTakes})
	before := residentMemory(t, c, "stream-writer-0", "router-0")
	stop := watchMemory(t, c, "stream-writer-0", "router-0")

	var peak, over results
	for range rounds { // in turn, so that both meet the same machine
		l.saturate(&peak, length)
		require.Positive(t, peak.acks.count())
		l.offer(&over, overloadBy*peak.rate(), length)
	}
	highest := stop()
	goodput := over.rate() / peak.rate()
	t.Logf("sustainable: %.0f batches/s of %d KiB; ack %s", peak.rate(), batchBytes>>10, &peak.acks)
	t.Logf("goodput at %d times that: %.0f%% of it; ack %s", overloadBy, 100*goodput, &over.acks)
	t.Logf("refused: %d of %d, after %s", over.refusals.count(), over.offered, &over.refusals)

	require.NoError(t, errors.Join(append(peak.wrong, over.wrong...)...))
	l.requireTail(peak.acks.count() + over.acks.count())
	highest.requireGrowth(t, before, overloadBudget)
	require.Positive(t, over.acks.count(), "nothing went through")
	require.Positive(t, over.refusals.count(), "five times what the store takes was not refused")
	require.GreaterOrEqual(t, goodput, leastGoodput, "of the sustainable")
	if full() {
		require.Less(t, over.refusals.quantile(0.5), over.acks.quantile(0.5)/2, "refusals are to come early")
	}
}

// load appends to one stream.
type load struct {
	t       *testing.T
	streams samsav1.StreamServiceClient
	bucket  string
	records []*samsav1.AppendRecord // of each batch; they don't compress
}

func newLoad(t *testing.T, c *cluster.Cluster) *load {
	conn := cluster.Connect(t, c, c.Address())
	body := make([]byte, batchBytes)
	_, _ = rand.Read(body) // never fails
	l := &load{
		t: t, streams: samsav1.NewStreamServiceClient(conn), bucket: "overload",
		records: []*samsav1.AppendRecord{{Body: body}},
	}
	makeStream(t, conn, l.bucket)
	return l
}

func makeStream(t *testing.T, conn grpc.ClientConnInterface, bucket string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := samsav1.NewAccountServiceClient(conn).CreateBucket(ctx, &samsav1.CreateBucketRequest{Bucket: bucket})
	require.NoError(t, err)
	_, err = samsav1.NewBucketServiceClient(conn).CreateStream(ctx, &samsav1.CreateStreamRequest{
		Bucket: bucket, Stream: "s", Config: &samsav1.StreamConfig{StorageClass: samsav1.StorageClass_STORAGE_CLASS_EXPRESS},
	})
	require.NoError(t, err)
}

// results are what became of many appends.
type results struct {
	acks, refusals latencies
	offered        int
	took           time.Duration // until the last ack of each round

	mu      sync.Mutex
	lastAck time.Time
	wrong   []error
}

// rate is how many batches were acknowledged a second.
func (r *results) rate() float64 { return float64(r.acks.count()) / r.took.Seconds() }

// saturate has as many clients append in lockstep as keep the store busy.
func (l *load) saturate(r *results, length time.Duration) {
	begun := time.Now()
	var group sync.WaitGroup
	for range 2 * window * segmentBytes / batchBytes {
		group.Go(func() {
			for time.Since(begun) < length {
				l.append(r)
			}
		})
	}
	group.Wait()
	r.took += r.lastAck.Sub(begun)
}

// offer begins so many appends a second, whatever becomes of them.
func (l *load) offer(r *results, rate float64, length time.Duration) {
	const every = 10 * time.Millisecond
	begun, offered := time.Now(), 0
	tick := time.NewTicker(every)
	defer tick.Stop()
	var group sync.WaitGroup
	for now := begun; now.Sub(begun) < length; now = <-tick.C {
		for due := int(rate * now.Sub(begun).Seconds()); offered < due; offered++ {
			group.Go(func() { l.append(r) })
		}
	}
	group.Wait()
	r.offered += offered
	r.took += r.lastAck.Sub(begun)
}

func (l *load) append(r *results) {
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	begun := time.Now()
	_, err := l.streams.Append(ctx, &samsav1.AppendRequest{Bucket: l.bucket, Stream: "s", Records: l.records})
	if err != nil {
		r.refused(err, time.Since(begun))
		return
	}
	r.acked(time.Since(begun))
}

func (r *results) acked(took time.Duration) {
	r.acks.add(took)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastAck = time.Now()
}

// refused checks that a refusal says what it is and when to come again.
func (r *results) refused(err error, took time.Duration) {
	r.refusals.add(took)
	if status.Code(err) == codes.ResourceExhausted && rpc.RetryAfter(err) > 0 &&
		rpc.Detail(err).GetCode() == samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) < 10 {
		r.wrong = append(r.wrong, fmt.Errorf("not a refusal with a type and a delay: %w", err))
	}
}

// requireTail checks that what was acknowledged was appended, and nothing else.
func (l *load) requireTail(batches int) {
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	tail, err := l.streams.CheckTail(ctx, &samsav1.CheckTailRequest{Bucket: l.bucket, Stream: "s"})
	require.NoError(l.t, err)
	require.EqualValues(l.t, batches, tail.GetNextSeqNum(), "records, one to a batch")
}
