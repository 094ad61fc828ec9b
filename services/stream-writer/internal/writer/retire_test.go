package writer

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begun remembers the log of a writer.
type begun struct {
	Ignore
	log chan stream.Incarnation
}

func (b begun) Began(log stream.Incarnation) { b.log <- log }

// anyStream is a catalog that has each stream.
type anyStream struct{}

func (anyStream) Find(_ context.Context, name stream.Name, _ shardlog.Purpose) (row shardlog.CatalogStream, err error) {
	row.Config = stream.DefaultConfig()
	copy(row.ID[:], name.Stream)
	return row, nil
}

// runWriter runs a writer that owns a shard, which Run returning ends.
func runWriter(t *testing.T, store objstore.Store) (w *Writer, log stream.Incarnation, ended chan error) {
	metrics, err := NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	logs := begun{log: make(chan stream.Incarnation, 10)}
	w = New(Config{
		Log:        shardlog.Config{Instance: "w", Address: "w", Shards: 1, Window: 4, BatchBytes: 1 << 20, RetryDelay: time.Millisecond, StateSlots: 16},
		PutTimeout: 5 * time.Second, RollInterval: time.Hour, RollBytes: 1 << 30, Reads: 4,
	}, store, anyStream{}, nil, zap.NewNop(), metrics, logs)
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-w.stopped })
	_, err = w.Take(t.Context(), shardlog.Take{})
	require.NoError(t, err)
	return w, <-logs.log, ended
}

func TestRetire_SealsTheLogAndEndsTheWriter(t *testing.T) {
	store := objstore.NewMem()
	w, log, ended := runWriter(t, store)
	require.NoError(t, w.Retire(t.Context()))
	require.NoError(t, <-ended)
	object, err := store.Get(t.Context(), segment.SlotKey(log, 0), objstore.Whole)
	require.NoError(t, err)
	trailer, err := segment.DecodeTrailer(object.Body[len(object.Body)-segment.TrailerSize:])
	require.NoError(t, err)
	require.Equal(t, segment.KindSeal, trailer.Kind)
	_, err = w.Take(t.Context(), shardlog.Take{})
	require.ErrorIs(t, err, ErrStopped)
}

func TestRetire_GivesUpInTimeWhenTheStoreIsAway(t *testing.T) {
	store := faulty.New(objstore.NewMem())
	w, _, _ := runWriter(t, store)
	store.Add(faulty.Rule{Op: objstore.OpPut, Prefix: segment.LogPrefix, Times: -1, Fault: faulty.Unavailable()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, w.Retire(ctx), context.DeadlineExceeded)
}
