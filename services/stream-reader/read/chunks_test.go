package read_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

// compactor moves the segments of a fake cluster's one stream into chunks.
type compactor struct {
	t     *testing.T
	store *objstore.Mem
	index *chunkindex.Mem
	last  []chunkindex.Chunk // of the job before
	old   []string           // what may be deleted
	spare string             // a segment that is left where it is
}

// compact takes all segments that stand over, and the chunks of the job before.
func (c *compactor) compact() {
	var job chunkindex.Job
	id, err := c.index.Begin(c.t.Context(), job)
	require.NoError(c.t, err)
	w := segment.NewChunkWriter(segment.Chunks{ID: id}, 400)
	old := c.old
	c.old = nil
	for _, chunk := range c.last {
		object, err := c.store.Get(c.t.Context(), segment.ChunkKey(chunk.Object), objstore.Bytes(int64(chunk.Offset), int64(chunk.Stored)))
		require.NoError(c.t, err)
		block, err := segment.DecodeBlock(chunk.Stream, chunk.BlockRef, object.Body)
		require.NoError(c.t, err)
		w.Add(block, 0, stream.MaxSeqNum)
		c.old = append(c.old, segment.ChunkKey(chunk.Object))
	}
	for info, err := range c.store.List(c.t.Context(), segment.LogPrefix, "") {
		require.NoError(c.t, err)
		if info.Key != c.spare {
			c.segment(w, info.Key, old)
		}
	}
	object, about := w.Finish()
	require.NoError(c.t, c.store.PutIfAbsent(c.t.Context(), segment.ChunkKey(id), object))
	chunks := chunkindex.ChunksOf(about)
	require.NoError(c.t, c.index.Publish(c.t.Context(), chunkindex.Publication{Object: id, Chunks: chunks, Replaced: c.last}))
	c.last = chunks
	for _, key := range old {
		require.NoError(c.t, c.store.Delete(c.t.Context(), key))
	}
}

func (c *compactor) segment(w *segment.ChunkWriter, key string, old []string) {
	for _, gone := range old {
		if key == gone {
			return
		}
	}
	object, err := c.store.Get(c.t.Context(), key, objstore.Whole)
	require.NoError(c.t, err)
	footer, err := segment.DecodeFooter(object.Body)
	require.NoError(c.t, err)
	for _, section := range footer.Sections {
		for _, s := range section.Streams {
			for _, ref := range s.Blocks {
				block, err := segment.DecodeBlock(s.Stream, ref, object.Body[ref.Offset:][:ref.Stored])
				require.NoError(c.t, err)
				w.Add(block, 0, stream.MaxSeqNum)
			}
		}
	}
	c.old = append(c.old, key)
}

// Records move from segments into chunks and from chunks into others, and what they
// came from is deleted, while sessions read them.
func TestSession_DoesNotNoticeThatRecordsMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := fake.New()
		cluster.IndexBytes = 1 // the owner forgets all but the newest
		c := &compactor{t: t, store: cluster.Store, index: chunkindex.NewMem(time.Now)}
		config := defaultRig()
		config.chunks = c.index
		r := newRig(t, cluster, config)
		defer r.close()
		s := cluster.Create(fake.Name(0))

		var sessions []*session
		for round := range 5 {
			for n := range 20 {
				r.append(s, 2, uint64(100*round+n))
			}
			cluster.Takeover(fake.Shard(s.Name))
			// Slow ones, which have found blocks long before they fetch them.
			sessions = append(sessions, r.session(all(s.Name), func(read.Output) error {
				time.Sleep(300 * time.Millisecond)
				return nil
			}))
			time.Sleep(time.Second)
			c.compact()
		}
		time.Sleep(time.Minute)
		for _, one := range sessions {
			one.end()
			require.ErrorIs(t, one.err, context.Canceled)
			check(t, s, one.records)
			require.Len(t, one.records, 200)
		}
		for seq := range uint64(200) {
			req := all(s.Name)
			req.Start, req.Limits = at(seq), frame.Limits{Count: 3, Bytes: frame.Unlimited, Wire: frame.Unlimited}
			result, err := r.service.Read(t.Context(), req)
			require.NoError(t, err)
			require.EqualValues(t, min(3, 200-seq), result.Frame.Count)
		}
	})
}

// movedRig is a cluster whose owner goes on naming slots that are no more.
func movedRig(t *testing.T) (*rig, *compactor, *fake.Stream) {
	cluster := fake.New()
	cluster.InlineBytes = 0
	c := &compactor{t: t, store: cluster.Store, index: chunkindex.NewMem(time.Now)}
	config := defaultRig()
	config.chunks = c.index
	return newRig(t, cluster, config), c, cluster.Create(fake.Name(0))
}

