package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/internal/ownership"
	"github.com/samsa-io/samsa/services/stream-writer/internal/registration"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
	"github.com/samsa-io/samsa/services/stream-writer/locate"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

// Cluster serves WriterService, what the other services ask of a stream-writer.
type Cluster struct {
	clusterv1.UnimplementedWriterServiceServer
	writer    *writer.Writer
	questions *Questions
	manager   *ownership.Manager
	entry     *registration.Registration
	recent    *recent.Records
	clock     Clock
	shards    uint32
}

// Clock tells the time by which streams are old.
type Clock interface {
	Now(context.Context) (time.Time, error)
}

// NewCluster makes the service.
func NewCluster(w *writer.Writer, q *Questions, m *ownership.Manager, e *registration.Registration, r *recent.Records, clock Clock, shards uint32) *Cluster {
	return &Cluster{writer: w, questions: q, manager: m, entry: e, recent: r, clock: clock, shards: shards}
}

// TakeShard makes this writer the owner, unless a living one keeps the shard.
func (c *Cluster) TakeShard(ctx context.Context, r *clusterv1.TakeShardRequest) (*clusterv1.TakeShardResponse, error) {
	shard, err := c.shard(r.GetShard())
	if err != nil {
		return nil, err
	}
	if log, err := stream.IncarnationFromBytes(r.GetUnreachableIncarnation()); err == nil && r.GetPlanned() {
		c.manager.Offered(log)
	}
	head, err := c.manager.Take(ctx, c.writer, shardlog.Take{
		Shard: shard, Planned: r.GetPlanned(), Hint: stream.Epoch(r.GetKnownEpoch()),
	})
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
	waiting, cancel := halfWay(ctx)
	defer cancel()
	end, err := c.writer.HandOver(waiting, shardlog.HandOver{
		Shard: shard, Epoch: stream.Epoch(r.GetEpoch()), Incarnation: log,
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return &clusterv1.HandOverShardResponse{HandingOver: true}, nil
	case err != nil:
		return nil, toStatus(unproved(err))
	}
	return &clusterv1.HandOverShardResponse{HandedOver: true, EndSlot: uint64(end)}, nil
}

// halfWay ends when half of the time that ctx leaves is over, so that an owner which
// is slow can still say that it lives.
func halfWay(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, limited := ctx.Deadline()
	if !limited {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// Describe says what this writer owns.
func (c *Cluster) Describe(context.Context, *clusterv1.DescribeRequest) (*clusterv1.DescribeResponse, error) {
	s := c.manager.Standing()
	r := &clusterv1.DescribeResponse{Incarnation: s.Log[:], Drained: s.Drained}
	for _, e := range s.Owned {
		r.Shards = append(r.Shards, &clusterv1.OwnedShard{
			Shard: uint32(e.Shard), Epoch: uint64(e.Epoch), Incarnation: e.Owner[:], FirstSlot: uint64(e.FirstSlot),
		})
	}
	return r, nil
}

// Drain has this writer give its shards away, or undoes that. The others learn of
// it so that none gives it any; its own shards go even if they don't.
func (c *Cluster) Drain(_ context.Context, r *clusterv1.DrainRequest) (*clusterv1.DrainResponse, error) {
	c.entry.SetDrained(!r.GetUndo())
	c.manager.SetDrained(!r.GetUndo())
	return &clusterv1.DrainResponse{}, nil
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
	t := shardlog.Tombstone{Name: name, ID: id, IfEmpty: r.GetIfEmpty()}
	if t.IfEmpty {
		now, err := c.clock.Now(ctx)
		if err != nil {
			return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR, "%v", err)
		}
		t.Now = uint64(max(now.UnixMilli(), 0))
	}
	err = c.writer.Tombstone(ctx, t)
	if kept := (*shardlog.KeptError)(nil); errors.As(err, &kept) {
		return &clusterv1.TombstoneStreamResponse{Kept: true, KeptForMs: kept.Millis}, nil
	}
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
	v, err := c.questions.ask(ctx, q)
	if err != nil {
		return nil, toStatus(unproved(err))
	}
	return locate.Answer(v, r, c.recent)
}
