package expiry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owner is a writer of one shard on a store, and its Expiry.
type owner struct {
	*Expiry
	log   *writer.Writer
	clock *fakeClock
	rows  rows
	stop  func()
}

type fakeClock struct {
	now time.Time
	err error
}

func (c *fakeClock) Now(context.Context) (time.Time, error) { return c.now, c.err }

// rows is a catalog in which every stream is.
type rows struct{ retention uint64 }

func (r rows) Find(_ context.Context, name stream.Name, _ shardlog.Purpose) (shardlog.CatalogStream, error) {
	c := stream.DefaultConfig()
	c.StorageClass, c.RetentionSeconds, c.AllowFutureTimestamps = stream.StorageClassExpress, r.retention, true
	return shardlog.CatalogStream{ID: idOf(name.Stream), BucketID: stream.ID{1}, Config: c, ConfigVersion: 1}, nil
}

func idOf(name string) (id stream.ID) {
	copy(id[:], name)
	return id
}

type alone struct{}

func (alone) AskHandOver(context.Context, segment.ChainEntry, bool) (shardlog.OwnerAnswer, stream.Slot) {
	return shardlog.OwnerGone, 0
}

// own starts a writer that takes the shard over from whoever had it. recentBytes is
// how much of the index it keeps.
func own(t *testing.T, store objstore.Store, retention uint64, recentBytes int64) *owner {
	t.Helper()
	reg := prometheus.NewRegistry()
	wm, err := writer.NewMetrics(reg)
	require.NoError(t, err)
	em, err := NewMetrics(reg)
	require.NoError(t, err)
	records := recent.New(recentBytes, recentBytes)
	older := history.New(nil, logindex.NewLocator(store, logindex.DefaultLocatorConfig()), 1<<20)
	o := &owner{clock: &fakeClock{now: time.UnixMilli(10_000_000)}, rows: rows{retention}}
	o.Expiry = New(DefaultConfig(), o.clock, NewFinder(records, older, store), em, zap.NewNop())
	o.log = writer.New(writer.Config{
		Log: shardlog.Config{
			Instance: "w", Address: "x", Shards: 1, Window: 4, BatchBytes: 1 << 20,
			RetryDelay: time.Millisecond, StateSlots: 8,
		},
		PutTimeout: time.Second, Reads: 16, RollInterval: time.Hour, RollBytes: 1 << 40,
	}, store, o.rows, alone{}, zap.NewNop(), wm, records, o.Expiry)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = o.log.Run(ctx)
	}()
	stopped := false
	o.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	t.Cleanup(o.stop)
	_, err = o.log.Take(t.Context(), shardlog.Take{})
	require.NoError(t, err)
	return o
}

func name(s string) stream.Name { return stream.Name{Bucket: "bucket", Stream: s} }

// append appends one batch of records with those timestamps.
func (o *owner) append(t *testing.T, to string, timestamps ...uint64) {
	t.Helper()
	var payload []byte
	for i := range timestamps {
		payload = segment.AppendRecord(payload, nil, fmt.Appendf(nil, "record %d", i))
	}
	call, err := o.log.Append(t.Context(), &shardlog.Append{
		Name: name(to), Payload: payload, Count: uint32(len(timestamps)), Timestamps: timestamps,
	}, func() {})
	require.NoError(t, err)
	_, err = call.Wait(t.Context())
	require.NoError(t, err)
}

func (o *owner) trim(t *testing.T, of string) int {
	t.Helper()
	v, err := o.log.Inspect(t.Context(), shardlog.Inspect{Name: name(of)}, func() {})
	require.NoError(t, err)
	return int(v.Trim)
}

// at makes a pass at that millisecond.
func (o *owner) at(t *testing.T, millis int64) {
	t.Helper()
	o.clock.now = time.UnixMilli(millis)
	require.NoError(t, o.pass(t.Context(), o.log, o.shards()))
}

