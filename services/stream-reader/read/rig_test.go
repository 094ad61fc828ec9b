package read_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// rig is a reader on a fake cluster.
type rig struct {
	t       testing.TB
	cluster *fake.Cluster
	service *read.Service
	hub     *live.Hub
	beacons context.CancelFunc
	loops   sync.WaitGroup
}

type rigConfig struct {
	live   live.Config
	read   read.Config
	blocks logindex.BlocksConfig
	chunks history.Chunks // nil: none
}

func defaultRig() rigConfig {
	c := rigConfig{live: live.DefaultConfig(), read: read.DefaultConfig(), blocks: logindex.DefaultBlocksConfig()}
	c.read.Shards = fake.Shards
	return c
}

func newRig(t testing.TB, cluster *fake.Cluster, c rigConfig) *rig {
	blocks := logindex.NewBlocks(cluster.Store, c.blocks, nil)
	locator := history.New(c.chunks, logindex.NewLocator(cluster.Store, logindex.DefaultLocatorConfig()), 1<<20)
	r := &rig{t: t, cluster: cluster}
	r.hub = live.NewHub(c.live, cluster, blocks, cluster.Bus, zap.NewNop(), live.NewMetrics(nil))
	r.service = read.New(c.read, cluster, locator, blocks, r.hub, nil)
	ctx, cancel := context.WithCancel(context.Background())
	r.beacons = cancel
	r.loops.Go(func() { cluster.RunBeacons(ctx) })
	return r
}

func (r *rig) close() {
	r.service.Stop()
	r.hub.Close()
	r.beacons()
	r.loops.Wait()
	r.cluster.Bus.Wait()
}

// smallBody keeps a slot's block too small to be compressed: the compressors that
// pkg/segment shares among goroutines can't be shared among synctest's bubbles.
const smallBody = 40

// records makes n records at a time, with bodies of about size bytes.
func records(first, n int, timestamp uint64, size int) []fake.Record {
	out := make([]fake.Record, n)
	for i := range out {
		out[i] = fake.Record{Timestamp: timestamp, IDMillis: timestamp, Body: fmt.Appendf(nil, "%d-%0*d", first+i, size, 0)}
	}
	return out
}

func (r *rig) append(s *fake.Stream, n int, timestamp uint64) {
	r.cluster.Append(s, false, records(int(r.cluster.Len(s)), n, timestamp, 10))
}

// received is what a session got.
type received struct {
	records []*samsav1.SequencedRecord
	tails   []live.Tail
	beats   int
}

func decode(t require.TestingT, f *frame.Frame) []*samsav1.SequencedRecord {
	var m samsav1.ReadSessionResponse
	require.NoError(t, proto.Unmarshal(f.Session(), &m))
	return m.GetOutput().GetBatch().GetRecords()
}

func (g *received) take(t require.TestingT, o read.Output) {
	if o.Frame != nil {
		batch := decode(t, o.Frame)
		for i, r := range batch {
			require.Equal(t, batch[0].SeqNum+uint64(i), r.SeqNum, "a batch has no gap")
		}
		g.records = append(g.records, batch...)
	}
	if o.Tail != nil {
		g.tails = append(g.tails, *o.Tail)
	}
	if o == (read.Output{}) {
		g.beats++
	}
}

// check compares records with the model: dense, in order, complete.
func check(t require.TestingT, s *fake.Stream, got []*samsav1.SequencedRecord) {
	for i, r := range got {
		want := s.Records[r.SeqNum]
		require.Equal(t, want.Timestamp, r.Timestamp)
		require.Equal(t, want.Body, r.Body)
		require.Equal(t, stream.NewSeqID(want.IDMillis, stream.SeqNum(r.SeqNum), s.ID.Salt()).String(), r.SeqId)
		if i > 0 && r.SeqNum != got[i-1].SeqNum+1 {
			require.Greater(t, r.SeqNum, got[i-1].SeqNum, "in order")
			require.Contains(t, s.Trims, stream.SeqNum(r.SeqNum), "only trimming makes a gap, up to where it trimmed")
		}
	}
}

// session runs a session in the background.
type session struct {
	received
	err    error
	done   chan struct{}
	cancel context.CancelFunc
}

func (r *rig) session(req read.Request, each func(read.Output) error) *session {
	return r.pacedSession(req, 0, each)
}

// pacedSession pauses for so long after each frame.
func (r *rig) pacedSession(req read.Request, pause time.Duration, each func(read.Output) error) *session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(s.done)
		s.err = r.service.Session(ctx, req, func(o read.Output) (wait time.Duration, err error) {
			s.take(r.t, o)
			if o.Frame != nil {
				wait = pause
			}
			if each != nil {
				err = each(o)
			}
			return wait, err
		})
	}()
	return s
}

func (s *session) end() {
	s.cancel()
	<-s.done
}

func at(seq uint64) live.Start { return live.Start{Kind: live.AtSeqNum, Value: seq} }

func all(name stream.Name) read.Request {
	return read.Request{Name: name, Limits: frame.NoLimits(), Start: at(0)}
}

const tick = 100 * time.Millisecond
