package locate

import (
	"testing"

	"github.com/stretchr/testify/require"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

func TestLocate_ClaimsNoRecordsThatAnotherOwnerWrote(t *testing.T) {
	records := recent.New(1<<20, 1<<20)
	id := stream.ID{1}
	records.Index.Add(id, stream.Incarnation{1}, 0, []segment.BlockRef{{First: 0, Count: 100, LastTimestamp: 9}})
	// Another writer has owned the shard meanwhile; what it wrote is in the state
	// that this one took over, so nothing was replayed.
	for _, tc := range []struct {
		tail, index stream.SeqNum
		blocks      int
	}{{tail: 100, index: 0, blocks: 1}, {tail: 150, index: 150, blocks: 0}} {
		v := shardlog.View{ID: id, Tail: tc.tail, LastTime: 20}
		r := &clusterv1.LocateRequest{Start: &clusterv1.LocateRequest_SeqNum{SeqNum: 50}, MaxBytes: 1 << 20}
		answer, err := Answer(v, r, records)
		require.NoError(t, err)
		require.EqualValues(t, tc.index, answer.GetIndexSeqNum())
		require.Len(t, answer.GetBlocks(), tc.blocks)
	}
}
