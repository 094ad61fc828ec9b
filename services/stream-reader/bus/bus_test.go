package bus

import (
	"testing"

	"github.com/stretchr/testify/require"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

func TestNotification_CarriesEveryFact(t *testing.T) {
	id, log := stream.ID{1}, stream.Incarnation{2}
	n, err := Notification(&clusterv1.AppendNotification{
		Incarnation: log[:], Shard: 3, Epoch: 4, Slot: 5, PreviousSlotPlusOne: 5,
		Appends: []*clusterv1.StreamAppend{{StreamId: id[:], Block: &clusterv1.Block{FirstSeqNum: 6, Count: 7, Data: []byte("x")}}},
	})

	require.NoError(t, err)
	require.Equal(t, log, n.Log)
	require.EqualValues(t, 3, n.Shard)
	require.EqualValues(t, 4, n.Epoch)
	require.EqualValues(t, 5, n.Slot)
	require.EqualValues(t, 5, n.Before)
	require.Len(t, n.Appends, 1)
	require.Equal(t, id, n.Appends[0].Stream)
	require.Equal(t, []byte("x"), n.Appends[0].Data)
	require.Equal(t, log, n.Appends[0].Block.Log, "the block stands in the notification's slot")
	require.EqualValues(t, 5, n.Appends[0].Block.Slot)
	require.EqualValues(t, 13, n.Appends[0].Block.Next())
}

func TestNotification_RefusesNonsense(t *testing.T) {
	log := stream.Incarnation{2}
	for _, m := range []*clusterv1.AppendNotification{
		{}, {Incarnation: log[:5]},
		{Incarnation: log[:], Appends: []*clusterv1.StreamAppend{{StreamId: []byte("short")}}},
	} {
		_, err := Notification(m)
		require.Error(t, err)
	}
}

func TestBeacon_CarriesEveryShard(t *testing.T) {
	b := Beacon(&clusterv1.Beacon{Shards: []*clusterv1.ShardBeacon{{Shard: 1, Epoch: 2, LastSlotPlusOne: 3}, {Shard: 4}}})

	require.Equal(t, []live.ShardBeacon{{Shard: 1, Epoch: 2, Last: 3}, {Shard: 4}}, b.Shards)
}
