package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/clock"

	"github.com/samsa-io/samsa/tests/cluster"
)

// outage is how long each dependency is out: OUTAGE, such as 70s, or a few seconds.
func outage(t *testing.T) time.Duration {
	text := os.Getenv("OUTAGE")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "OUTAGE")
	return d
}

// TestDegradation: with Postgres, NATS or etcd away what uses known streams goes on
// without one error, and everything tells who is missing; with the object store
// away nothing is acknowledged that is not stored, and nothing grows.
func TestDegradation(t *testing.T) {
	c := cluster.Start(t, cluster.Options{
		Writers: 2, Readers: 2, Routers: 1, Compactors: 1, Links: true,
		Env: []string{
			"SAMSA_COMPACTOR_INTERVAL_MS=500", "SAMSA_COMPACTOR_LIVE_BYTES=1", "SAMSA_COMPACTOR_LIVE_AGE_SECS=1",
			fmt.Sprintf("SAMSA_STORAGE_MAX_INFLIGHT_BYTES=%d", inflightBytes),
		},
	})
	for _, d := range []struct {
		name      string
		stop      func()
		start     func()
		component string
	}{
		{"Postgres", func() { c.StopPostgres(t) }, func() { c.StartPostgres(t) }, "postgres"},
		{"NATS", c.NATS.Stop, c.NATS.Restart, "nats"},
		{"Etcd", c.Etcd.Stop, c.Etcd.Restart, "etcd"},
	} {
		t.Run(d.name, func(t *testing.T) { without(t, c, d.component, d.stop, d.start) })
	}
	for name, faults := range map[string]cluster.StoreFaults{
		"StoreRefuses":  {Unavailable: 1},
		"StoreIsSilent": {LostRequest: 1},
		"StoreIsSlow":   {SlowReply: 1, Slow: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) { withStore(t, c, strings.ToLower(name), faults) })
	}
}

// unforgiving is a client that makes no second attempt.
func unforgiving(t *testing.T, c *cluster.Cluster) *client.Client {
	return cluster.Client(t, c, client.WithRetry(client.Retry{Policy: client.RetryNone}))
}

// without stops a dependency for a while.
func without(t *testing.T, c *cluster.Cluster, component string, stop, start func()) {
	cl := unforgiving(t, c)
	bucket := "without-" + component
	s := startSteady(t, cl, bucket, 4)
	s.requireProgress(t)
	s.requireNoError(t, "before")
	stop()
	requireComponent(t, c, component, "degraded")
	s.requireProgress(t)
	if component == "postgres" {
		requireClearRefusal(t, cl, bucket)
	}
	_ = clock.Sleep(t.Context(), outage(t))
	s.requireProgress(t)
	s.requireNoError(t, "without "+component)
	start()
	requireComponent(t, c, component, "ok")
	requireCatalogWorks(t, cl, bucket)
	s.requireProgress(t)
	s.requireNoError(t, component+" is back")
}

// requireComponent waits until each process that has the component says so, in
// /readyz and /metrics, and is ready all the same.
func requireComponent(t *testing.T, c *cluster.Cluster, component, state string) {
	t.Helper()
	asked := 0
	for _, name := range c.Names() {
		p := c.Process(t, name)
		values, err := p.Figures()
		require.NoError(t, err)
		if _, has := values[seriesOf(component, "ok")]; !has {
			continue
		}
		asked++
		cluster.Eventually(t, recovery, fmt.Sprintf("%s says that %s is %s", name, component, state), func() error {
			values, err := p.Figures()
			if err == nil && values[seriesOf(component, state)] != 1 {
				err = errors.New("it says otherwise")
			}
			return errors.Join(err, p.Ready())
		})
	}
	require.Positive(t, asked, "no process has a component %s", component)
}

func seriesOf(component, state string) string {
	return fmt.Sprintf("samsa_component_state{component=%q,state=%q}", component, state)
}

// requireClearRefusal: changes of the catalog say that it is the database.
func requireClearRefusal(t *testing.T, cl *client.Client, bucket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	_, err := cl.Bucket(bucket).CreateStream(ctx, "not-now", client.StreamConfig{})
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, codes.Unavailable, e.GRPC, "%v", err)
	require.Equal(t, "ERROR_CODE_DATABASE_ERROR", e.Code.String(), "%v", err)
	t.Logf("creating a stream was refused after %s: %v", time.Since(begun).Round(time.Millisecond), err)
	_, err = cl.CreateBucket(ctx, bucket+"-2", client.BucketConfig{})
	require.ErrorAs(t, err, &e)
	require.Equal(t, "ERROR_CODE_DATABASE_ERROR", e.Code.String(), "%v", err)
}

func requireCatalogWorks(t *testing.T, cl *client.Client, bucket string) {
	t.Helper()
	cluster.Eventually(t, recovery, "streams can be created and appended to", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := cl.Bucket(bucket).CreateStream(ctx, "afterwards", client.StreamConfig{})
		if err != nil && !errors.Is(err, client.ErrAlreadyExists) {
			return err
		}
		_, err = cl.Bucket(bucket).Stream("afterwards").Append(ctx, client.AppendInput{Records: []client.AppendRecord{{}}})
		return err
	})
}

const (
	// inflightBytes is how much each writer may hold for a store that does not take it.
	inflightBytes = 16 << 20
	// pushers are clients that push far more than that.
	pushers    = 16
	pushBytes  = 512 << 10
	growth     = 12 * inflightBytes // of a process; a record in flight is held as a request, in a segment and on the wire
	raceFactor = 4
)