func TestRead_FindsInChunksWhatTheOwnerRemembersInSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c, s := movedRig(t)
		defer r.close()
		for range 10 {
			r.append(s, 2, 1)
		}
		c.compact()
		c.compact() // what the first one took over is gone
		session := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		session.end()
		require.ErrorIs(t, session.err, context.Canceled)
		check(t, s, session.records)
		require.Len(t, session.records, 20)
		result, err := r.service.Read(t.Context(), all(s.Name))
		require.NoError(t, err)
		require.EqualValues(t, 20, result.Frame.Count)
	})
}

// The last slots of a log that nobody has sealed are not proved durable, so they are
// in no chunk, while what came after them, in another log, has been collected. A
// reader that knows all their footers must not stumble over those that are no more.
func TestRead_FindsWhatStandsBeforeWhatHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := fake.New()
		cluster.IndexBytes = 1
		c := &compactor{t: t, store: cluster.Store, index: chunkindex.NewMem(time.Now)}
		config := defaultRig()
		config.chunks = c.index
		config.blocks.CacheBytes = 1
		r := newRig(t, cluster, config)
		defer r.close()
		s := cluster.Create(fake.Name(0))
		for range 10 {
			r.append(s, 2, 1)
		}
		for info, err := range cluster.Store.List(t.Context(), segment.LogPrefix, "") {
			require.NoError(t, err)
			c.spare = info.Key
			break
		}
		cluster.Takeover(fake.Shard(s.Name))
		req := all(s.Name)
		req.Start, req.Limits = at(1), frame.Limits{Count: 1, Bytes: frame.Unlimited, Wire: frame.Unlimited}
		_, err := r.service.Read(t.Context(), req) // now the footers are known
		require.NoError(t, err)
		c.compact()
		c.compact()
		result, err := r.service.Read(t.Context(), all(s.Name))
		require.NoError(t, err)
		require.EqualValues(t, 20, result.Frame.Count)
	})
}

func TestSession_GoesOnWhenWhatItMissedHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c, s := movedRig(t)
		defer r.close()
		r.append(s, 1, 1)
		session := r.session(all(s.Name), nil)
		time.Sleep(time.Second)
		r.cluster.SetDown(fake.Shard(s.Name), true)
		for n := range 10 {
			r.cluster.Append(s, true, records(1+n, 1, 1, 10))
		}
		c.compact()
		c.compact()
		r.cluster.SetDown(fake.Shard(s.Name), false)
		time.Sleep(time.Minute)
		session.end()
		require.ErrorIs(t, session.err, context.Canceled)
		check(t, s, session.records)
		require.Len(t, session.records, 11)
	})
}

func TestRead_OfWhatWasTrimmedAndDeletedMeanwhileBeginsAtTheTrimPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c, s := movedRig(t)
		defer r.close()
		r.cluster.IndexBytes = 1
		for range 10 {
			r.append(s, 2, 1)
		}
		r.cluster.Takeover(fake.Shard(s.Name)) // by one that remembers nothing
		c.compact()
		first := make(chan struct{})
		moved := make(chan struct{})
		req := all(s.Name)
		session := r.session(req, func(o read.Output) error {
			if o.Frame != nil && o.Frame.First == 0 {
				close(first)
				<-moved
			}
			return nil
		})
		<-first
		r.cluster.Trim(s, 20)
		c.last = nil // dropped, not merged
		c.compact()
		close(moved)
		time.Sleep(time.Second)
		session.end()
		require.ErrorIs(t, session.err, context.Canceled)
		check(t, s, session.records)

		result, err := r.service.Read(t.Context(), req)
		require.NoError(t, err)
		require.EqualValues(t, 20, result.Next)
	})
}

func TestRead_OfRecordsThatAreNowhereIsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := fake.New()
		cluster.IndexBytes = 1
		config := defaultRig()
		config.chunks = chunkindex.NewMem(time.Now)
		r := newRig(t, cluster, config)
		defer r.close()
		s := cluster.Create(fake.Name(0))
		for range 10 {
			r.append(s, 2, 1)
		}
		cluster.Takeover(fake.Shard(s.Name))
		for info, err := range cluster.Store.List(t.Context(), segment.LogPrefix, "") {
			require.NoError(t, err)
			require.NoError(t, cluster.Store.Delete(t.Context(), info.Key))
		}
		_, err := r.service.Read(t.Context(), all(s.Name))
		var damage *logindex.DamageError
		require.True(t, errors.As(err, &damage), "%v", err)
	})
}
