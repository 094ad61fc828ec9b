package server

import (
	"context"
	"fmt"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/announce"
	"github.com/samsa-io/samsa/services/stream-writer/internal/ownership"
	"github.com/samsa-io/samsa/services/stream-writer/internal/recent"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Cluster serves WriterService, what the other services ask of a stream-writer.
type Cluster struct {
	clusterv1.UnimplementedWriterServiceServer
	writer  *writer.Writer
	manager *ownership.Manager
	recent  *recent.Records
	shards  uint32
}

// NewCluster makes the service.
func NewCluster(w *writer.Writer, m *ownership.Manager, r *recent.Records, shards uint32) *Cluster {
	return &Cluster{writer: w, manager: m, recent: r, shards: shards}
}

// TakeShard makes this writer the owner, unless a living one keeps the shard.
func (c *Cluster) TakeShard(ctx context.Context, r *clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error) {
	shard, err := c.shard(r.GetShard())
	if err != nil {
		return nil, err
	}
	head, err := c.manager.Take(ctx, c.writer, shard, r.GetPlanned())
	if err != nil {
		return nil, toStatus(unproved(err))
	}
	return &clusterv1.TakeShardResponse{Owner: ownerOf(head)}, nil
}

// HandOverShard lets a shard go, unless this writer still ranks first for it.
func (c *Cluster) HandOverShard(ctx context.Context, r *clusterv1.HandOverShardRequest) (*clusterv1.HandOverShardResponse, error) {
	shard, err := c.shard(r.GetShard())
	if err != nil {
		return nil, err
	}
	log, err := stream.IncarnationFromBytes(r.GetIncarnation())
	if err != nil {
		return nil, invalid("incarnation", err)
	}
	if c.manager.Owns(shard, log) && c.manager.Keeps(shard) {
		return &clusterv1.HandOverShardResponse{}, nil
	}
	end, err := c.writer.HandOver(ctx, shardlog.HandOver{
		Shard: shard, Epoch: stream.Epoch(r.GetEpoch()), Incarnation: log,
	})
	if err != nil {
		return nil, toStatus(unproved(err))
	}
	return &clusterv1.HandOverShardResponse{HandedOver: true, EndSlot: uint64(end)}, nil
}

// ConfigureStream brings a stream's configuration into effect.
func (c *Cluster) ConfigureStream(ctx context.Context, r *clusterv1.ConfigureStreamRequest) (*clusterv1.ConfigureStreamResponse, error) {
	name, id, err := nameAndID(r)
	if err != nil {
		return nil, err
	}
	err = c.writer.Configure(ctx, shardlog.Configure{
		Name: name, ID: id, Config: config(r.GetConfig()), ConfigVersion: r.GetConfigVersion(),
	})
	return &clusterv1.ConfigureStreamResponse{}, toStatus(unproved(err))
}

func config(c *samsav1.StreamConfig) stream.Config {
	return stream.Config{
		StorageClass:          stream.StorageClass(c.GetStorageClass()),
		TimestampingMode:      stream.TimestampingMode(c.GetTimestampingMode()),
		AllowFutureTimestamps: c.GetAllowFutureTimestamps(),
		RetentionSeconds:      c.GetRetentionAgeSeconds(),
		DeleteOnEmptySeconds:  c.GetDeleteOnEmptyMinAgeSeconds(),
	}
}

// TombstoneStream ends a stream for good.
func (c *Cluster) TombstoneStream(ctx context.Context, r *clusterv1.TombstoneStreamRequest) (*clusterv1.TombstoneStreamResponse, error) {
	name, id, err := nameAndID(r)
	if err != nil {
		return nil, err
	}
	err = c.writer.Tombstone(ctx, shardlog.Tombstone{Name: name, ID: id})
	return &clusterv1.TombstoneStreamResponse{}, toStatus(unproved(err))
}

// TombstoneBucket ends a bucket's streams in one shard.
func (c *Cluster) TombstoneBucket(ctx context.Context, r *clusterv1.TombstoneBucketRequest) (*clusterv1.TombstoneBucketResponse, error) {
	shard, err := c.shard(r.GetShard())
	if err != nil {
		return nil, err
	}
	bucket, err := stream.IDFromBytes(r.GetBucketId())
	if err != nil {
		return nil, invalid("bucket_id", err)
	}
	err = c.writer.TombstoneBucket(ctx, shardlog.TombstoneBucket{Shard: shard, BucketID: bucket})
	return &clusterv1.TombstoneBucketResponse{}, toStatus(unproved(err))
}

func (c *Cluster) shard(id uint32) (stream.Shard, error) {
	if id >= c.shards {
		return 0, invalid("shard", fmt.Errorf("shard %d: this cluster has %d", id, c.shards))
	}
	return stream.Shard(id), nil
}

func nameAndID(r interface {
	GetBucket() string
	GetStream() string
	GetStreamId() []byte
}) (stream.Name, stream.ID, error) {
	name, err := nameOf(r.GetBucket(), r.GetStream())
	if err != nil {
		return stream.Name{}, stream.ID{}, err
	}
	id, err := stream.IDFromBytes(r.GetStreamId())
	if err != nil {
		return stream.Name{}, stream.ID{}, invalid("stream_id", err)
	}
	return name, id, nil
}

// Locate says where a stream stands and where its records are.
func (c *Cluster) Locate(ctx context.Context, r *clusterv1.LocateRequest) (*clusterv1.LocateResponse, error) {
	name, err := nameOf(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	q := shardlog.Inspect{Name: name, Prove: r.GetProveTail()}
	if r.GetForRead() {
		q.Purpose = shardlog.ForRead
	}
	v, err := c.writer.Inspect(ctx, q)
	if err != nil {
		return nil, toStatus(unproved(err))
	}
	l := &location{view: v, response: standing(v)}
	if err := l.findStart(r, c.recent.Index); err != nil {
		return nil, err
	}
	l.addBlocks(r.GetMaxBytes(), c.recent)
	return l.response, nil
}

func standing(v shardlog.View) *clusterv1.LocateResponse {
	return &clusterv1.LocateResponse{
		StreamId: v.ID[:], Shard: uint32(v.Shard), Epoch: uint64(v.Epoch), Incarnation: v.Log[:],
		TrimSeqNum: uint64(v.Trim), NextSeqNum: uint64(v.Tail), LastTimestamp: v.LastTime, LastIdMillis: v.LastIDMillis,
		IndexSeqNum: uint64(v.Tail),
	}
}

// location is the answer to a Locate in the making.
type location struct {
	view     shardlog.View
	response *clusterv1.LocateResponse
}

// findStart turns the start asked for into a seq_num, as far as this writer can.
func (l *location) findStart(r *clusterv1.LocateRequest, index *logindex.Index) error {
	v := l.view
	// An index that ends below the tail is of an earlier time as owner: there is a
	// gap behind it that others have written.
	first, end, covered := index.Covered(v.ID)
	if covered && first < v.Tail && end >= v.Tail {
		l.response.IndexSeqNum = uint64(first)
	}
	start := v.Trim
	switch at := r.GetStart().(type) {
	case *clusterv1.LocateRequest_SeqNum:
		start = stream.SeqNum(at.SeqNum)
	case *clusterv1.LocateRequest_SeqId:
		id, err := stream.ParseSeqID(at.SeqId)
		if err == nil && id.Salt() != v.ID.Salt() {
			err = fmt.Errorf("seq_id %s is an id of another stream", id)
		}
		if err != nil {
			return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "%v", err).In("seq_id")
		}
		start = id.SeqNum()
	case *clusterv1.LocateRequest_TailOffset:
		start = v.Tail - min(v.Tail, stream.SeqNum(at.TailOffset))
	case *clusterv1.LocateRequest_Timestamp:
		found, ok := l.atTime(at.Timestamp, index)
		if !ok {
			return nil
		}
		start = found
	}
	start = max(start, v.Trim)
	l.response.StartSeqNum = (*uint64)(&start)
	return nil
}

// atTime finds a seq_num at or before the first record with the timestamp, in the
// same block; false: it lies below what the index covers.
func (l *location) atTime(t uint64, index *logindex.Index) (stream.SeqNum, bool) {
	v := l.view
	if v.Tail == v.Trim || t > v.LastTime {
		return v.Tail, true
	}
	span, ok := index.LookupTimestamp(v.ID, t, 1)
	if !ok || span.Earlier && span.First > v.Trim || len(span.Blocks) == 0 {
		return 0, false
	}
	return span.Blocks[0].First, true
}

// addBlocks names the blocks from the start on, with the bytes that are in memory.
func (l *location) addBlocks(maxBytes uint64, recent *recent.Records) {
	if maxBytes == 0 || l.response.StartSeqNum == nil || l.response.GetStartSeqNum() < l.response.GetIndexSeqNum() {
		return
	}
	span, _ := recent.Index.Lookup(l.view.ID, stream.SeqNum(l.response.GetStartSeqNum()), maxBytes)
	for _, b := range span.Blocks {
		if b.First >= l.view.Tail {
			return
		}
		m := announce.Block(b.BlockRef)
		m.Incarnation, m.Slot = b.Log[:], uint64(b.Slot)
		m.Data, _ = recent.Stored(b)
		l.response.Blocks = append(l.response.Blocks, m)
	}
}