// withStore has the object store fail while clients push.
func withStore(t *testing.T, c *cluster.Cluster, bucket string, faults cluster.StoreFaults) {
	patient := cluster.Client(t, c)
	cl := unforgiving(t, c)
	l := startPush(t, cl, bucket)
	l.requireProgress(t)
	before := resident(t, c)
	for _, name := range c.Names() {
		c.SetStoreFaults(t, name, faults)
	}
	_ = clock.Sleep(t.Context(), outage(t))
	during := resident(t, c)
	for _, name := range c.Names() {
		c.SetStoreFaults(t, name, cluster.StoreFaults{})
	}
	healed := time.Now()
	l.requireProgress(t)
	t.Logf("appends go on %s after the store does; refused meanwhile: %v", time.Since(healed).Round(time.Millisecond), l.refused())
	l.end()
	l.requireTyped(t)
	l.requireIntact(t, patient, bucket)
	limit := int64(growth)
	if cluster.RaceEnabled {
		limit *= raceFactor
	}
	for name, bytes := range during {
		require.Less(t, bytes-before[name], limit, "%s grew from %d MiB to %d MiB", name, before[name]>>20, bytes>>20)
	}
}

func resident(t *testing.T, c *cluster.Cluster) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	for _, name := range c.Names() {
		values, err := c.Process(t, name).Figures()
		require.NoError(t, err)
		sizes[name] = int64(values["process_resident_memory_bytes"])
	}
	return sizes
}

// push is clients that append large records, each to a stream of its own.
type push struct {
	streams []*pushStream
	stop    context.CancelFunc
	group   sync.WaitGroup
}

type pushStream struct {
	name  string
	acked atomic.Int64

	mu      sync.Mutex
	places  map[uint64]int64 // acknowledged: where which record stands
	refused map[string]int
	wrong   []error
}

func startPush(t *testing.T, c *client.Client, bucket string) *push {
	_, err := c.CreateBucket(t.Context(), bucket, client.BucketConfig{})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	p := &push{stop: stop}
	for i := range pushers {
		s := &pushStream{name: fmt.Sprintf("push-%d", i), places: map[uint64]int64{}, refused: map[string]int{}}
		_, err := c.Bucket(bucket).CreateStream(t.Context(), s.name, client.StreamConfig{})
		require.NoError(t, err)
		p.streams = append(p.streams, s)
		p.group.Go(func() { s.run(ctx, c.Bucket(bucket).Stream(s.name)) })
	}
	t.Cleanup(p.end)
	return p
}

func (p *push) end() {
	p.stop()
	p.group.Wait()
}

func (s *pushStream) run(ctx context.Context, stream *client.Stream) {
	for n := int64(0); ctx.Err() == nil; n++ {
		call, cancel := context.WithTimeout(ctx, 4*time.Second)
		body := append(line(int(n)), make([]byte, pushBytes)...)
		ack, err := stream.Append(call, client.AppendInput{Records: []client.AppendRecord{{Body: body}}})
		cancel()
		if ctx.Err() == nil {
			s.note(n, ack, err)
		}
		_ = clock.Sleep(ctx, 100*time.Millisecond)
	}
}

func (s *pushStream) note(n int64, ack client.Ack, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *client.Error
	switch {
	case err == nil:
		s.places[ack.StartSeqNum] = n
		s.acked.Add(1)
	case errors.As(err, &e) && e.Code != 0:
		s.refused[strings.TrimPrefix(e.Code.String(), "ERROR_CODE_")]++
	default:
		s.wrong = append(s.wrong, err)
	}
}

func (p *push) requireProgress(t *testing.T) {
	t.Helper()
	for _, s := range p.streams {
		before := s.acked.Load()
		require.Eventually(t, func() bool { return s.acked.Load() > before }, recovery, 10*time.Millisecond, "%s takes no appends", s.name)
	}
}

func (p *push) refused() map[string]int {
	all := map[string]int{}
	for _, s := range p.streams {
		s.mu.Lock()
		for code, n := range s.refused {
			all[code] += n
		}
		s.mu.Unlock()
	}
	return all
}

// requireTyped: every refusal said what it was.
func (p *push) requireTyped(t *testing.T) {
	t.Helper()
	for _, s := range p.streams {
		require.NoError(t, errors.Join(s.wrong...), "%s: an error without a code", s.name)
	}
	for code := range p.refused() {
		require.Contains(t, []string{"SERVICE_UNAVAILABLE", "STORAGE_ERROR", "RESOURCE_EXHAUSTED", "OUTCOME_UNKNOWN"}, code)
	}
}

// requireIntact: what was acknowledged is where the ack said, and nothing is there
// twice.
func (p *push) requireIntact(t *testing.T, c *client.Client, bucket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for _, s := range p.streams {
		found, twice := map[string]uint64{}, 0
		session := c.Bucket(bucket).Stream(s.name).ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
		for record, err := range session.Records() {
			require.NoError(t, err)
			text := strings.TrimRight(string(record.Body), "\x00")
			if _, ok := found[text]; ok {
				twice++
			}
			found[text] = record.SeqNum
		}
		session.Close()
		require.Zero(t, twice, "%s: records that stand twice", s.name)
		for place, n := range s.places {
			require.Equal(t, place, found[string(line(int(n)))], "%s: line %d was acknowledged at %d", s.name, n, place)
		}
	}
}
