// Package bus brings the writers' announcements to the followers.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package bus

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/notify"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/owner"
)

// Bus implements live.Bus on a notify.Bus.
type Bus struct {
	notify *notify.Bus
	log    *zap.Logger
}

// New makes a Bus.
func New(n *notify.Bus, log *zap.Logger) *Bus { return &Bus{notify: n, log: log} }

// SubscribeShard implements live.Bus. A notification that makes no sense counts
// as lost.
func (b *Bus) SubscribeShard(shard stream.Shard, handle func(*live.Notification), lost func()) (func(), error) {
	s, err := b.notify.OnAppends(shard, notify.Handler[*clusterv1.AppendNotification]{
		Message: func(ctx context.Context, m *clusterv1.AppendNotification) {
			n, err := Notification(m)
			if err != nil {
				b.log.Warn("a notification makes no sense", zap.Uint32("shard", uint32(shard)), zap.Error(err))
				lost()
				return
			}
			n.Trace = trace.SpanContextFromContext(ctx)
			handle(n)
		},
		Gap: lost,
	})
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

// SubscribeBeacons implements live.Bus. Lost ones need nothing: the next one
// tells more.
func (b *Bus) SubscribeBeacons(handle func(*live.Beacon)) (func(), error) {
	s, err := b.notify.OnBeacons(notify.Handler[*clusterv1.Beacon]{
		Message: func(_ context.Context, m *clusterv1.Beacon) { handle(Beacon(m)) },
		Gap:     func() {},
	})
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

// SubscribeChanges implements live.Bus.
func (b *Bus) SubscribeChanges(handle func(live.Change), lost func()) (func(), error) {
	s, err := b.notify.OnCatalogChanges(notify.Handler[*clusterv1.CatalogChange]{
		Message: func(_ context.Context, m *clusterv1.CatalogChange) {
			if m.GetBucket() != "" {
				handle(live.Change{Bucket: m.GetBucket(), Stream: m.GetStream()})
			}
		},
		Gap: lost,
	})
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

// Notification reads what a writer published.
func Notification(m *clusterv1.AppendNotification) (*live.Notification, error) {
	log, err := stream.IncarnationFromBytes(m.GetIncarnation())
	if err != nil {
		return nil, err
	}
	n := &live.Notification{
		Log: log, Shard: stream.Shard(m.GetShard()), Epoch: stream.Epoch(m.GetEpoch()),
		Slot: stream.Slot(m.GetSlot()), Before: m.GetPreviousSlotPlusOne(),
		Appends: make([]live.Append, 0, len(m.GetAppends())),
	}
	for _, a := range m.GetAppends() {
		id, err := stream.IDFromBytes(a.GetStreamId())
		if err != nil {
			return nil, err
		}
		n.Appends = append(n.Appends, live.Append{
			Stream: id,
			Block:  logindex.Block{Log: log, Slot: n.Slot, BlockRef: owner.Ref(a.GetBlock())},
			Data:   a.GetBlock().GetData(),
		})
	}
	return n, nil
}

// Beacon reads what a writer published.
func Beacon(m *clusterv1.Beacon) *live.Beacon {
	b := &live.Beacon{Shards: make([]live.ShardBeacon, 0, len(m.GetShards()))}
	for _, s := range m.GetShards() {
		b.Shards = append(b.Shards, live.ShardBeacon{
			Shard: stream.Shard(s.GetShard()), Epoch: stream.Epoch(s.GetEpoch()), Last: s.GetLastSlotPlusOne(),
		})
	}
	return b
}
