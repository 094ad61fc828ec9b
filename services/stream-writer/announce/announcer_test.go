package announce

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A beacon is encoded while the writer goes on, and may begin another log.
func TestBeacon_KeepsItsLogWhenAnotherBegins(t *testing.T) {
	a := New(Config{Instance: "w"}, nil)
	first := stream.NewIncarnation()
	a.Began(first)
	beacon := a.beacons()[0]
	a.Ended(first, nil)
	a.Began(stream.NewIncarnation())
	require.Equal(t, first[:], beacon.GetIncarnation())
}

func TestBeacon_IsSentForBothLogsOfAWriterThatRolls(t *testing.T) {
	a := New(Config{Instance: "w"}, nil)
	old, next := stream.NewIncarnation(), stream.NewIncarnation()
	owns := func(log stream.Incarnation, shard stream.Shard, epoch stream.Epoch) {
		a.Owned(shardlog.Owned{Entry: segment.ChainEntry{Owner: log, Shard: shard, Epoch: epoch}})
	}
	a.Began(old)
	owns(old, 1, 7)
	owns(old, 2, 8)
	a.Began(next)
	a.Lost(2)
	owns(next, 2, 9)
	shards := map[stream.Incarnation]map[uint32]uint64{}
	for _, b := range a.beacons() {
		log := stream.Incarnation(b.GetIncarnation())
		shards[log] = map[uint32]uint64{}
		for _, s := range b.GetShards() {
			shards[log][s.GetShard()] = s.GetEpoch()
		}
	}
	require.Equal(t, map[stream.Incarnation]map[uint32]uint64{old: {1: 7}, next: {2: 9}}, shards)
	a.Ended(old, nil)
	require.Len(t, a.beacons(), 1)
}