func (o *owner) reconfigure(t *testing.T, of string, version, retention uint64) {
	t.Helper()
	row, _ := o.rows.Find(t.Context(), name(of), 0)
	row.Config.RetentionSeconds = retention
	require.NoError(t, o.log.Configure(t.Context(), shardlog.Configure{Name: name(of), ID: row.ID, Config: row.Config, ConfigVersion: version}))
}

func TestPass_TrimsWhatIsOlderThanTheRetention(t *testing.T) {
	o := own(t, objstore.NewMem(), 1, 1<<20)
	o.append(t, "s", 1000, 1000, 1500)
	o.append(t, "s", 2000, 3000)
	o.at(t, 1000)
	require.Zero(t, o.trim(t, "s"), "before anything is that old")
	o.at(t, 2000)
	require.Zero(t, o.trim(t, "s"), "exactly that old is not older")
	o.at(t, 2100)
	require.Equal(t, 2, o.trim(t, "s"), "inside a block")
	o.at(t, 2600)
	require.Equal(t, 3, o.trim(t, "s"), "a whole block")
	o.at(t, 4000)
	require.Equal(t, 4, o.trim(t, "s"), "the last record is not older")
	o.at(t, 9000)
	require.Equal(t, 5, o.trim(t, "s"), "to the tail")
	o.append(t, "s", 8500)
	o.at(t, 9100)
	require.Equal(t, 5, o.trim(t, "s"))
}

func TestPass_KeepsStreamsWithoutRetentionForEver(t *testing.T) {
	o := own(t, objstore.NewMem(), 0, 1<<20)
	o.append(t, "s", 1)
	o.at(t, 1<<45)
	require.Zero(t, o.trim(t, "s"))
}

func TestPass_HeedsANewRetentionForDataThatIsStored(t *testing.T) {
	o := own(t, objstore.NewMem(), 1000, 1<<20)
	o.append(t, "s", 1000, 2000, 3000, 4000)
	o.at(t, 5000)
	require.Zero(t, o.trim(t, "s"))
	o.reconfigure(t, "s", 2, 2)
	require.Equal(t, []stream.Shard{0}, o.takeChanged(), "it is looked at soon")
	o.at(t, 5000)
	require.Equal(t, 2, o.trim(t, "s"))
	o.reconfigure(t, "s", 3, 0)
	o.at(t, 50_000)
	require.Equal(t, 2, o.trim(t, "s"), "what is gone stays gone, the rest stays")
}

func TestPass_FindsRecordsOfOlderLogsInTheStore(t *testing.T) {
	store := objstore.NewMem()
	first := own(t, store, 10, 1<<20)
	for i := range uint64(40) {
		first.append(t, "s", 1000*i, 1000*i+500)
		first.append(t, "other", 1000*i)
	}
	first.at(t, 15_500)
	require.Equal(t, 11, first.trim(t, "s"))
	first.stop()
	for _, recentBytes := range []int64{1 << 20, 1} { // with and without an index of what was recovered
		next := own(t, store, 10, recentBytes)
		require.Equal(t, 11, next.trim(t, "s"), "a trim survives a takeover")
		next.at(t, 15_500)
		require.Equal(t, 11, next.trim(t, "s"), "nothing is overdue")
		next.stop()
	}
	last := own(t, store, 10, 1)
	last.at(t, 30_250)
	require.Equal(t, 41, last.trim(t, "s"))
	require.Equal(t, 21, last.trim(t, "other"))
}

func TestOwned_OutlivesTheEndOfTheIncarnationBefore(t *testing.T) {
	m, err := NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	e := New(DefaultConfig(), &fakeClock{}, nil, m, zap.NewNop())
	e.Owned(shardlog.Owned{Entry: segment.ChainEntry{Shard: 1, Owner: stream.Incarnation{1}}})
	e.Owned(shardlog.Owned{Entry: segment.ChainEntry{Shard: 2, Owner: stream.Incarnation{1}}})
	e.Owned(shardlog.Owned{Entry: segment.ChainEntry{Shard: 1, Owner: stream.Incarnation{2}}}) // rolled
	e.Ended(stream.Incarnation{1}, nil)
	require.Equal(t, []stream.Shard{1}, e.shards())
}

