package app

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/local/etcd"
	"github.com/samsa-io/samsa/pkg/local/nats"
	"github.com/samsa-io/samsa/pkg/local/postgres"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/compactor/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

func testConfig(t *testing.T) config.Config {
	c := config.Default()
	c.Compactor.Listen = "inproc:compactor"
	c.Compactor.IntervalMS = 20
	c.Platform.Storage.CleanupIntervalSecs, c.Platform.Storage.CleanupGraceSecs = 1, 0
	c.Platform.Server.NodeID = "node-1"
	c.Platform.Server.EtcdEndpoints = []string{etcd.ForTest(t).Endpoint}
	c.Platform.NATS.URLs = []string{nats.ForTest(t).URL}
	c.Platform.Database.URL = postgres.ForTest(t)
	c.Platform.Storage.URL = "file://" + filepath.Join(t.TempDir(), "store")
	c.Platform.Observability.MetricsPort = -1
	c.Platform.Auth.Enabled = false
	return c
}

// sealedLog is a log with a record, whose shard has gone to another one.
func sealedLog(t *testing.T, store objstore.Store, id stream.ID) stream.Incarnation {
	put := func(key string, body []byte) { require.NoError(t, store.PutIfAbsent(t.Context(), key, body)) }
	log, next := stream.NewIncarnation(), stream.NewIncarnation()
	put(segment.ChainKey(0, 0), segment.ChainEntry{Owner: log, Window: 8}.Encode())
	s := segment.Segment{Header: segment.Header{Log: log, Window: 8}, Batches: []segment.Batch{{
		Stream: id, IDMillis: 1, Timestamps: []uint64{1}, Payload: segment.AppendRecord(nil, nil, []byte("body")),
	}}}
	put(segment.SlotKey(log, 0), s.Encode())
	put(segment.SlotKey(log, 1), segment.EncodeSeal(segment.Header{Log: log, Slot: 1, Window: 8}, next))
	put(segment.ChainKey(0, 1), segment.ChainEntry{Epoch: 1, Owner: next, Window: 8, PredecessorEnd: 1}.Encode())
	return log
}

func TestModule_CompactsAndCollectsInsideThePlatform(t *testing.T) {
	c := testConfig(t)
	var store objstore.Store
	var pool *pgxpool.Pool
	a := fx.New(
		service.Platform(c.Platform, service.WithLogger(zaptest.NewLogger(t))), Module(c),
		fx.Populate(&store, &pool),
	)
	require.NoError(t, a.Err())
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	id := stream.NewID()
	log := sealedLog(t, store, id)

	require.Eventually(t, func() bool {
		chunks, err := chunkindex.New(pool, 0).Find(t.Context(), id, 0, 10)
		return err == nil && len(chunks) == 1
	}, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := store.Head(t.Context(), segment.SlotKey(log, 0))
		return err != nil
	}, 20*time.Second, 10*time.Millisecond)
	_, err := store.Head(t.Context(), segment.SlotKey(log, 1))
	require.NoError(t, err, "the seal stays")
	_, err = store.Head(t.Context(), segment.GoneKey(log))
	require.NoError(t, err)
}

func TestMine_SharesAllWorkAmongThoseWhoAreListed(t *testing.T) {
	all := []discovery.Member{{Instance: "a"}, {Instance: "b"}}
	list := func() []discovery.Member { return all }
	a, b, c := mine(list, "a"), mine(list, "b"), mine(list, "c")
	share := 0
	for key := range uint32(1000) {
		require.NotEqual(t, a(key), b(key))
		require.True(t, c(key), "who is not listed does all")
		if a(key) {
			share++
		}
	}
	require.InDelta(t, 500, share, 100)
}