func TestPass_TrimsNothingWhileTheTimeIsNotKnown(t *testing.T) {
	o := own(t, objstore.NewMem(), 1, 1<<20)
	o.append(t, "s", 1000)
	o.clock.now, o.clock.err = time.UnixMilli(1<<40), errors.New("the store does not answer")
	require.Error(t, o.pass(t.Context(), o.log, o.shards()))
	require.Zero(t, o.trim(t, "s"))
}

func TestPass_GoesOnWhereTheOneBeforeHadToStop(t *testing.T) {
	o := own(t, objstore.NewMem(), 1, 1<<20)
	o.cfg.Lookups, o.cfg.Parallel = 3, 1
	const streams = 30
	for i := range streams {
		o.append(t, fmt.Sprint(i), 1000, 5000)
	}
	done := func() (n int) {
		for i := range streams {
			n += o.trim(t, fmt.Sprint(i))
		}
		return n
	}
	for pass := range streams / 3 {
		require.Equal(t, 3*pass, done())
		o.at(t, 3000)
	}
	require.Equal(t, streams, done())
}

func TestSurvey_HasEveryStreamThatStaysInOnePage(t *testing.T) {
	o := own(t, objstore.NewMem(), 1, 1<<20)
	for i := range 100 {
		o.append(t, fmt.Sprint(i), 1000)
	}
	seen, from := map[stream.ID]int{}, 0
	for deleted := 0; ; deleted++ {
		page, err := o.log.Survey(t.Context(), shardlog.Survey{From: from, Limit: 7})
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Streams), 7)
		for _, v := range page.Streams {
			seen[v.ID]++
		}
		if from = page.Next; from == 0 {
			break
		}
		gone := fmt.Sprint(deleted) // while the survey is under way
		require.NoError(t, o.log.Tombstone(t.Context(), shardlog.Tombstone{Name: name(gone), ID: idOf(gone)}))
	}
	for i := 20; i < 100; i++ {
		require.Equal(t, 1, seen[idOf(fmt.Sprint(i))], "stream %d", i)
	}
}

// TestPass_TrimsExactlyWhatHasExpired compares with a model, over random streams
// and times, owners that come and go, and configurations that change.
func TestPass_TrimsExactlyWhatHasExpired(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		store := objstore.NewMem()
		retention := uint64(1 + rng.IntN(5))
		o := own(t, store, retention, 1<<20)
		var kept []uint64 // timestamps
		trimmed, now := 0, uint64(20_000)
		version := uint64(1)
		for range 40 {
			switch rng.IntN(6) {
			case 0:
				o.stop()
				o = own(t, store, retention, []int64{1, 1 << 20}[rng.IntN(2)])
			case 1:
				if len(kept) > 0 {
					version++
					retention = uint64(1 + rng.IntN(5))
					o.reconfigure(t, "s", version, retention)
				}
			case 2:
				now += uint64(rng.IntN(3000))
			default:
				var batch []uint64
				last := uint64(0)
				if len(kept) > 0 {
					last = kept[len(kept)-1]
				}
				for range 1 + rng.IntN(4) {
					last = max(last, now-uint64(rng.IntN(10_000)))
					batch = append(batch, last)
				}
				o.append(t, "s", batch...)
				kept = append(kept, batch...)
			}
			if len(kept) == 0 {
				continue
			}
			o.at(t, int64(now))
			got := o.trim(t, "s")
			require.GreaterOrEqual(t, got, trimmed)
			for i := trimmed; i < got; i++ {
				require.Less(t, kept[i]+1000*retention, now, "seed %d: record %d was trimmed before its time", seed, i)
			}
			trimmed = got
			if trimmed < len(kept) {
				slack := 10 * retention
				require.GreaterOrEqual(t, kept[trimmed]+1000*retention+slack, now, "seed %d: record %d is overdue", seed, trimmed)
			}
		}
		o.stop()
	}
}
